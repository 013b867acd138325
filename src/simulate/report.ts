/**
 * What a simulation tells of each queue and tenant, and the run itself: the life cycle and core of a configuration on modelled engines.
 *
 * Memory does not grow with the number of requests: histograms with buckets 1 % wide, and time series of at most 120 points whose width
 * doubles when they are full. Units: milliseconds, tokens.
 */
import { compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { AdaptiveCapacity } from "../core/capacity/adaptive-capacity.ts";
import { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import { Estimator } from "../core/classify/estimator.ts";
import type { FlowStep } from "../core/lifecycle/flow-steps.ts";
import { type Arrival, Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { ZoneOffset } from "../core/model/civil-time.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { EpochMillis, Millis } from "../core/model/units.ts";
import type { Reason } from "../core/schedule/decision.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { EngineProfile } from "./engine-profiles.ts";
import { Entrance, HELD_BY, type HeldBy, type PromiseReport, type SimulatedPolicy } from "./entrance.ts";
import { jain, type ServiceReport, ServiceTracker } from "./service.ts";
import { type NetworkDelay, type SimulatedRequest, simulate } from "./simulation.ts";
import type { SimulatedArrival } from "./workload.ts";

interface Quantiles {
	readonly mean: Millis;
	readonly p50: Millis;
	readonly p99: Millis;
}

export interface GroupReport {
	readonly name: string;
	readonly requests: number;
	readonly served: number;
	readonly refused: Readonly<Record<string, number>>;
	readonly wait_ms: Quantiles;
	readonly ttft_ms: Quantiles;
	readonly tokens: number;
	readonly tokens_per_second: number;
	/** When the last of its requests was answered; 0 when none was. */
	readonly last_finished_ms: Millis;
	readonly upgrades: number;
	readonly preemptions: number;
	/** Requests that waited before their queue, by what held them. */
	readonly held: Readonly<Record<HeldBy, number>>;
	/** Requests that started on capacity that is not their queue's own. */
	readonly borrowed: number;
	/** Of the tokens of its tenants; 1 is equal. For queues and the whole only. */
	readonly jain_index?: number;
}

export interface SeriesReport {
	readonly name: string;
	readonly step_ms: Millis;
	/** Mean wait of those dispatched in each step, mean time to the first token of those whose came, and tokens as they were worked through. Null: there was none. */
	readonly wait_ms: readonly (number | null)[];
	readonly ttft_ms: readonly (number | null)[];
	readonly tokens_per_second: readonly number[];
}

export interface SimulationReport {
	readonly config: string;
	readonly engine_profile: string;
	readonly simulated_ms: Millis;
	readonly total: GroupReport;
	readonly queues: readonly GroupReport[];
	readonly tenants: readonly GroupReport[];
	readonly series: readonly SeriesReport[];
	readonly service: ServiceReport;
	readonly promises: PromiseReport;
}

export interface SimulationInput {
	/** As it is named in the report. */
	readonly name: string;
	readonly config: GatewayConfig;
	readonly profile: EngineProfile;
	readonly arrivals: Iterable<SimulatedArrival>;
	/** Default: the rules a new installation starts with. */
	readonly rules?: readonly RoutingRule[];
	/** Default: none. */
	readonly network?: NetworkDelay;
	/** Accounts, time windows and quotas. Default none. */
	readonly policy?: SimulatedPolicy;
	/** The wall clock at the beginning. Default `DEFAULT_START`. */
	readonly startAt?: EpochMillis;
	/** Of time zones. Default: all clocks show UTC. */
	readonly offset?: ZoneOffset;
	/** Told of every request as it ends. */
	readonly onEnd?: (arrival: SimulatedArrival, request: SimulatedRequest) => void;
}

interface Tracked extends SimulatedRequest {
	readonly source: SimulatedArrival;
	readonly arrival: Arrival;
	/** Its first token has come once. */
	begun: boolean;
	readonly held: HeldBy[];
}

/** A Monday, midnight UTC: the same input gives the same output on any day. */
export const DEFAULT_START: EpochMillis = Date.UTC(2026, 0, 5);
const NO_POLICY: SimulatedPolicy = { accounts: [], windows: [], quotas: [] };

/** How often adaptive capacity looks, as in the gateway. */
const CONTROL_MS: Millis = 200;
/** Tenants beyond that are counted together. */
const MAX_TENANTS = 1000;

export function simulateConfig(input: SimulationInput): SimulationReport {
	const { name, config, profile, arrivals, rules, network, onEnd } = input;
	const compiled = compile(config, []);
	const guard = new CapacityGuard(compiled.guard);
	const adaptive = compiled.pools.map(({ control, provider }) =>
		control.adaptive === undefined ? undefined : new AdaptiveCapacity(control.adaptive, provider.endpoints.length),
	);
	const adapts = adaptive.some((one) => one !== undefined);
	const lifecycle = new Lifecycle({
		guard,
		rules: rules ?? defaultRules(compiled.levelNames.length),
		allocator: compiled.allocator,
		...(compiled.router === undefined ? {} : { router: compiled.router }),
		levelNames: compiled.levelNames,
		pools: compiled.pools.map((pool) => ({ ...pool, forceStream: pool.provider.forceStream })),
		aliases: config.models,
		flowPath: config.requestScheduler.flowPath as readonly FlowStep[],
		subqueues: config.allocator.priority.enableSubqueues,
		estimator: new Estimator({ initialCompletion: config.cost.initialCompletion }),
		burstSeconds: config.capacity.burstSeconds,
		protection: compiled.protection,
	});
	const ruleDepths = lifecycle.rules.map(({ rule }) => rule.maxQueueDepth ?? Number.POSITIVE_INFINITY);
	const model = (compiled.pools[0]?.models[0] ?? "*").replaceAll("*", "model");
	const total = new Group("all");
	// Of both halves, where there are two.
	const halves = compiled.core.halves ?? [compiled.core];
	const queues = halves
		.flatMap((half) => half.queues)
		.map((queue) => new Group(queue.name === queue.label ? queue.label : `${queue.label} ${queue.name}`));
	const series = queues.map((queue) => new Series(queue.name));
	const tenants = new Map<string, Group>();
	const tenantOf = (id: string): Group => {
		const known = tenants.size < MAX_TENANTS || tenants.has(id) ? id : "others";
		let group = tenants.get(known);
		if (group === undefined) {
			group = new Group(known);
			tenants.set(known, group);
		}
		return group;
	};
	const service = new ServiceTracker();
	/** Queues of the second half follow those of the first. */
	const placeOf = ({ pool = 0, queue, ranFrom = queue }: Tracked) =>
		pool >= compiled.pools.length ? halves[0]!.queues.length + ranFrom : ranFrom;
	const entrance = new Entrance<Tracked>({
		policy: input.policy ?? NO_POLICY,
		config,
		guard,
		lifecycle,
		queues: halves.map((half) => half.queues),
		startAt: input.startAt ?? DEFAULT_START,
		offset: input.offset ?? (() => 0),
	});

	function ended(request: Tracked): void {
		onEnd?.(request.source, request);
		const { accountId } = request.arrival.metadata;
		const { promptTokens, outputTokens, firstTokenMs, finishedMs } = request;
		const waitBucket = bucketOf(waitOf(request));
		const ttftBucket = bucketOf(ttftOf(request));
		total.end(request, waitBucket, ttftBucket);
		const place = placeOf(request);
		queues[place]!.end(request, waitBucket, ttftBucket);
		tenantOf(accountId).end(request, waitBucket, ttftBucket);
		series[place]!.end(request);
		if (finishedMs === undefined) {
			if (!request.begun) service.answered(accountId, request.endedMs!);
			lifecycle.withdrawn(request.arrival, request.endedMs!);
			entrance.ended(request, undefined, request.endedMs!);
			return;
		}
		lifecycle.used(request.arrival, outputTokens, finishedMs);
		service.served(accountId, promptTokens, outputTokens, firstTokenMs ?? finishedMs, finishedMs);
		const usage = { promptTokens, completionTokens: outputTokens, cachedTokens: 0, source: "measured" } as const;
		lifecycle.settled(request.arrival, usage, finishedMs);
		entrance.ended(request, { prompt: promptTokens, completion: outputTokens }, finishedMs);
	}

	function giveUp(request: Tracked, reason: Reason | "quota_exceeded", now: Millis): void {
		// A budget is asked before the core, which has no word for it.
		request.refused = reason as Reason;
		request.endedMs = now;
		ended(request);
	}

	/** To its queue, unless something before it keeps it. */
	function enter(request: Tracked, now: Millis): Tracked | undefined {
		const entry = entrance.enter(request, now);
		if (entry === "goes") return request;
		if (entry !== "held") giveUp(request, entry, now);
		return undefined;
	}

	function admit(source: SimulatedArrival, now: Millis): Tracked | undefined {
		const { promptTokens, outputTokens, stream } = source;
		const metadata = entrance.identityOf(source.metadata);
		const context = {
			hints: {},
			bodyBytes: promptTokens * 4,
			startWithinMs: Number.POSITIVE_INFINITY,
			tokenInUse: 0,
		};
		const admitted = lifecycle.admit(metadata, factsOf(model, promptTokens, stream), context, now);
		const fits = promptTokens + outputTokens < profile.kvTokens;
		if (admitted.kind === "refused" || !fits) {
			const reason = admitted.kind === "refused" ? admitted.refusal.code : "context_length_exceeded";
			const queue = admitted.kind === "refused" ? admitted.queue : undefined;
			for (const group of [total, tenantOf(metadata.accountId)]) group.refuse(reason);
			if (queue !== undefined) queues[queue]!.refuse(reason);
			if (guard.settings.enabled) entrance.asked(reason === "capacity_guard", now);
			if (admitted.kind === "admitted") lifecycle.withdrawn(admitted.arrival, now);
			return undefined;
		}
		const { submit } = admitted.arrival;
		if (guard.settings.enabled) entrance.asked(false, now);
		service.arrived(metadata.accountId, now);
		const request: Tracked = {
			source,
			arrival: admitted.arrival,
			begun: false,
			held: [],
			arrivalMs: now,
			queue: submit.queue,
			flow: submit.flow,
			promptTokens,
			outputTokens,
			expectedOutputTokens: submit.completionTokens,
			observed: submit.observed,
			submit,
		};
		return enter(request, now);
	}

	const { endMs } = simulate({
		core: { ...compiled.core, ruleDepths },
		engines: compiled.core.pools.map((pool) => Array.from({ length: pool.endpoints }, () => profile)),
		requests: arrivals,
		admit,
		before: {
			nextAt: () => entrance.nextAt,
			nextBoundary: () => entrance.nextBoundary,
			look: (now, core) => entrance.look(now, core),
			*due(now) {
				for (const { request, timedOut } of entrance.due(now)) {
					if (timedOut) giveUp(request, "queue_timeout", now);
					else yield request;
				}
			},
		},
		...(adapts ? { everyToken: true } : {}),
		...(network && { network }),
		...(adapts
			? {
					onInstant: (_: Millis, core: SchedulingCore) => {
						for (const pool of core.pools) pool.observer = adaptive[pool.index % adaptive.length];
					},
					control: {
						everyMs: CONTROL_MS,
						call: (now: Millis, core: SchedulingCore) => {
							for (const [index, one] of adaptive.entries())
								if (one !== undefined) core.configureCapacity(index, one.tick(now, core.pools[index]!), now);
						},
					},
				}
			: {}),
		onFirstToken: (answering) => {
			const request = answering as Tracked;
			lifecycle.used(request.arrival, request.promptTokens, request.firstTokenMs!);
			if (!request.begun) service.answered(request.arrival.metadata.accountId, request.firstTokenMs!);
			request.begun = true;
		},
		onEnd: (request) => ended(request as Tracked),
	});
	const byQueue = queues.map((queue) => queue.report(endMs));
	const byTenant = [...tenants.values()].map((tenant) => tenant.report(endMs));
	byTenant.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
	return {
		config: name,
		engine_profile: profile.name,
		simulated_ms: Math.round(endMs),
		total: { ...total.report(endMs), jain_index: jain(byTenant.map(({ tokens }) => tokens)) },
		queues: byQueue.map((report, index) => ({ ...report, jain_index: queues[index]!.jain() })),
		tenants: byTenant,
		series: series.map((one) => one.report()),
		service: service.report(endMs),
		promises: entrance.report(endMs),
	};
}

function factsOf(model: string, promptTokens: number, stream: boolean): RequestFacts {
	return {
		operation: "chat",
		model,
		stream,
		wantsStreamUsage: stream,
		// The trace speaks in tokens, so nothing is left to estimate from characters.
		promptChars: 0,
		promptExtraTokens: promptTokens,
		sequences: 1,
		hasTools: false,
	};
}

class Group {
	readonly name: string;
	readonly #wait = new LogHistogram();
	readonly #ttft = new LogHistogram();
	readonly #refused = new Map<string, number>();
	readonly #tenantTokens = new Map<string, number>();
	#requests = 0;
	#served = 0;
	#lastFinishedMs = 0;
	#tokens = 0;
	#upgrades = 0;
	#preemptions = 0;
	#borrowed = 0;
	readonly #held = Object.fromEntries(HELD_BY.map((by) => [by, 0])) as Record<HeldBy, number>;

	constructor(name: string) {
		this.name = name;
	}

	refuse(reason: string): void {
		this.#requests++;
		this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1);
	}

	/** @param waitBucket and @param ttftBucket as `bucketOf` says, since several groups take the same request */
	end(request: Tracked, waitBucket: number, ttftBucket: number): void {
		this.#preemptions += request.preempted ?? 0;
		for (const by of request.held) this.#held[by]++;
		if (request.finishedMs === undefined) {
			this.refuse(request.refused ?? "none");
			return;
		}
		this.#requests++;
		this.#served++;
		if (request.finishedMs > this.#lastFinishedMs) this.#lastFinishedMs = request.finishedMs;
		const tokens = request.promptTokens + request.outputTokens;
		this.#tokens += tokens;
		const { accountId } = request.arrival.metadata;
		if (this.#tenantTokens.size < MAX_TENANTS || this.#tenantTokens.has(accountId))
			this.#tenantTokens.set(accountId, (this.#tenantTokens.get(accountId) ?? 0) + tokens);
		if (request.payer !== undefined && request.payer !== (request.ranFrom ?? request.queue)) this.#upgrades++;
		if (request.borrowed === true) this.#borrowed++;
		this.#wait.add(waitOf(request), waitBucket);
		this.#ttft.add(ttftOf(request), ttftBucket);
	}

	jain(): number {
		return jain([...this.#tenantTokens.values()]);
	}

	report(elapsedMs: Millis): GroupReport {
		return {
			name: this.name,
			requests: this.#requests,
			served: this.#served,
			refused: Object.fromEntries([...this.#refused].sort(([a], [b]) => (a < b ? -1 : 1))),
			wait_ms: this.#wait.quantiles(),
			ttft_ms: this.#ttft.quantiles(),
			tokens: this.#tokens,
			tokens_per_second: elapsedMs === 0 ? 0 : Math.round((this.#tokens / elapsedMs) * 10_000) / 10,
			last_finished_ms: Math.round(this.#lastFinishedMs),
			upgrades: this.#upgrades,
			preemptions: this.#preemptions,
			held: { ...this.#held },
			borrowed: this.#borrowed,
		};
	}
}

const SERIES_POINTS = 120;

class Series {
	readonly #name: string;
	#stepMs = 1000;
	readonly #waits = new Float64Array(SERIES_POINTS);
	readonly #dispatched = new Float64Array(SERIES_POINTS);
	readonly #ttfts = new Float64Array(SERIES_POINTS);
	readonly #begun = new Float64Array(SERIES_POINTS);
	readonly #tokens = new Float64Array(SERIES_POINTS);

	constructor(name: string) {
		this.#name = name;
	}

	end({ arrivalMs, dispatchedMs, firstTokenMs, finishedMs, promptTokens, outputTokens }: SimulatedRequest): void {
		if (finishedMs === undefined || dispatchedMs === undefined) return;
		while (finishedMs >= SERIES_POINTS * this.#stepMs) this.#widen();
		const dispatched = Math.floor(dispatchedMs / this.#stepMs);
		this.#waits[dispatched]! += dispatchedMs - arrivalMs;
		this.#dispatched[dispatched]! += 1;
		const begunMs = firstTokenMs ?? finishedMs;
		const begun = Math.floor(begunMs / this.#stepMs);
		this.#ttfts[begun]! += begunMs - arrivalMs;
		this.#begun[begun]! += 1;
		this.#tokens[begun]! += promptTokens;
		const last = Math.floor(finishedMs / this.#stepMs);
		const share = outputTokens / (last - begun + 1);
		for (let step = begun; step <= last; step++) this.#tokens[step]! += share;
	}

	report(): SeriesReport {
		const used = this.#tokens.findLastIndex((n) => n > 0) + 1;
		const points = Array.from({ length: used }, (_, at) => at);
		const mean = (sums: Float64Array, counts: Float64Array) =>
			points.map((at) => (counts[at] === 0 ? null : Math.round((10 * sums[at]!) / counts[at]!) / 10));
		return {
			name: this.#name,
			step_ms: this.#stepMs,
			wait_ms: mean(this.#waits, this.#dispatched),
			ttft_ms: mean(this.#ttfts, this.#begun),
			tokens_per_second: points.map((at) => Math.round((this.#tokens[at]! / this.#stepMs) * 1000)),
		};
	}

	#widen(): void {
		this.#stepMs *= 2;
		for (const values of [this.#waits, this.#dispatched, this.#ttfts, this.#begun, this.#tokens]) {
			for (let at = 0; at < SERIES_POINTS / 2; at++) values[at] = values[2 * at]! + values[2 * at + 1]!;
			values.fill(0, SERIES_POINTS / 2);
		}
	}
}

/** Of one that finished; of any other they mean nothing. */
const waitOf = ({ arrivalMs, dispatchedMs, finishedMs }: SimulatedRequest): Millis =>
	(dispatchedMs ?? finishedMs ?? arrivalMs) - arrivalMs;
const ttftOf = ({ arrivalMs, firstTokenMs, finishedMs }: SimulatedRequest): Millis =>
	(firstTokenMs ?? finishedMs ?? arrivalMs) - arrivalMs;

const GROWTH = Math.log(1.01);
const NO_BUCKET = -1;

function bucketOf(ms: Millis): number {
	return ms < 0.1 ? NO_BUCKET : Math.floor(Math.log(ms * 10) / GROWTH);
}

/** Counts in buckets 1 % wide; below a tenth of a millisecond counts as nothing. */
class LogHistogram {
	readonly #buckets: number[] = [];
	#zero = 0;
	#count = 0;
	#sum = 0;

	/** @param bucket as `bucketOf` says */
	add(ms: Millis, bucket: number): void {
		this.#count++;
		this.#sum += ms;
		if (bucket === NO_BUCKET) {
			this.#zero++;
			return;
		}
		while (this.#buckets.length <= bucket) this.#buckets.push(0);
		this.#buckets[bucket]! += 1;
	}

	quantiles(): Quantiles {
		const mean = this.#count === 0 ? 0 : Math.round((this.#sum / this.#count) * 10) / 10;
		return { mean, p50: this.#quantile(0.5), p99: this.#quantile(0.99) };
	}

	#quantile(q: number): Millis {
		let left = Math.ceil(q * this.#count) - this.#zero;
		if (left <= 0) return 0;
		for (const [bucket, count] of this.#buckets.entries()) {
			left -= count;
			if (left <= 0) return Math.round(Math.exp((bucket + 0.5) * GROWTH)) / 10;
		}
		return 0;
	}
}
