/**
 * What is right by itself in a policy file and yet does nothing, or cannot be kept, under a configuration: windows that never hold again,
 * adjustments without effect, assured rates beyond the capacity, budgets in money without prices. Each with the path of what it is about.
 */
import { systemCalendar } from "../app/calendar.ts";
import type { Policy, PolicyProblem } from "../app/policy-reader.ts";
import { nodeText } from "../app/promise-text.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { parseAssignQueue } from "../core/allocate/bucket-allocator.ts";
import { canonicalGroup, TierMappings } from "../core/allocate/tier-mapping.ts";
import type { Adjustments, TimeWindow } from "../core/allocate/time-window.ts";
import { parseSchedule, spanAt } from "../core/allocate/time-window-schedule.ts";
import type { EpochMillis } from "../core/model/units.ts";
import type { Quota } from "../core/quota/quota.ts";

export interface PolicyFinding extends PolicyProblem {
	readonly severity: "warning" | "note";
}

type Entry = Readonly<Record<string, unknown>>;

/** `content` is the document that `policy` was read from: it says where things stand. */
export function policyFindings(
	content: unknown,
	policy: Policy,
	config: GatewayConfig,
	now: EpochMillis,
): readonly PolicyFinding[] {
	const entries = (section: string) => {
		const list = (content as Readonly<Record<string, unknown>> | null)?.[section];
		return Array.isArray(list) ? (list as readonly Entry[]) : [];
	};
	const windows = entries("windows").flatMap((entry, at) => {
		const window = policy.windows.find(({ name }) => name === entry["name"]);
		return window === undefined ? [] : windowFindings(window, at, policy, config, now);
	});
	const quotas = entries("quotas").flatMap((entry, at) => {
		const quota = policy.quotas.find(({ id }) => id === entry["id"]);
		return quota === undefined ? [] : quotaFindings(quota, at, policy, config);
	});
	const rules = entries("rules").flatMap((entry, at) => ruleFindings(entry, at, config));
	return [
		...sectionFindings(policy, config),
		...rules,
		...windows,
		...quotas,
		...assuredFindings(entries("quotas"), policy, config),
	];
}

function sectionFindings(policy: Policy, { timeWindows, quotas }: GatewayConfig): readonly PolicyFinding[] {
	const off = (section: string, name: string): PolicyFinding => ({
		severity: "warning",
		path: [section],
		message: `${section} have no effect: [${name}] enabled = false`,
	});
	return [
		...(policy.windows.length > 0 && !timeWindows.enabled ? [off("windows", "time_windows")] : []),
		...(policy.quotas.length > 0 && !quotas.enabled ? [off("quotas", "quotas")] : []),
	];
}

function windowFindings(
	window: TimeWindow,
	at: number,
	policy: Policy,
	config: GatewayConfig,
	now: EpochMillis,
): readonly PolicyFinding[] {
	const found: PolicyFinding[] = [];
	const say = (severity: PolicyFinding["severity"], path: readonly (string | number)[], message: string) =>
		found.push({ severity, path: ["windows", at, ...path], message: `windows.${at}: ${message}` });
	const parsed = parseSchedule(window, systemCalendar.offset);
	if (!parsed.ok) return [];
	if (!window.enabled) say("note", ["enabled"], "is not enabled");
	const next = parsed.starts.next(now);
	if (next === undefined && spanAt(parsed.starts, window.durationMs, now) === undefined)
		say("warning", ["schedule_expr"], `${window.scheduleExpr} is over: it never holds again`);
	const after = next === undefined ? undefined : parsed.starts.next(next);
	if (next !== undefined && after !== undefined && after - next < window.durationMs)
		say("note", ["duration_sec"], "lasts until it begins again, so that it always holds");
	for (const [index, { targetType, targetValue, adjustments }] of window.rules.entries()) {
		const accounts = policy.accounts.map(({ id }) => id);
		if (targetType === "account" && accounts.length > 0 && !accounts.includes(targetValue ?? ""))
			say("warning", ["rules", index, "target_value"], `account ${JSON.stringify(targetValue)} is not in the file`);
		if (targetType === "tier" && adjustments.capacityMultiplier !== undefined && !config.capacityGuard.enabled)
			say(
				"warning",
				["rules", index, "adjustments", "capacity_multiplier"],
				"capacity_multiplier of a tier has no effect: [capacity_guard] enabled = false",
			);
		for (const [field, why] of uselessIn(adjustments, policy, config))
			say("warning", ["rules", index, "adjustments", field], `${field} has no effect: ${why}`);
	}
	return found;
}

