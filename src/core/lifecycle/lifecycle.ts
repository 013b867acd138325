/**
 * The life of a request between classification and settlement, as a pure state holder around the scheduling core: rules and
 * hints, limits, estimate, allocation, submit; at the end true-up and what the estimator learns. The gateway and the simulator
 * both drive this; neither decides anything itself.
 */
import type { Allocator } from "../allocate/allocator.ts";
import { type ActiveWindows, type Adjusted, adjustAllocation, UNADJUSTED } from "../allocate/time-window.ts";
import { accountPoint, type WeightedRouter } from "../allocate/weighted-router.ts";
import type { CapacityGuard } from "../capacity/capacity-guard.ts";
import { Protection, type ProtectionSettings, type ProtectionTaken } from "../capacity/protection.ts";
import { RateLimit } from "../capacity/rate-limit.ts";
import type { Estimator } from "../classify/estimator.ts";
import { applyHints, CRITICAL_LIMIT, CRITICAL_WINDOW_MS, type HintContext } from "../classify/hints.ts";
import { type CompiledRule, RuleMatcher } from "../classify/rule-matcher.ts";
import { SlidingCounter } from "../classify/sliding-counter.ts";
import type { Refusal } from "../model/error-code.ts";
import { matchesModel } from "../model/model-pattern.ts";
import type { AllocationDecision, RoutingRule } from "../model/policy.ts";
import type { RequestFacts } from "../model/request-facts.ts";
import type { RequestHints, RoutingMetadata, TokenTraits } from "../model/routing.ts";
import type { Millis, Tokens } from "../model/units.ts";
import type { Usage } from "../model/usage.ts";
import type { OtherPlace } from "../schedule/halves.ts";
import type { SubmitRequest } from "../schedule/submit-request.ts";
import { belowEnvironment, FlowPaths, type FlowStep } from "./flow-steps.ts";

/** A pool as the life cycle needs it. */
export interface ServingPool {
	readonly name: string;
	/** Patterns of model names, `*` for any text. */
	readonly models: readonly string[];
	readonly maxContextLength: Tokens;
	readonly forceStream: boolean;
}

export interface LifecycleSettings {
	readonly rules: readonly RoutingRule[];
	readonly allocator: Allocator;
	/** Two allocators in proportion, in place of `allocator`: the core has two halves then. */
	readonly router?: WeightedRouter;
	readonly levelNames: readonly string[];
	readonly pools: readonly ServingPool[];
	readonly aliases: ReadonlyMap<string, string>;
	readonly flowPath: readonly FlowStep[];
	/** Levels whose environments are sub-queues: the first step of the path there. Default none. */
	readonly subqueues?: readonly number[];
	readonly estimator: Estimator;
	readonly burstSeconds: number;
	/** Longest wait in a queue of a pool, where somebody may change it while the process runs; else what the allocator says. */
	readonly queueTimeoutMs?: (pool: number, queue: number) => Millis;
	/** Keeps external work out while internal work needs the capacity, and measures both. */
	readonly guard?: CapacityGuard;
	/** Limits of the whole gateway and of models. */
	readonly protection?: ProtectionSettings | undefined;
}

/** What may change while requests wait and run: the next request finds it so. Flow paths and the estimator stay. */
export type LifecycleChange = Partial<
	Pick<LifecycleSettings, "allocator" | "router" | "levelNames" | "pools" | "aliases" | "burstSeconds" | "protection">
>;

/** Where an account stands among the two allocators of a weighted router. */
export interface Route {
	/** 0 for levels, 1 for buckets. */
	readonly half: 0 | 1;
	/** Of the account, in [0, 1): the first half has those below its share. */
	readonly point: number;
}

/** One request on its way; kept until it is settled. */
export interface Arrival {
	readonly metadata: RoutingMetadata;
	readonly facts: RequestFacts;
	/** After the alias table. */
	readonly model: string;
	readonly rule: CompiledRule;
	readonly allocation: AllocationDecision;
	/** Which allocator took it, where two share the traffic. */
	readonly route?: Route;
	readonly flowKey: string;
	/** Steps at which it shares its queue. */
	readonly flowSteps: readonly FlowStep[];
	/** What time windows change for it. */
	readonly adjusted: Adjusted;
	readonly submit: SubmitRequest;
	/** What it took from the token limit of its rule, if that has one: given back to that one, whatever rules say by then. */
	readonly taken: TakenTokens | undefined;
	/** What it took from limits of the gateway and of its model. */
	readonly protection: ProtectionTaken | undefined;
	/** Of a tier that the capacity guard keeps out. */
	readonly isExternal: boolean;
	/** The guard is closed to it: it waits until that opens, before it is submitted. */
	readonly isKeptOut: boolean;
}

