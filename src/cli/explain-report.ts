/** The two faces of an explained decision: numbered lines for people, JSON for scripts. */
import { viaText } from "../app/live-explain.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Explanation } from "./explain-decision.ts";

export function explanationAsText(
	{ described, rules, promises, outcome }: Explanation,
	config: GatewayConfig,
): readonly string[] {
	const { metadata, hints, model } = described;
	const lines = [
		`1 classify   ${identityText(metadata)} (as described; classifier = ${config.requestScheduler.classifier})`,
	];
	const asked = [
		hints.priority === undefined ? [] : [`X-Priority ${hints.priority}`],
		hints.requestClass === undefined ? [] : [`X-Request-Class ${hints.requestClass}`],
	].flat();
	if (outcome.kind === "refused") {
		if (asked.length > 0) lines.push(`2 hints      ${asked.join(", ")}`);
		const { code, message } = outcome.refusal;
		return [...lines, `refused      ${code}: ${message}`, "It would never run as described."];
	}
	const { arrival } = outcome;
	const { submit, allocation, rule } = arrival;
	lines.push(`2 hints      ${asked.length === 0 ? "none" : `${asked.join(", ")}: granted`}`);
	for (const tried of rules)
		lines.push(
			`3 rule       ${String(tried.rule.priorityOrder).padStart(4)} ${tried.rule.name}: ${tried.missed ?? "matches"}`,
		);
	const say = (line: string, ...wanted: readonly string[]) => {
		for (const { step, result } of promises.steps)
			if (wanted.includes(step)) lines.push(`${line} ${step.padEnd(10)} ${result}`);
	};
	say("3", "window");
	const { allocator, route } = outcome;
	const isOwn = route === undefined || allocator === (route.from === 0 ? "priority" : "bucket");
	const upgrade = submit.mayUpgrade && isOwn && allocator === "bucket" ? ", may use idle better ones" : "";
	if (route !== undefined) lines.push(routeLine(route, allocator, isOwn, arrival.metadata.accountId));
	const via = isOwn
		? `${viaText(allocation.via)} (allocator = ${allocator}, ${allocation.mode}${upgrade})`
		: `(allocator = ${allocator})`;
	lines.push(
		`4 allocate   ${outcome.queueLabel} ${outcome.queueName}: ${via}`,
		`5 queue      weight ${number(outcome.queueWeight)}, at most ${outcome.queueDepth} waiting${depthOfRule(rule.rule.maxQueueDepth)}, waits up to ${duration(submit.timeoutMs)}${limits(outcome)}`,
	);
	say("5", "reserved", "preemption");
	lines.push(
		`6 flow       ${outcome.flowPath.length === 0 ? "one for all" : `shares by ${outcome.flowPath.join("/")}`}, weight ${number(submit.weight)} inside its queue (scheduler = ${config.requestScheduler.scheduler})`,
		`7 estimate   ${submit.promptTokens} prompt + ${submit.completionTokens} completion tokens${described.maxTokens === undefined ? " (nothing learnt yet)" : ""}, cost ${number(outcome.cost)}`,
	);
	say("7", "quota", "rate", "guard");
	for (const { name, capacity } of outcome.pools)
		lines.push(
			`8 capacity   pool ${name}, model ${arrival.model === model ? model : `${model} = ${arrival.model}`}: ${submit.sequences} of ${number(capacity.maxConcurrent)} sequences, ${submit.promptTokens + submit.completionTokens} of ${number(capacity.maxInflightTokens)} tokens in flight; rates: ${number(capacity.maxRps)} requests/s, ${number(capacity.maxTokensPerSec)} tokens/s`,
		);
	say("8", "engine");
	return [...lines, verdictText(outcome)];
}

/** Why this allocator, of two. */
function routeLine(
	{
		share,
		point,
		from,
		to,
	}: { readonly share: number; readonly point: number; readonly from: number; readonly to: number },
	allocator: string,
	isOwn: boolean,
	account: string,
): string {
	const percent = (part: number) => `${number(Number((100 * part).toFixed(2)))} %`;
	const own = from === 0 ? "priority" : "bucket";
	const large = isOwn ? "" : `; it is too large for that half, so the ${allocator} allocator takes it`;
	return `4 route      account ${account} stands at ${percent(point)}: accounts from ${percent(from)} to ${percent(to)} are of the ${own} allocator, which has ${percent(share)} of every pool${large}`;
}

