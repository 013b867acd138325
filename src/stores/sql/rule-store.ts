/** Routing rules in a SQL database. The table is small: changes read all rules, check the set, write what differs. */
import type { RoutingRule } from "../../core/model/policy.ts";
import type { EpochMillis } from "../../core/model/units.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewRule, RuleOrder, RuleStore } from "../../ports/rule-store.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, newId, sameFields } from "../record.ts";
import { checkRuleSet, compareRules } from "../rule-set.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { column, columnNames, fromSqlRow, insertSql, toSqlValues, updateSql } from "./sql-columns.ts";
import { type SqlDatabase, type SqlSession, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("name", "plain", "rule_name"),
	column("description"),
	column("priorityOrder"),
	column("enabled", "boolean"),
	column("matchTier", "json"),
	column("matchEnvironment", "json"),
	column("matchAccountType", "json"),
	column("matchAccountTier", "json"),
	column("matchWorkload", "json"),
	column("matchModel", "json"),
	column("matchTag", "json"),
	column("assignPriority"),
	column("assignPriorityInRange"),
	column("assignWeight"),
	column("assignQueue"),
	column("maxTps"),
	column("maxRps"),
	column("maxQueueDepth"),
	column("queueTimeoutMs"),
	column("quotaMultiplier"),
];
const SELECT = `SELECT ${columnNames(COLUMNS)} FROM routing_rules`;
const ORDER = "ORDER BY priority_order, id";

export class SqlRuleStore implements RuleStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	async all(): Promise<readonly RoutingRule[]> {
		const rows = await this.#database.read(`${SELECT} ${ORDER}`, []);
		return rows.map((row) => fromSqlRow<RoutingRule>(COLUMNS, row));
	}

	async list(page: PageRequest): Promise<Page<RoutingRule>> {
		const limit = pageLimit(page);
		const [order, id] = cursorKeys(page, ["number", "string"]) ?? [];
		const where = new Where().given("(priority_order > ? OR (priority_order = ? AND id > ?))", order, order, id);
		const rows = await this.#database.read(`${SELECT} ${where.toSql()} ${ORDER} LIMIT ?`, [
			...where.parameters,
			limit + 1,
		]);
		return toPage(
			rows.map((row) => fromSqlRow<RoutingRule>(COLUMNS, row)),
			limit,
			(rule) => [rule.priorityOrder, rule.id],
		);
	}

	async get(id: string): Promise<RoutingRule | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE id = ?`, [id]);
		return row && fromSqlRow<RoutingRule>(COLUMNS, row);
	}

	create(rule: NewRule, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#change(actor, (tx) => insertRule(tx, rule));
	}

	update(id: string, patch: Patch<Omit<RoutingRule, "id">>, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#change(actor, async (tx) => {
			const rules = await allRules(tx.session);
			const before = rules.find((rule) => rule.id === id);
			if (before === undefined) return refused("not_found", `rule "${id}" does not exist`);
			return replaceRule(tx, rules, before, { ...applyPatch(before, patch), id });
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<RoutingRule>> {
		return this.#change(actor, (tx) => deleteRule(tx, "id", id));
	}

	reorder(order: readonly RuleOrder[], actor: string): Promise<WriteResult<readonly RoutingRule[]>> {
		return this.#change(actor, async (tx) => {
			for (const { id, priorityOrder } of order) {
				const rules = await allRules(tx.session);
				const before = rules.find((rule) => rule.id === id);
				if (before === undefined) return refused("not_found", `rule "${id}" does not exist`, "id");
				if (before.priorityOrder === priorityOrder) continue;
				const result = await replaceRule(tx, rules, before, { ...before, priorityOrder });
				if (!result.ok) return result;
			}
			return written(await allRules(tx.session));
		});
	}

	async seed(rules: readonly NewRule[], actor: string): Promise<boolean> {
		const result = await this.#change(actor, async (tx) => {
			const first = await tx.session.run(
				"UPDATE policy_version SET rules_seeded = 1 WHERE id = 1 AND rules_seeded = 0",
				[],
			);
			if (first === 0 || (await allRules(tx.session)).length > 0) return written(false);
			for (const rule of rules) {
				const inserted = await insertRule(tx, rule);
				if (!inserted.ok) return inserted;
			}
			return written(true);
		});
		return result.ok && result.value;
	}

	#change<T>(actor: string, work: (tx: PolicyTransaction) => Promise<WriteResult<T>>): Promise<WriteResult<T>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, work);
	}
}

async function allRules(session: SqlSession): Promise<readonly RoutingRule[]> {
	const rows = await session.all(`${SELECT} ${ORDER}`, []);
	return rows.map((row) => fromSqlRow<RoutingRule>(COLUMNS, row)).sort(compareRules);
}

async function insertRule(tx: PolicyTransaction, rule: NewRule): Promise<WriteResult<RoutingRule>> {
	const rules = await allRules(tx.session);
	const created: RoutingRule = { enabled: true, ...rule, id: rule.id ?? newId("rule") };
	if (rules.some((other) => other.id === created.id)) {
		return refused("conflict", `rule "${created.id}" exists already: choose another id or change that rule`, "id");
	}
	const refusal = checkRuleSet(rules, [...rules, created]);
	if (refusal !== undefined) return refusal;
	await tx.session.run(insertSql("routing_rules", COLUMNS), toSqlValues(COLUMNS, created));
	await tx.audit({ action: "rule.create", subject: created.id, after: created });
	return written(created);
}

async function replaceRule(
	tx: PolicyTransaction,
	rules: readonly RoutingRule[],
	before: RoutingRule,
	after: RoutingRule,
): Promise<WriteResult<RoutingRule>> {
	const refusal = checkRuleSet(
		rules,
		rules.map((rule) => (rule === before ? after : rule)),
	);
	if (refusal !== undefined) return refusal;
	await tx.session.run(updateSql("routing_rules", COLUMNS), [...toSqlValues(COLUMNS, after), before.id]);
	await tx.audit({ action: "rule.update", subject: before.id, before, after });
	return written(after);
}

export async function deleteRule(
	tx: PolicyTransaction,
	by: "id" | "name",
	key: string,
): Promise<WriteResult<RoutingRule>> {
	const rules = await allRules(tx.session);
	const before = rules.find((rule) => rule[by] === key);
	if (before === undefined) return refused("not_found", `rule "${key}" does not exist`, by);
	const refusal = checkRuleSet(
		rules,
		rules.filter((rule) => rule !== before),
	);
	if (refusal !== undefined) return refusal;
	await tx.session.run("DELETE FROM routing_rules WHERE id = ?", [before.id]);
	await tx.audit({ action: "rule.delete", subject: before.id, before });
	return written(before);
}

/** Creates it, or brings the rule of that name to exactly these fields; false when it has them already. */
export async function putRule(tx: PolicyTransaction, rule: NewRule): Promise<WriteResult<boolean>> {
	const rules = await allRules(tx.session);
	const before = rules.find((other) => other.name === rule.name);
	if (before === undefined) {
		const result = await insertRule(tx, rule);
		return result.ok ? written(true) : result;
	}
	const after: RoutingRule = { enabled: true, ...rule, id: before.id };
	if (sameFields(before, after)) return written(false);
	const result = await replaceRule(tx, rules, before, after);
	return result.ok ? written(true) : result;
}