export interface TakenTokens {
	readonly limit: RateLimit;
	readonly tokens: Tokens;
}

interface Refused {
	readonly kind: "refused";
	readonly refusal: Refusal;
	/** Where it would have waited, once that was known. */
	readonly queue?: number;
}

export type Admitted = { readonly kind: "admitted"; readonly arrival: Arrival } | Refused;

/** What the client and its connection say beside the body. */
export interface ArrivalContext {
	readonly hints: RequestHints;
	readonly bodyBytes: number;
	readonly startWithinMs: Millis;
	/** Sequences of this token that run or wait. */
	readonly tokenInUse: number;
}

export class Lifecycle {
	#settings: LifecycleSettings;
	#protection: Protection | undefined;
	#matcher: RuleMatcher;
	readonly #paths: FlowPaths;
	readonly #pathsBelowEnvironment: FlowPaths;
	#windows: ActiveWindows | undefined;
	readonly #criticalUses = new SlidingCounter(CRITICAL_LIMIT, CRITICAL_WINDOW_MS);
	/** Per rule index: limits on requests and tokens per second. */
	#requestLimits: (RateLimit | undefined)[] = [];
	#tokenLimits: (RateLimit | undefined)[] = [];
	/** Pools per model, found once. Bounded: models come from clients. */
	readonly #poolsOf = new Map<string, readonly number[]>();

	constructor(settings: LifecycleSettings) {
		this.#settings = settings;
		this.#matcher = new RuleMatcher(settings.rules);
		this.#paths = new FlowPaths(settings.flowPath);
		this.#pathsBelowEnvironment = new FlowPaths(belowEnvironment(settings.flowPath));
		this.#makeLimits(0);
		this.#protect(0);
	}

	/** Rules in order of evaluation. */
	get rules(): readonly CompiledRule[] {
		return this.#matcher.rules;
	}

