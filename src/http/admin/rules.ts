/** `/v1/admin/routing-rules`: ordered rules, first match wins. A change is in force when it is acknowledged. */
import { z } from "zod";
import { RuleMatcher } from "../../core/classify/rule-matcher.ts";
import type { RoutingRule } from "../../core/model/policy.ts";
import type { RoutingMetadata } from "../../core/model/routing.ts";
import { MILLIS_PER_SECOND } from "../../core/model/units.ts";
import type { NewRule } from "../../ports/rule-store.ts";
import type { Patch } from "../../ports/write-result.ts";
import { fromStore, refuse } from "./admin-error.ts";
import { id, level, message, name, positive, text, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { checkLevel } from "./tokens.ts";
import { given, listBody } from "./wire.ts";

const RENAMED = { name: "rule_name", maxRps: "max_qps", queueTimeoutMs: "queue_timeout_sec" };

const match = (value: z.ZodString) => z.union([value, z.array(value).min(1).max(1000)]);

const optional = {
	description: text.nullish(),
	match_tier: match(word).nullish(),
	match_environment: match(word).nullish(),
	match_account_type: match(word).nullish(),
	match_account_tier: match(word).nullish(),
	match_workload: match(word).nullish(),
	match_model: match(name).nullish(),
	match_tag: match(word).nullish(),
	assign_priority: level.nullish(),
	assign_weight: positive.nullish(),
	assign_priority_in_range: z.number().min(0).max(1).nullish().describe("place inside the group's range of buckets"),
	assign_queue: z
		.string()
		.regex(/^(bucket:\d{1,4}|group:[a-z0-9][a-z0-9_.-]{0,63})$/, "bucket:N or group:NAME")
		.nullish(),
	max_tps: positive.nullish().describe("tokens per second"),
	max_qps: positive.nullish().describe("requests per second"),
	max_queue_depth: z.number().int().min(0).nullish(),
	queue_timeout_sec: positive.nullish(),
	quota_multiplier: positive.nullish(),
};

export const newRule = z.strictObject({
	rule_name: name,
	priority_order: z.number().describe("lower ones are tried first"),
	enabled: z.boolean().nullish(),
	...optional,
});

const rulePatch = z.strictObject({
	rule_name: name.optional(),
	priority_order: z.number().optional(),
	enabled: z.boolean().optional(),
	...optional,
});

const shownMatch = z.union([z.string(), z.array(z.string())]).nullable();
const shownRule = z.object({
	id: z.string(),
	rule_name: z.string(),
	description: z.string().nullable(),
	priority_order: z.number(),
	enabled: z.boolean(),
	match_tier: shownMatch,
	match_environment: shownMatch,
	match_account_type: shownMatch,
	match_account_tier: shownMatch,
	match_workload: shownMatch,
	match_model: shownMatch,
	match_tag: shownMatch,
	assign_priority: z.number().nullable(),
	assign_weight: z.number().nullable(),
	assign_priority_in_range: z.number().nullable(),
	assign_queue: z.string().nullable(),
	max_tps: z.number().nullable(),
	max_qps: z.number().nullable(),
	max_queue_depth: z.number().nullable(),
	queue_timeout_sec: z.number().nullable(),
	quota_multiplier: z.number().nullable(),
});

const changedRule = z.object({ rule_id: z.string(), message });
const ruleParams = z.object({ rule_id: id });

export function showRule(rule: RoutingRule): z.infer<typeof shownRule> {
	const shownValue = (value: string | readonly string[] | undefined) =>
		value === undefined ? null : typeof value === "string" ? value : [...value];
	return {
		id: rule.id,
		rule_name: rule.name,
		description: rule.description ?? null,
		priority_order: rule.priorityOrder,
		enabled: rule.enabled,
		match_tier: shownValue(rule.matchTier),
		match_environment: shownValue(rule.matchEnvironment),
		match_account_type: shownValue(rule.matchAccountType),
		match_account_tier: shownValue(rule.matchAccountTier),
		match_workload: shownValue(rule.matchWorkload),
		match_model: shownValue(rule.matchModel),
		match_tag: shownValue(rule.matchTag),
		assign_priority: rule.assignPriority ?? null,
		assign_weight: rule.assignWeight ?? null,
		assign_priority_in_range: rule.assignPriorityInRange ?? null,
		assign_queue: rule.assignQueue ?? null,
		max_tps: rule.maxTps ?? null,
		max_qps: rule.maxRps ?? null,
		max_queue_depth: rule.maxQueueDepth ?? null,
		queue_timeout_sec: rule.queueTimeoutMs === undefined ? null : rule.queueTimeoutMs / MILLIS_PER_SECOND,
		quota_multiplier: rule.quotaMultiplier ?? null,
	};
}

function fieldsOf(body: z.infer<typeof rulePatch>): Patch<Omit<RoutingRule, "id">> {
	const seconds = body.queue_timeout_sec;
	return {
		name: body.rule_name,
		description: body.description,
		priorityOrder: body.priority_order,
		enabled: body.enabled,
		matchTier: body.match_tier,
		matchEnvironment: body.match_environment,
		matchAccountType: body.match_account_type,
		matchAccountTier: body.match_account_tier,
		matchWorkload: body.match_workload,
		matchModel: body.match_model,
		matchTag: body.match_tag,
		assignPriority: body.assign_priority,
		assignWeight: body.assign_weight,
		assignPriorityInRange: body.assign_priority_in_range,
		assignQueue: body.assign_queue,
		maxTps: body.max_tps,
		maxRps: body.max_qps,
		maxQueueDepth: body.max_queue_depth,
		queueTimeoutMs: typeof seconds === "number" ? seconds * MILLIS_PER_SECOND : seconds,
		quotaMultiplier: body.quota_multiplier,
	};
}

export function ruleOf(body: z.infer<typeof newRule>): NewRule {
	const { enabled, ...rest } = body;
	return given(fieldsOf({ ...rest, ...given({ enabled }) })) as NewRule;
}

const create = operation(
	{
		method: "POST",
		path: "/routing-rules",
		summary: "Create a rule",
		body: newRule,
		status: 201,
		answer: changedRule,
	},
	async (context, { body, actor }) => {
		const wrongLevel = checkLevel(context, "assign_priority", body.assign_priority);
		if (wrongLevel !== undefined) return wrongLevel;
		const result = await context.stores.rules.create(ruleOf(body), actor);
		if (!result.ok) return fromStore(result, RENAMED);
		await context.policyChanged();
		return answer({ rule_id: result.value.id, message: inForce(result.value) });
	},
);

const list = operation(
	{
		method: "GET",
		path: "/routing-rules",
		summary: "List rules, in the order in which they are tried",
		query: z.strictObject(pageQuery),
		answer: listAnswer("rules", shownRule),
	},
	async (context, { query }) => answer(listBody("rules", await context.stores.rules.list(pageOf(query)), showRule)),
);

const get = operation(
	{ method: "GET", path: "/routing-rules/{rule_id}", summary: "Show a rule", params: ruleParams, answer: shownRule },
	async (context, { params }) => {
		const rule = await context.stores.rules.get(params.rule_id);
		if (rule === undefined) return refuse("not_found", `rule "${params.rule_id}" does not exist`);
		return answer(showRule(rule));
	},
);

const update = operation(
	{
		method: "PATCH",
		path: "/routing-rules/{rule_id}",
		summary: "Change fields of a rule; null clears one",
		params: ruleParams,
		body: rulePatch,
		answer: shownRule,
	},
	async (context, { params, body, actor }) => {
		const wrongLevel = checkLevel(context, "assign_priority", body.assign_priority);
		if (wrongLevel !== undefined) return wrongLevel;
		const result = await context.stores.rules.update(params.rule_id, fieldsOf(body), actor);
		if (!result.ok) return fromStore(result, { ...RENAMED, id: "rule_id" });
		await context.policyChanged();
		return answer(showRule(result.value));
	},
);

const remove = operation(
	{
		method: "DELETE",
		path: "/routing-rules/{rule_id}",
		summary: "Delete a rule; one catch-all must stay",
		params: ruleParams,
		answer: changedRule,
	},
	async (context, { params, actor }) => {
		const result = await context.stores.rules.delete(params.rule_id, actor);
		if (!result.ok) return fromStore(result, { ...RENAMED, id: "rule_id" });
		await context.policyChanged();
		return answer({ rule_id: params.rule_id, message: `Rule "${result.value.name}" is gone.` });
	},
);

const reorder = operation(
	{
		method: "POST",
		path: "/routing-rules/reorder",
		summary: "Give several rules new places, all or nothing",
		body: z.strictObject({
			rules: z
				.array(z.strictObject({ rule_id: id, priority_order: z.number() }))
				.min(1)
				.max(1000),
		}),
		answer: listAnswer("rules", shownRule),
	},
	async (context, { body, actor }) => {
		const order = body.rules.map(({ rule_id, priority_order }) => ({ id: rule_id, priorityOrder: priority_order }));
		const result = await context.stores.rules.reorder(order, actor);
		if (!result.ok) return fromStore(result, { ...RENAMED, id: "rules" });
		await context.policyChanged();
		return answer(listBody("rules", { items: result.value, nextCursor: null }, showRule));
	},
);

const sample = z.strictObject({
	tier: word.nullish(),
	environment: word.nullish(),
	account_type: word.nullish(),
	account_tier: word.nullish(),
	workload: word.nullish(),
	model: name.nullish(),
	tag: word.nullish(),
});

const test = operation(
	{
		method: "POST",
		path: "/routing-rules/test",
		summary: "Which rule takes this request, and why not those before it",
		body: sample,
		answer: z.object({
			rule: shownRule,
			passed_over: z.array(z.object({ id: z.string(), rule_name: z.string(), because: z.string() })),
		}),
	},
	async (context, { body }) => {
		const rules = await context.stores.rules.all();
		const matcher = new RuleMatcher(rules);
		const { rule, index } = matcher.match(metadataOf(body), body.model ?? "");
		const before = matcher.rules.slice(0, index).map((passed) => passed.rule);
		return answer({
			rule: showRule(rule),
			passed_over: before.map((passed) => ({
				id: passed.id,
				rule_name: passed.name,
				because: mismatch(passed, body),
			})),
		});
	},
);

function metadataOf(body: z.infer<typeof sample>): RoutingMetadata {
	return {
		tier: body.tier ?? "default",
		accountId: "sample",
		routedBy: "token",
		...given({
			environment: body.environment,
			// a type that no account has matches only rules that leave it open, as the matcher treats any unknown value
			accountType: body.account_type as RoutingMetadata["accountType"] | null,
			accountTier: body.account_tier,
			workload: body.workload,
			tag: body.tag,
		}),
	};
}

/** The first field in which a rule that did not match differs. */
function mismatch(rule: RoutingRule, body: z.infer<typeof sample>): string {
	const fields: readonly (readonly [string, string | readonly string[] | undefined, string | null | undefined])[] = [
		["tier", rule.matchTier, body.tier ?? "default"],
		["environment", rule.matchEnvironment, body.environment],
		["account_type", rule.matchAccountType, body.account_type],
		["account_tier", rule.matchAccountTier, body.account_tier],
		["workload", rule.matchWorkload, body.workload],
		["model", rule.matchModel, body.model],
		["tag", rule.matchTag, body.tag],
	];
	for (const [field, wanted, value] of fields) {
		if (wanted === undefined) continue;
		const values = typeof wanted === "string" ? [wanted] : wanted;
		if (value !== undefined && value !== null && values.includes(value)) continue;
		return `${field} is ${value ?? "not given"}, the rule wants ${values.join(" or ")}`;
	}
	return "it matches nothing";
}

function inForce(rule: RoutingRule): string {
	return rule.enabled ? `Rule "${rule.name}" is in force.` : `Rule "${rule.name}" is stored and not enabled.`;
}

export const ruleOperations: readonly Operation[] = [create, list, reorder, test, get, update, remove];
