/** Routing rules in memory. */
import type { RoutingRule } from "../../core/model/policy.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewRule, RuleOrder, RuleStore } from "../../ports/rule-store.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, newId, sameFields } from "../record.ts";
import { checkRuleSet, compareRules } from "../rule-set.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";

export class MemoryRuleStore implements RuleStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async all(): Promise<readonly RoutingRule[]> {
		return sortedRules(this.#state);
	}

	async list(page: PageRequest): Promise<Page<RoutingRule>> {
		const limit = pageLimit(page);
		const [order, id] = (cursorKeys(page, ["number", "string"]) ?? []) as [number?, string?];
		const found = sortedRules(this.#state).filter(
			(rule) =>
				order === undefined || rule.priorityOrder > order || (rule.priorityOrder === order && rule.id > (id ?? "")),
		);
		return toPage(found.slice(0, limit + 1), limit, (rule) => [rule.priorityOrder, rule.id]);
	}

	async get(id: string): Promise<RoutingRule | undefined> {
		return this.#state.rules.get(id);
	}

	create(rule: NewRule, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#state.change(actor, (change) => insertRule(this.#state, change, rule));
	}

	update(id: string, patch: Patch<Omit<RoutingRule, "id">>, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.rules.get(id);
			if (before === undefined) return refused("not_found", `rule "${id}" does not exist`);
			return replaceRule(this.#state, change, before, { ...applyPatch(before, patch), id });
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#state.change(actor, (change) => deleteRule(this.#state, change, "id", id));
	}

	reorder(order: readonly RuleOrder[], actor: string): Promise<WriteResult<readonly RoutingRule[]>> {
		return this.#state.change(actor, (change) => {
			for (const { id, priorityOrder } of order) {
				const before = this.#state.rules.get(id);
				if (before === undefined) return refused("not_found", `rule "${id}" does not exist`, "id");
				if (before.priorityOrder === priorityOrder) continue;
				const result = replaceRule(this.#state, change, before, { ...before, priorityOrder });
				if (!result.ok) return result;
			}
			return written(sortedRules(this.#state));
		});
	}

	async seed(rules: readonly NewRule[], actor: string): Promise<boolean> {
		const result = await this.#state.change(actor, (change) => {
			const first = !this.#state.rulesSeeded;
			this.#state.rulesSeeded = true;
			if (!first || this.#state.rules.size > 0) return written(false);
			for (const rule of rules) {
				const inserted = insertRule(this.#state, change, rule);
				if (!inserted.ok) return inserted;
			}
			return written(true);
		});
		return result.ok && result.value;
	}
}

function sortedRules(state: MemoryState): RoutingRule[] {
	return [...state.rules.values()].sort(compareRules);
}

function insertRule(state: MemoryState, change: MemoryChange, rule: NewRule): WriteResult<RoutingRule> {
	const created: RoutingRule = { enabled: true, ...rule, id: rule.id ?? newId("rule") };
	if (state.rules.has(created.id)) {
		return refused("conflict", `rule "${created.id}" exists already: choose another id or change that rule`, "id");
	}
	const rules = sortedRules(state);
	const refusal = checkRuleSet(rules, [...rules, created]);
	if (refusal !== undefined) return refusal;
	state.rules.set(created.id, created);
	change.audit({ action: "rule.create", subject: created.id, after: created });
	return written(created);
}

function replaceRule(
	state: MemoryState,
	change: MemoryChange,
	before: RoutingRule,
	after: RoutingRule,
): WriteResult<RoutingRule> {
	const rules = sortedRules(state);
	const refusal = checkRuleSet(
		rules,
		rules.map((rule) => (rule === before ? after : rule)),
	);
	if (refusal !== undefined) return refusal;
	state.rules.set(before.id, after);
	change.audit({ action: "rule.update", subject: before.id, before, after });
	return written(after);
}

export function deleteRule(
	state: MemoryState,
	change: MemoryChange,
	by: "id" | "name",
	key: string,
): WriteResult<RoutingRule> {
	const rules = sortedRules(state);
	const before = rules.find((rule) => rule[by] === key);
	if (before === undefined) return refused("not_found", `rule "${key}" does not exist`, by);
	const refusal = checkRuleSet(
		rules,
		rules.filter((rule) => rule !== before),
	);
	if (refusal !== undefined) return refusal;
	state.rules.delete(before.id);
	change.audit({ action: "rule.delete", subject: before.id, before });
	return written(before);
}

export function putRule(state: MemoryState, change: MemoryChange, rule: NewRule): WriteResult<boolean> {
	const before = sortedRules(state).find((other) => other.name === rule.name);
	if (before === undefined) {
		const result = insertRule(state, change, rule);
		return result.ok ? written(true) : result;
	}
	const after: RoutingRule = { enabled: true, ...rule, id: before.id };
	if (sameFields(before, after)) return written(false);
	const result = replaceRule(state, change, before, after);
	return result.ok ? written(true) : result;
}
