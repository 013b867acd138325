/**
 * What the rules of the database need when levels become buckets: a rule that assigned a priority has no effect any more unless it names a queue,
 * so it gets the group that its level's requests arrive in. `assign_priority` stays: without buckets it is what counts, and `assign_queue` is
 * what counts with them, so the change can be made before the switch and survives going back.
 *
 * Default rules that are as they were need nothing: the groups were made for them.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { defaultRules } from "../core/classify/default-rules.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import { type AdminClient, callJson } from "./admin-client.ts";
import { UserError } from "./capacity-proposal.ts";
import type { MigrationPlan } from "./migration-plan.ts";
import { allItems, type Item } from "./store-access.ts";

export interface RuleChange {
	readonly ruleId: string;
	readonly name: string;
	readonly priority: number;
	readonly queue: string;
}

export interface PolicyMigration {
	readonly changes: readonly RuleChange[];
	readonly warnings: readonly string[];
}

const DATABASE_FILE = "tokligence.db";

/** Whether there is a database whose rules could be migrated. */
export function hasPolicy(dataDir: string): boolean {
	return existsSync(join(dataDir, DATABASE_FILE));
}

/** @param rules as the admin API shows them */
export function planRules(rules: readonly Item[], levels: MigrationPlan["levels"]): PolicyMigration {
	const usual = new Map(defaultRules(levels.length).map((rule) => [rule.name, rule]));
	const changes: RuleChange[] = [];
	const warnings: string[] = [];
	for (const rule of rules) {
		const { id, rule_name: name, assign_priority: priority, assign_queue: queue } = rule;
		if (typeof priority !== "number" || typeof queue === "string") continue;
		const standard = usual.get(String(name));
		if (standard !== undefined && isUnchanged(rule, standard)) continue;
		const level = levels[Math.min(priority, levels.length - 1)]!;
		changes.push({
			ruleId: String(id),
			name: String(name),
			priority,
			queue: `group:${level.groups[0]!.name}`,
		});
	}
	return { changes, warnings };
}

/** Also a warning for tokens whose priority no longer means a level. */
export async function planPolicy(client: AdminClient, levels: MigrationPlan["levels"]): Promise<PolicyMigration> {
	const planned = planRules(await allItems(client, "/routing-rules", "rules"), levels);
	const tokens = await allItems(client, "/tokens", "tokens");
	const overridden = tokens.filter(({ priority_override: priority }) => typeof priority === "number");
	if (overridden.length === 0) return planned;
	const names = overridden.slice(0, 5).map(({ token_id: id }) => String(id));
	const rest = overridden.length > names.length ? `, … (${overridden.length} in all)` : "";
	return {
		...planned,
		warnings: [
			`these tokens have a priority_override, which chooses within the buckets of their group now: ${names.join(", ")}${rest}`,
		],
	};
}

/** Answers the file that keeps the policy as it was. */
export async function applyPolicy(
	client: AdminClient,
	changes: readonly RuleChange[],
	beside: string,
): Promise<string | undefined> {
	if (changes.length === 0) return undefined;
	const before = await callJson<Item>(client, "GET", "/policy");
	const backup = freeName(`${beside}.policy.bak.yaml`);
	try {
		writeFileSync(backup, stringify(before, { lineWidth: 0 }), { flag: "wx", mode: 0o600 });
	} catch (error) {
		throw new UserError(`${backup}: cannot be written: ${(error as NodeJS.ErrnoException).code}`);
	}
	for (const { ruleId, queue } of changes)
		await callJson(client, "PATCH", `/routing-rules/${encodeURIComponent(ruleId)}`, { assign_queue: queue });
	return backup;
}

function freeName(name: string): string {
	for (let number = 0; ; number++) {
		const candidate = number === 0 ? name : name.replace(/\.yaml$/, `.${number}.yaml`);
		if (!existsSync(candidate)) return candidate;
	}
}

function isUnchanged(rule: Item, standard: RoutingRule): boolean {
	const same = (one: unknown, other: unknown) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
	return (
		rule["enabled"] !== false &&
		same(rule["assign_priority"], standard.assignPriority) &&
		same(rule["match_tier"], standard.matchTier) &&
		same(rule["match_environment"], standard.matchEnvironment) &&
		same(rule["match_workload"], standard.matchWorkload) &&
		["match_account_type", "match_account_tier", "match_model", "match_tag"].every((key) => same(rule[key], undefined))
	);
}
