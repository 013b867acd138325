/**
 * Routing rules of a policy file (the form that `tokligence export` writes) or of a scenario, for a simulation that is not to use the
 * default rules. Checks what the simulator reads; `tokligence apply` checks all.
 */
import type { Match, RoutingRule } from "../core/model/policy.ts";

type Fields = Readonly<Record<string, unknown>>;

const MATCHES = {
	match_tier: "matchTier",
	match_environment: "matchEnvironment",
	match_account_type: "matchAccountType",
	match_account_tier: "matchAccountTier",
	match_workload: "matchWorkload",
	match_model: "matchModel",
	match_tag: "matchTag",
} as const;

const NUMBERS = {
	assign_priority: "assignPriority",
	assign_priority_in_range: "assignPriorityInRange",
	assign_weight: "assignWeight",
	max_tps: "maxTps",
	max_qps: "maxRps",
	max_rps: "maxRps",
	max_queue_depth: "maxQueueDepth",
	quota_multiplier: "quotaMultiplier",
} as const;

const OTHERS = ["rule_name", "description", "priority_order", "assign_queue", "queue_timeout_sec", "enabled"];

/** What the admin API shows beside the fields that can be set. */
const SHOWN = ["id", "rule_id", "created_at", "updated_at", "created_by", "updated_by", "version"];

/** Throws an Error that names the rule and the field; `where` begins it. */
export function readRules(where: string, value: unknown): readonly RoutingRule[] {
	if (!Array.isArray(value) || value.length === 0) throw new Error(`${where}: a list of at least one rule is needed`);
	return value.map((rule, index) => readRule(`${where}[${index}]`, rule, index));
}

function readRule(at: string, value: unknown, index: number): RoutingRule {
	if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${at}: a table is needed`);
	const fields = value as Fields;
	const rule: Record<string, Match | number> = {};
	for (const [key, entry] of Object.entries(fields)) {
		if (entry === undefined || entry === null) continue;
		if (Object.hasOwn(MATCHES, key)) rule[MATCHES[key as keyof typeof MATCHES]] = matchOf(`${at}.${key}`, entry);
		else if (Object.hasOwn(NUMBERS, key)) rule[NUMBERS[key as keyof typeof NUMBERS]] = numberOf(`${at}.${key}`, entry);
		else if (!OTHERS.includes(key) && !SHOWN.includes(key)) throw new Error(`${at}: ${key} is unknown`);
	}
	const { rule_name: name, assign_queue: queue, queue_timeout_sec: timeout, priority_order: order } = fields;
	if (typeof name !== "string" || name === "") throw new Error(`${at}.rule_name: a name is needed`);
	return {
		id: `rule-${index}`,
		name,
		priorityOrder: order === undefined ? index : numberOf(`${at}.priority_order`, order),
		enabled: fields["enabled"] !== false,
		...rule,
		...(typeof queue === "string" && { assignQueue: queue }),
		...(timeout === undefined || timeout === null
			? {}
			: { queueTimeoutMs: numberOf(`${at}.queue_timeout_sec`, timeout) * 1000 }),
	};
}

function matchOf(at: string, value: unknown): Match {
	if (typeof value === "string" && value !== "") return value;
	if (Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string")) return value;
	throw new Error(`${at}: a word or a list of words is allowed`);
}

function numberOf(at: string, value: unknown): number {
	if (typeof value === "number" && value >= 0) return value;
	throw new Error(`${at}: ${JSON.stringify(value)} is no number from 0`);
}
