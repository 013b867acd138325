/**
 * What would become of a described request now, through the life cycle and the scheduler that serve real ones; nothing is taken and nothing is sent.
 * The steps stand in the order in which they are taken.
 */
import type { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { whyMissed } from "../core/classify/rule-misses.ts";
import type { Arrival, Lifecycle, Route } from "../core/lifecycle/lifecycle.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { RequestHints, RoutingMetadata } from "../core/model/routing.ts";
import { costOf, MILLIS_PER_SECOND, type Millis } from "../core/model/units.ts";
import { ceilingOf } from "../core/quota/counter.ts";
import { amountIn } from "../core/quota/quota.ts";
import type { Outlook } from "../core/schedule/outlook.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { QuotaService } from "../engine/quota-service.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import type { WindowKeeper } from "../engine/window-keeper.ts";
import type { ExplainQuestion, Explanation } from "../http/admin/scheduler-admin.ts";
import type { DataPlane } from "../http/data-plane.ts";
import {
	budgetText,
	guardText,
	preemptionText,
	rateText,
	reservationText,
	shareText,
	windowText,
} from "./promise-text.ts";

export interface ExplainParts {
	readonly lifecycle: Lifecycle;
	readonly core: SchedulingCore;
	readonly tokenInUse: number;
	readonly quotas: QuotaService | undefined;
	readonly rates: RateGate | undefined;
	readonly windows: WindowKeeper | undefined;
	readonly guard: CapacityGuard;
	/** What of a pool follows its engine, and what the engine is told; undefined where that is nothing. */
	readonly engineText: (pool: number) => string | undefined;
	readonly priceOf: DataPlane["priceOf"];
}

export function explainLive(question: ExplainQuestion, parts: ExplainParts, now: Millis): Explanation {
	const { lifecycle, core, tokenInUse } = parts;
	parts.windows?.look();
	const steps: Explanation["steps"][number][] = [
		{ step: "classify", result: identityText(question.metadata) },
		{ step: "hints", result: hintsText(question.hints) },
	];
	const say = (step: string, result: string) => void steps.push({ step, result });
	const sayIfAny = (step: string, result: string | undefined) => {
		if (result !== undefined) say(step, result);
	};
	const admitted = lifecycle.foresee(
		question.metadata,
		factsOf(question),
		{ hints: question.hints, bodyBytes: 0, startWithinMs: Number.POSITIVE_INFINITY, tokenInUse },
		now,
	);
	if (admitted.kind === "refused") {
		const { code, message } = admitted.refusal;
		say("refused", `${code}: ${message}`);
		return { outcome: code, steps };
	}
	const { arrival } = admitted;
	const { submit, allocation, rule, metadata } = arrival;
	const outlook = core.outlook(submit, now);
	const pool = core.pools[outlook.pool]!;
	const queue = pool.queues[outlook.queue]!;
	const { label, name } = queue.settings;
	if (arrival.model !== question.model) say("model", `${question.model} is an alias of ${arrival.model}`);
	for (const { rule: tried } of lifecycle.rules.slice(0, rule.index + 1)) {
		const missed = tried === rule.rule ? "matches" : whyMissed(tried, metadata, arrival.model);
		say("rule", `${tried.priorityOrder} ${tried.name}: ${missed}`);
	}
	for (const step of parts.windows?.active.steps(metadata) ?? []) say("window", windowText(step));
	if (arrival.route !== undefined) {
		const asked = core.pools[submit.pools[0]!]!;
		say("route", routeText(arrival.route, core.halves ?? [], asked.allocator, metadata.accountId));
		if (asked.allocator !== pool.allocator)
			say("route", `its half has no room for one as large as this: the ${pool.allocator} allocator takes it`);
	}
	const isOwn = pool.allocator === (arrival.route === undefined ? pool : core.pools[submit.pools[0]!]!).allocator;
	const via = isOwn ? viaText(allocation.via) : "as that allocator has it";
	say("allocate", `${label} ${name}: ${via} (allocator ${pool.allocator})`);
	say(
		"queue",
		[
			queue.paused ? "paused" : "open",
			`${outlook.ahead} waiting of at most ${count(queue.maxDepth)}`,
			`weight ${pool.weights[outlook.queue]}`,
			`waits up to ${duration(submit.timeoutMs)}`,
		].join(", "),
	);
	const { limitTps, lendable } = queue.settings;
	const ceiling = queue.tokenRate?.ratePerSec ?? limitTps;
	sayIfAny("reserved", reservationText(queue.reservedTps, lendable !== false, ceiling));
	const labelOf = (at: number) => pool.queues[at]?.settings.label ?? String(at);
	sayIfAny("preemption", preemptionText(core.settings.preemption, submit, labelOf));
	const { flowSteps } = arrival;
	const flow = flowSteps.length === 0 ? "one for all" : `shares by ${flowSteps.join("/")}`;
	say("flow", `${flow}, weight ${submit.weight} inside its queue (scheduler ${core.settings.scheduler})`);
	say("estimate", estimateText(arrival, core));
	const spent = budgetSteps(arrival, parts, say);
	if (spent) return { outcome: "quota_exceeded", queue: label, pool: pool.name, steps };
	for (const { quota, terms, view } of parts.rates?.termsOf(metadata) ?? [])
		say("rate", `${rateText(quota, terms)}; ${Math.round(view.currentTps)} lately, ${view.waiting} waiting`);
	const tokenTps = metadata.token?.quotaTpsLimit;
	if (tokenTps !== undefined && parts.rates !== undefined) say("rate", `this token: at most ${tokenTps} tokens/s`);
	const gateMs = parts.rates?.waitMs(metadata) ?? 0;
	if (gateMs > 0) say("rate", `a rate quota is used up for ${duration(gateMs)}: it waits before its queue`);
	const keptOutBy = parts.guard.keepsOut(metadata.tier, now);
	const isOpen = parts.guard.isOpen(now);
	sayIfAny("guard", guardText(parts.guard.settings, arrival.isExternal, isOpen, submit.queue));
	sayIfAny("guard", shareText(parts.guard.settings, metadata.tier, parts.guard.tierTps(metadata.tier, now)));
	for (const at of submit.pools) say("capacity", capacityText(core, at));
	for (const at of submit.pools) sayIfAny("engine", parts.engineText(at));
	if (arrival.isKeptOut) {
		say("outcome", `the capacity guard holds it for ${duration(parts.guard.opensInMs(now, keptOutBy))} at least`);
		return { outcome: "capacity_guard", queue: label, pool: pool.name, steps };
	}
	say("outcome", outcomeText(outlook));
	return {
		outcome: outlook.kind === "shed" ? outlook.reason : outlook.kind,
		queue: label,
		pool: pool.name,
		steps,
	};
}

/** Says where each budget stands; true when one of them has no room for it. */
function budgetSteps(arrival: Arrival, parts: ExplainParts, say: (step: string, result: string) => void): boolean {
	const { promptTokens, completionTokens } = arrival.submit;
	const usage = { promptTokens, completionTokens, cachedTokens: 0, source: "estimated" } as const;
	const amounts = {
		tokens: promptTokens + completionTokens,
		requests: 1,
		nanoDollars: parts.priceOf(arrival.model, usage),
	};
	const multiplier = (arrival.rule.rule.quotaMultiplier ?? 1) * arrival.adjusted.quotaMultiplier;
	let spent = false;
	for (const view of parts.quotas?.viewsOf(arrival.metadata) ?? []) {
		const { quota, state } = view;
		const ceiling = ceilingOf({ ...view, limit: Math.floor(view.limit * multiplier) }, state);
		const fits = state.used + state.reserved + amountIn(quota.limitDimension, amounts) <= ceiling;
		say("quota", budgetText(quota, state, ceiling, view.period.end, fits));
		spent ||= !fits;
	}
	return spent;
}

function factsOf({ model, promptTokens, maxTokens, stream }: ExplainQuestion): RequestFacts {
	return {
		operation: "chat",
		model,
		stream,
		wantsStreamUsage: true,
		// The prompt is described in tokens, so nothing is left to estimate from its characters.
		promptChars: 0,
		promptExtraTokens: promptTokens,
		sequences: 1,
		hasTools: false,
		...(maxTokens === undefined ? {} : { maxTokens }),
	};
}

function identityText(metadata: RoutingMetadata): string {
	const { tier, environment, workload, accountId, organisation, tokenId } = metadata;
	return [
		`tier ${tier}`,
		environment === undefined ? "no environment" : `environment ${environment}`,
		...(workload === undefined ? [] : [`workload ${workload}`]),
		`account ${accountId}`,
		...(organisation === undefined ? [] : [`organisation ${organisation}`]),
		...(tokenId === undefined ? [] : [`token ${tokenId}`]),
	].join(", ");
}

function hintsText({ priority, requestClass }: RequestHints): string {
	const asked = [
		...(priority === undefined ? [] : [`X-Priority ${priority}`]),
		...(requestClass === undefined ? [] : [`X-Request-Class ${requestClass}`]),
	];
	return asked.length === 0 ? "none" : asked.join(", ");
}

/** Why an account belongs to one of two allocators. */
export function routeText(
	{ half, point }: Route,
	halves: readonly { readonly share: number }[],
	allocator: string,
	account: string,
): string {
	const percent = (part: number) => `${Number((100 * part).toPrecision(4))} %`;
	const first = halves[0]?.share ?? 1;
	const why = half === 0 ? `is below ${percent(first)}` : `is not below ${percent(first)}`;
	return `account ${account} stands at ${percent(point)}, which ${why}: the ${allocator} allocator, which has ${percent(halves[half]?.share ?? 0)} of every pool`;
}

/** The sentence of each way a queue is found. */
export function viaText(via: string): string {
	if (via === "rule") return "the rule names it";
	if (via === "default") return "nothing else names one: the default";
	if (via === "header_hint") return "the hint asks for it";
	if (via === "token_override") return "the token overrides it";
	if (via.startsWith("window:")) return `time windows move it: ${via.slice("window:".length)}`;
	if (via === "unmapped") return "no group covers this tier: the last bucket";
	return via.startsWith("mapping:") ? `group ${via.slice("mapping:".length)}` : via;
}

function estimateText({ submit }: Arrival, core: SchedulingCore): string {
	const { promptTokens, completionTokens, cachedTokens } = submit;
	const cost = costOf(core.settings.cost, promptTokens, completionTokens, cachedTokens);
	return `${promptTokens} prompt + ${completionTokens} completion tokens, cost ${count(cost)}`;
}

function capacityText(core: SchedulingCore, at: number): string {
	const pool = core.pools[at]!;
	const up = pool.endpoints.filter((endpoint) => endpoint.up);
	if (up.length === 0) return `pool ${pool.name}: no endpoint answers`;
	const sum = (of: (endpoint: (typeof up)[number]) => number) => up.reduce((total, one) => total + of(one), 0);
	const sequences = of(
		sum((e) => e.sequences),
		sum((e) => e.sequencesMax),
	);
	const tokens = of(
		sum((e) => e.tokens),
		sum((e) => e.tokensMax),
	);
	return [
		`pool ${pool.name}: ${sequences} sequences`,
		`${tokens} tokens in flight`,
		`${up.length} of ${pool.endpoints.length} endpoints up`,
	].join(", ");
}

const LACK: Partial<Record<Outlook["reason"], string>> = {
	behind: "others are before it",
	space: "there is no room at the moment",
	rate: "a rate ceiling is reached",
	window: "prompts on their way fill the prefill window",
	paused: "the queue is paused",
	unavailable: "no endpoint answers",
	exceeds_capacity: "it needs more than an empty endpoint has",
};

function outcomeText({ kind, reason, ahead, full, startMs }: Outlook): string {
	if (kind === "dispatch") return "it starts at once";
	const why = LACK[reason] ?? reason;
	if (kind === "shed") return `it would never run: ${why}`;
	const crowd = full ? "; the queue is full, so the account with most waiting in it gives one up" : "";
	const when = startMs > 0 ? `, for about ${duration(startMs)}` : "";
	return `it waits behind ${ahead} of its queue${when}: ${why}${crowd}`;
}

function of(used: number, limit: number): string {
	return Number.isFinite(limit) ? `${used} of ${limit}` : String(used);
}

function count(value: number): string {
	return Number.isFinite(value) ? String(Math.round(value * 100) / 100) : "any number";
}

function duration(ms: Millis): string {
	if (!Number.isFinite(ms)) return "any time";
	return ms < MILLIS_PER_SECOND ? `${Math.round(ms)} ms` : `${Math.round(ms / 100) / 10} s`;
}