/** Adjustments that nothing under this configuration listens to, and why. */
function uselessIn(own: Adjustments, policy: Policy, config: GatewayConfig): readonly (readonly [string, string])[] {
	const { allocator } = config.requestScheduler;
	const wanted: readonly (readonly [keyof Adjustments, string, boolean, string])[] = [
		["priorityDelta", "priority_delta", allocator !== "bucket", "buckets are moved by bucket_shift"],
		["bucketShift", "bucket_shift", allocator !== "priority", "levels are moved by priority_delta"],
		["internalLimitPct", "internal_limit_pct", config.capacityGuard.enabled, "[capacity_guard] enabled = false"],
		["quotaMultiplier", "quota_multiplier", policy.quotas.length > 0, "there is no quota"],
		["costMultiplier", "cost_multiplier", config.pricing.size > 0, "there is no [pricing.MODEL]"],
	];
	return wanted.flatMap(([name, field, works, why]) =>
		own[name] === undefined || works ? [] : [[field, why] as const],
	);
}

function quotaFindings(quota: Quota, at: number, policy: Policy, config: GatewayConfig): readonly PolicyFinding[] {
	const found: PolicyFinding[] = [];
	const say = (severity: PolicyFinding["severity"], field: string, message: string) =>
		found.push({ severity, path: ["quotas", at, field], message: `quotas.${at}: ${message}` });
	if (quota.limitDimension.startsWith("usd") && config.pricing.size === 0)
		say("warning", "limit_dimension", "counts nothing: no [pricing.MODEL] says what tokens cost");
	const twin = policy.quotas.find(
		(other) =>
			other.id < quota.id &&
			other.node === quota.node &&
			other.environment === quota.environment &&
			other.limitDimension === quota.limitDimension &&
			other.quotaType === quota.quotaType,
	);
	if (twin !== undefined)
		say(
			"note",
			"id",
			`${twin.id} limits the same ${quota.limitDimension} of ${nodeText(quota)}: the tighter one decides`,
		);
	const [kind, name = ""] = [
		quota.node.slice(0, quota.node.indexOf(":")),
		quota.node.slice(quota.node.indexOf(":") + 1),
	];
	const members = {
		organisation: policy.accounts.map(({ id, organisation }) => organisation ?? id),
		team: policy.accounts.map(({ id, organisation, team }) => `${organisation ?? id}/${team ?? ""}`),
	};
	if ((kind === "organisation" || kind === "team") && policy.accounts.length > 0 && !members[kind].includes(name))
		say("warning", "node", `no account of the file is in ${quota.node}`);
	return found;
}

/** Assured rates that stand beside each other, against what there is. */
function assuredFindings(entries: readonly Entry[], policy: Policy, config: GatewayConfig): readonly PolicyFinding[] {
	const ceilings = config.providers.map(({ capacity }) => capacity.maxTokensPerSec ?? Number.POSITIVE_INFINITY);
	const most = ceilings.reduce((sum, ceiling) => sum + ceiling, 0);
	if (!Number.isFinite(most)) return [];
	const organisations = new Set(policy.accounts.map(({ id, organisation }) => organisation ?? id));
	const rates = policy.quotas.filter(({ limitDimension }) => limitDimension === "tps");
	const isRated = (node: string) => rates.some((quota) => quota.node === node);
	// What stands below a node with a rate of its own is a part of that.
	const isOutermost = ({ node, accountId }: Quota) => {
		const account = policy.accounts.find(({ id }) => id === accountId);
		const above = `organisation:${account?.organisation ?? accountId}`;
		return node === above || (organisations.size > 0 && !isRated(above));
	};
	let total = 0;
	for (const [at, entry] of entries.entries()) {
		const quota = rates.find(({ id }) => id === entry["id"]);
		if (quota === undefined || !isOutermost(quota)) continue;
		total += quota.limitValue;
		if (total > most)
			return [
				{
					severity: "warning",
					path: ["quotas", at, "limit_value"],
					message: `quotas.${at}: with it ${total} tokens/s are assured, more than max_tokens_per_sec = ${most}`,
				},
			];
	}
	return [];
}

function ruleFindings(entry: Entry, at: number, config: GatewayConfig): readonly PolicyFinding[] {
	const queue = entry["assign_queue"];
	if (typeof queue !== "string" || config.requestScheduler.allocator === "priority") return [];
	const { bucketCount, tierMappings } = config.allocator.bucket;
	const parsed = parseAssignQueue(queue);
	const say = (message: string): readonly PolicyFinding[] => [
		{ severity: "warning", path: ["rules", at, "assign_queue"], message: `rules.${at}: ${message}` },
	];
	if (parsed === undefined)
		return say(`assign_queue ${JSON.stringify(queue)} is ignored: bucket:N or group:NAME is allowed`);
	if (parsed.kind === "bucket")
		return parsed.bucket < bucketCount
			? []
			: say(`bucket ${parsed.bucket} does not exist; allowed: 0 to ${bucketCount - 1} (bucket_count = ${bucketCount})`);
	const groups = new TierMappings(tierMappings, bucketCount).mappings.map(({ group }) => group);
	return groups.includes(canonicalGroup(parsed.group))
		? []
		: say(`group ${JSON.stringify(parsed.group)} does not exist; there are ${groups.join(", ")}`);
}