	/**
	 * New rules are in force for the next request; a rule that stays keeps what its limits have counted. Answers where each rule stands that
	 * was in force before, -1 for one that is gone.
	 */
	replaceRules(rules: readonly RoutingRule[], now: Millis): readonly number[] {
		const before = this.rules;
		const limits = before.map(({ index }) => [this.#requestLimits[index], this.#tokenLimits[index]] as const);
		this.#matcher = new RuleMatcher(rules);
		this.#makeLimits(now);
		const known = new Map(before.map(({ rule, index }) => [rule.id, { rule, limits: limits[index]! }]));
		for (const { rule, index } of this.rules) {
			const same = known.get(rule.id);
			if (same === undefined) continue;
			if (same.rule.maxRps === rule.maxRps) this.#requestLimits[index] = same.limits[0];
			if (same.rule.maxTps === rule.maxTps) this.#tokenLimits[index] = same.limits[1];
		}
		return before.map((rule) => this.indexOf(rule));
	}

	/** Where a rule that was found for a request stands now, -1 when it is gone. */
	indexOf(rule: CompiledRule): number {
		const { rules } = this;
		return rules[rule.index] === rule ? rule.index : rules.findIndex((other) => other.rule.id === rule.rule.id);
	}

	/** In force for the next request; limits of rules begin anew only when their burst changes. */
	reconfigure(change: LifecycleChange, now: Millis): void {
		const before = this.#settings.burstSeconds;
		this.#settings = { ...this.#settings, ...change };
		this.#poolsOf.clear();
		if (this.#settings.burstSeconds !== before) this.#makeLimits(now);
		if ("protection" in change || this.#settings.burstSeconds !== before) this.#protect(now);
	}

	/** These time windows hold from now on. */
	useWindows(windows: ActiveWindows): void {
		this.#windows = windows;
	}

	/** What `admit` would answer now; takes nothing from any limit. */
	foresee(metadata: RoutingMetadata, facts: RequestFacts, context: ArrivalContext, now: Millis): Admitted {
		const answer = this.#admit(metadata, facts, context, now, GRANTING);
		if (answer.kind === "admitted") {
			this.#requestLimits[answer.arrival.rule.index]?.giveBack(1, now);
			answer.arrival.protection?.undoRequests(now);
			this.withdrawn(answer.arrival, now);
		}
		return answer;
	}

	/** Names that a model has for a client: its own where the token may use it, and the aliases that it may use. */
	namesFor(metadata: RoutingMetadata, model: string): readonly string[] {
		if (this.poolsOf(model).length === 0) return [];
		const { aliases } = this.#settings;
		const mayUseIt = mayUse(metadata.token, model);
		const names = [...aliases]
			.filter(([alias, target]) => target === model && (mayUseIt || mayUse(metadata.token, alias)))
			.map(([alias]) => alias);
		// A name that is an alias of another model means that one.
		return mayUseIt && !aliases.has(model) ? [model, ...names] : names;
	}

	/** Pools that serve a model, in order; empty when none does. */
	poolsOf(model: string): readonly number[] {
		let pools = this.#poolsOf.get(model);
		if (pools === undefined) {
			pools = this.#settings.pools.flatMap((pool, index) =>
				pool.models.some((p) => matchesModel(p, model)) ? [index] : [],
			);
			if (this.#poolsOf.size >= 1000) this.#poolsOf.clear();
			this.#poolsOf.set(model, pools);
		}
		return pools;
	}

	/** Checks, routes and estimates a request; what it answers is ready for the core. Takes from rate limits only when admitted. */
	admit(metadata: RoutingMetadata, facts: RequestFacts, context: ArrivalContext, now: Millis): Admitted {
		let critical: string | undefined;
		const uses = {
			take: (accountId: string) => {
				critical = accountId;
				return this.#criticalUses.waitMs(accountId, now);
			},
		};
		const answer = this.#admit(metadata, facts, context, now, uses);
		// Only now: what comes after the hints may refuse it, and then it used nothing.
		if (critical !== undefined && answer.kind === "admitted") this.#criticalUses.take(critical, now);
		return answer;
	}

	#admit(
		metadata: RoutingMetadata,
		facts: RequestFacts,
		context: ArrivalContext,
		now: Millis,
		criticalUses: HintContext["criticalUses"],
	): Admitted {
		const { aliases, router, levelNames, estimator } = this.#settings;
		const route = router === undefined ? undefined : routeOf(router, metadata.accountId);
		const allocator = route === undefined ? this.#settings.allocator : router!.allocators[route.half];
		const model = aliases.get(facts.model) ?? facts.model;
		const { token } = metadata;
		if (token?.allowedModels !== undefined && !mayUse(token, model) && !mayUse(token, facts.model)) {
			return refused(
				"model_not_allowed",
				`this token may not use model ${quote(facts.model)}; it may use ${token.allowedModels.join(", ")}`,
				"model",
			);
		}
		const pools = this.poolsOf(model);
		if (pools.length === 0) {
			return refused(
				"model_not_served",
				`model ${quote(facts.model)} is not served here; GET /v1/models lists what is`,
				"model",
			);
		}
		if (token?.maxParallelRequests !== undefined && context.tokenInUse >= token.maxParallelRequests) {
			return refused(
				"rate_limited",
				`this token may have ${token.maxParallelRequests} requests at once`,
				undefined,
				1000,
			);
		}
		const hintContext = { matcher: this.#matcher, allocator, levelNames, criticalUses };
		const routed = applyHints(hintContext, metadata, model, context.hints, now);
		if (routed.kind === "refused") return routed;
		const { rule } = routed;
		const adjusted = this.#windows?.adjust(routed.metadata) ?? UNADJUSTED;
		const allocation =
			adjusted === UNADJUSTED
				? routed.allocation
				: adjustAllocation(routed.allocation, adjusted, allocator, routed.metadata, rule.rule);
		const { guard } = this.#settings;
		const { tier } = routed.metadata;
		const isExternal = guard?.isExternal(tier) === true;
		const keptOutBy = guard?.keepsOut(tier, now);
		const isKeptOut = keptOutBy !== undefined;
		if (isKeptOut && guard?.settings.action === "reject") {
			const { resume, maxTps, tierShares } = guard.settings;
			const why =
				keptOutBy === "share"
					? `tier ${quote(tier)} may use ${percent(tierShares?.get(tier) ?? 0)} % of ${maxTps} tokens/s while a time window holds, and does`
					: `internal work needs the capacity: tier ${quote(tier)} is served again when it used less than ${percent(resume)} % of ${maxTps} tokens/s for a minute`;
			const answer = refused("capacity_guard", why, undefined, guard.opensInMs(now, keptOutBy));
			return { ...answer, queue: allocation.queue };
		}
		const paths = this.#pathsIn(allocator, allocation.queue);
		const path = paths.pathOf(routed.metadata, model);
		const flowKey = path.ids[path.ids.length - 1]!;
		const pool = this.#settings.pools[pools[0]!]!;
		const promptTokens = estimator.promptTokens(facts, model);
		const longest = Math.min(pool.maxContextLength, this.#protection?.contextOf(model) ?? Number.POSITIVE_INFINITY);
		const left = longest - promptTokens;
		if (left < 0 || (facts.maxTokens !== undefined && facts.maxTokens > left)) {
			return refused(
				"context_length_exceeded",
				`about ${promptTokens} prompt tokens${facts.maxTokens === undefined ? "" : ` and max_tokens ${facts.maxTokens}`} exceed the context of ${longest} tokens`,
			);
		}
		const estimate = estimator.estimate(facts, model, flowKey, left);
		const own = route === undefined ? pools : this.#poolsIn(route.half, pools);
		const tokens = estimate.promptTokens + estimate.completionTokens;
		const protection = this.#protection?.take(model, tokens, now);
		if (protection !== undefined && "waitMs" in protection) {
			const answer = refused("rate_limited", protection.allowed, undefined, protection.waitMs);
			return { ...answer, queue: allocation.queue };
		}
		const taken = this.#limit(rule, tokens, now);
		if (taken !== undefined && "kind" in taken) {
			protection?.undo(now);
			return { ...taken, queue: allocation.queue };
		}
		const submit: SubmitRequest = {
			pools: own,
			queue: allocation.queue,
			flow: path,
			promptTokens: estimate.promptTokens,
			completionTokens: estimate.completionTokens,
			cachedTokens: estimate.cachedTokens,
			sequences: facts.sequences,
			weight: (token?.weightOverride ?? rule.rule.assignWeight ?? 1) * adjusted.weightMultiplier,
			timeoutMs:
				(rule.rule.queueTimeoutMs ??
					this.#settings.queueTimeoutMs?.(own[0]!, allocation.queue) ??
					allocator.queues[allocation.queue]!.timeoutMs) * adjusted.queueTimeoutMultiplier,
			depthMultiplier: adjusted.maxQueueDepthMultiplier,
			startWithinMs: context.startWithinMs,
			mayUpgrade: allocation.mode === "atleast",
			rule: rule.index,
			bodyBytes: context.bodyBytes,
			observed: facts.stream || pool.forceStream,
			buffered: !facts.stream,
			affinityEndpoint: -1,
			other:
				route === undefined ? undefined : this.#otherPlace(router!, route, pools, routed.metadata, rule.rule, adjusted),
		};
		return {
			kind: "admitted",
			arrival: {
				metadata: routed.metadata,
				facts,
				model,
				rule,
				allocation,
				...(route === undefined ? {} : { route }),
				flowKey,
				flowSteps: paths.steps,
				adjusted,
				submit,
				taken,
				protection,
				isExternal,
				isKeptOut,
			},
		};
	}

	#pathsIn({ kind }: Allocator, queue: number): FlowPaths {
		const isDivided = kind === "priority" && this.#settings.subqueues?.includes(queue) === true;
		return isDivided ? this.#pathsBelowEnvironment : this.#paths;
	}

	#poolsIn(half: 0 | 1, pools: readonly number[]): readonly number[] {
		return half === 0 ? pools : pools.map((pool) => this.#settings.pools.length + pool);
	}

	/** Where the other allocator would put it. */
	#otherPlace(
		{ allocators }: WeightedRouter,
		{ half, point }: Route,
		pools: readonly number[],
		metadata: RoutingMetadata,
		rule: RoutingRule,
		adjusted: Adjusted,
	): OtherPlace {
		const other = half === 0 ? 1 : 0;
		const plain = allocators[other].allocate(metadata, rule);
		const { queue, mode } =
			adjusted === UNADJUSTED ? plain : adjustAllocation(plain, adjusted, allocators[other], metadata, rule);
		return { point, pools: this.#poolsIn(other, pools), queue, mayUpgrade: mode === "atleast" };
	}

	/** An engine read or produced tokens for a request. */
	used(arrival: Arrival, tokens: Tokens, now: Millis): void {
		this.#settings.guard?.used(arrival.isExternal, tokens, now, arrival.metadata.tier);
	}

	/** The end of a request that ran: what the estimator learns, and what a token limit gets back or pays more. */
	settled(arrival: Arrival, usage: Usage, now: Millis): void {
		const { facts, model, flowKey, taken, protection } = arrival;
		this.#settings.estimator.learn(model, flowKey, facts.promptChars, usage, facts.sequences, facts.promptExtraTokens);
		taken?.limit.giveBack(taken.tokens - usage.promptTokens - usage.completionTokens, now);
		protection?.trueUp(usage.promptTokens + usage.completionTokens, now);
	}

	/** The end of a request that never ran: nothing was used. */
	withdrawn({ taken, protection }: Arrival, now: Millis): void {
		taken?.limit.giveBack(taken.tokens, now);
		protection?.trueUp(0, now);
	}

	/** Takes from the limits of a rule: answers what its token limit gave, or the refusal and takes nothing. */
	#limit(rule: CompiledRule, tokens: Tokens, now: Millis): TakenTokens | Refused | undefined {
		const waitRequests = this.#requestLimits[rule.index]?.take(1, now) ?? 0;
		if (waitRequests > 0) {
			return refused(
				"rate_limited",
				`rule ${quote(rule.rule.name)} allows ${rule.rule.maxRps} requests per second`,
				undefined,
				waitRequests,
			);
		}
		const limit = this.#tokenLimits[rule.index];
		if (limit === undefined) return undefined;
		const cost = this.#costUnder(rule, tokens);
		const waitTokens = limit.take(cost, now);
		if (waitTokens === 0) return { limit, tokens: cost };
		this.#requestLimits[rule.index]?.giveBack(1, now);
		return refused(
			"rate_limited",
			`rule ${quote(rule.rule.name)} allows ${rule.rule.maxTps} tokens per second`,
			undefined,
			waitTokens,
		);
	}

	/** A request larger than the burst would never be admitted: it costs the whole burst instead. */
	#costUnder({ rule }: CompiledRule, tokens: Tokens): Tokens {
		return Math.min(tokens, (rule.maxTps ?? 0) * this.#settings.burstSeconds);
	}

	#protect(now: Millis): void {
		const { protection, burstSeconds } = this.#settings;
		this.#protection = protection === undefined ? undefined : new Protection(protection, burstSeconds, now);
	}

	#makeLimits(now: Millis): void {
		const { burstSeconds } = this.#settings;
		const make = (rate: number | undefined, smallest: number) =>
			rate === undefined ? undefined : new RateLimit(rate, Math.max(smallest, rate * burstSeconds), now);
		this.#requestLimits = this.rules.map(({ rule }) => make(rule.maxRps, 1));
		this.#tokenLimits = this.rules.map(({ rule }) => make(rule.maxTps, 0));
	}
}

function routeOf(router: WeightedRouter, accountId: string): Route {
	const point = accountPoint(accountId);
	return { half: router.halfOf(point), point };
}

/** Of a dry run: no use of `critical` is counted. */
const GRANTING: HintContext["criticalUses"] = { take: () => 0 };

function refused(code: Refusal["code"], message: string, param?: string, retryAfterMs?: Millis): Refused {
	return {
		kind: "refused",
		refusal: {
			code,
			message,
			...(param === undefined ? {} : { param }),
			...(retryAfterMs === undefined ? {} : { retryAfterMs }),
		},
	};
}

/** Whether a token may use a model by this name. */
function mayUse(token: TokenTraits | undefined, name: string): boolean {
	return token?.allowedModels === undefined || token.allowedModels.some((pattern) => matchesModel(pattern, name));
}

function percent(fraction: number): number {
	return Math.round(1e6 * fraction) / 1e4;
}

/** Quoted and cut: names come from clients. */
function quote(text: string): string {
	return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