function verdictText({ verdict, never }: { readonly verdict: string; readonly never: boolean }): string {
	if (verdict === "quota_exceeded") return "It could never run: quota_exceeded, it needs more than a whole budget has.";
	if (never) return `It could never run: ${verdict}, it needs more than the pool has.`;
	return verdict === "dispatch"
		? "It could run: an idle gateway starts it at once."
		: `It could run later: it waits (${verdict}).`;
}

function identityText({
	tier,
	environment,
	workload,
	accountId,
	accountTier,
	accountType,
	tag,
}: RoutingMetadata): string {
	const parts = [
		`tier ${tier}`,
		environment === undefined ? "no environment" : `environment ${environment}`,
		workload === undefined ? [] : `workload ${workload}`,
		accountType === undefined ? [] : `account type ${accountType}`,
		accountTier === undefined ? [] : `account tier ${accountTier}`,
		tag === undefined ? [] : `tag ${tag}`,
		`account ${accountId}`,
	];
	return parts.flat().join(", ");
}

function depthOfRule(depth: number | undefined): string {
	return depth === undefined ? "" : ` (${depth} of this rule)`;
}

function limits({
	limitRps,
	limitTps,
}: {
	readonly limitRps: number | undefined;
	readonly limitTps: number | undefined;
}) {
	if (limitRps !== undefined) return `, at most ${number(limitRps)} requests/s`;
	return limitTps === undefined ? "" : `, at most ${number(limitTps)} tokens/s`;
}

function number(value: number): string {
	return Number.isFinite(value) ? String(Number(value.toPrecision(6))) : "unlimited";
}

function duration(ms: number): string {
	return Number.isFinite(ms) ? `${number(ms / 1000)} s` : "any time";
}

/** Unlimited is `null`. */
export function explanationAsJson({ described, rules, promises, outcome }: Explanation, config: GatewayConfig) {
	const finite = (value: number | undefined) => (value !== undefined && Number.isFinite(value) ? value : null);
	const { metadata, hints } = described;
	const { classifier, allocator, scheduler } = config.requestScheduler;
	const request = {
		tier: metadata.tier,
		environment: metadata.environment ?? null,
		workload: metadata.workload ?? null,
		account_id: metadata.accountId,
		model: described.model,
		hints: { priority: hints.priority ?? null, request_class: hints.requestClass ?? null },
		prompt_tokens: described.promptTokens,
		max_tokens: described.maxTokens ?? null,
	};
	if (outcome.kind === "refused") {
		const { code, message } = outcome.refusal;
		return { request, classifier, allocator, scheduler, refusal: { code, message }, could_run: false };
	}
	const { submit, allocation, rule, model } = outcome.arrival;
	return {
		request,
		classifier,
		rules: rules.map((tried) => ({
			rule_name: tried.rule.name,
			priority_order: tried.rule.priorityOrder,
			matched: tried.missed === undefined,
			why_not: tried.missed ?? null,
		})),
		rule: { rule_name: rule.rule.name, rule_id: rule.rule.id },
		allocation: {
			allocator: outcome.allocator,
			...(outcome.route === undefined
				? {}
				: {
						router: {
							share_pct: 100 * outcome.route.share,
							account_pct: 100 * outcome.route.point,
							from_pct: 100 * outcome.route.from,
							to_pct: 100 * outcome.route.to,
						},
					}),
			queue: outcome.queueLabel,
			index: outcome.queueIndex,
			via: allocation.via,
			mode: allocation.mode,
		},
		queue: {
			name: outcome.queueName,
			weight: outcome.queueWeight,
			max_depth: outcome.queueDepth,
			rule_max_depth: rule.rule.maxQueueDepth ?? null,
			timeout_sec: finite(submit.timeoutMs / 1000),
			limit_rps: outcome.limitRps ?? null,
			limit_tps: outcome.limitTps ?? null,
			reserved_tps: outcome.reservedTps ?? 0,
			lendable: outcome.lendable,
		},
		flow: { scheduler, path: outcome.flowPath, weight: submit.weight },
		estimate: { prompt_tokens: submit.promptTokens, completion_tokens: submit.completionTokens, cost: outcome.cost },
		capacity: outcome.pools.map(({ name, capacity }) => ({
			pool: name,
			model,
			sequences: submit.sequences,
			tokens: submit.promptTokens + submit.completionTokens,
			max_concurrent: finite(capacity.maxConcurrent),
			max_inflight_tokens: finite(capacity.maxInflightTokens),
			max_rps: finite(capacity.maxRps),
			max_tokens_per_sec: finite(capacity.maxTokensPerSec),
		})),
		promises: promises.steps,
		could_run: !outcome.never,
		verdict: outcome.verdict,
	};
}
