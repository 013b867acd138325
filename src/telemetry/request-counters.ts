/** What decisions and ends of requests count up, per pool and queue; on the way of every request, so nothing here is made into text. */
import { Throughput } from "../core/capacity/throughput.ts";
import type { AllocationDecision } from "../core/model/policy.ts";
import { ENVIRONMENTS, type RoutingMetadata } from "../core/model/routing.ts";
import type { Millis } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { DecisionKind, Reason } from "../core/schedule/decision.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { Histogram, TOKEN_BOUNDS_S } from "./histogram.ts";

/** What one ended request adds. */
export interface EndedRequest {
	readonly queue: number;
	/** Where it ran last; absent when it was never admitted. */
	readonly pool?: number;
	readonly outcome: string;
	readonly code?: string | undefined;
	readonly durationMs: Millis;
	readonly ttftMs?: Millis | undefined;
	readonly usage?: Usage | undefined;
	readonly arrival?: { readonly metadata: RoutingMetadata; readonly allocation: AllocationDecision } | undefined;
}

/** Counters of one queue of one pool. */
export interface QueueCounters {
	readonly wait: Histogram;
	readonly ttft: Histogram;
	readonly perToken: Histogram;
	readonly dropped: Map<Reason, number>;
	readonly tokens: Throughput;
	readonly requests: Throughput;
	lastActive: Millis;
}

export interface PoolCounters {
	readonly queues: readonly QueueCounters[];
	readonly duration: Map<string, Histogram>;
	/** By victim's and preemptor's queue. */
	readonly preemptions: Map<string, number>;
	readonly requests: Throughput;
	/** Came from the other half. */
	rerouted: number;
	promptTokens: number;
	completionTokens: number;
}

export class RequestCounters {
	readonly pools: readonly PoolCounters[];
	/** Durations of requests that never got a queue, by outcome. */
	readonly unplaced = new Map<string, Histogram>();
	readonly refused = new Map<string, number>();
	/** Requests of a tier that no mapping of buckets covers. */
	unmapped = 0;
	/** By source and environment, a space between. */
	readonly headerRouted = new Map<string, number>();
	readonly #now: () => Millis;

	constructor(core: SchedulingCore, now: () => Millis) {
		this.#now = now;
		this.pools = core.pools.map((pool) => poolCounters(pool.count));
	}

	decision(kind: DecisionKind, queue: number, reason: Reason, waitMs: Millis, payer: number, pool: number): void {
		const counters = this.pools[pool]!;
		const own = counters.queues[queue]!;
		const now = this.#now();
		own.lastActive = now;
		if (kind === "dispatch") {
			own.wait.observe(waitMs / 1000);
			own.requests.record(1, now);
			counters.requests.record(1, now);
		} else if (kind === "shed" || kind === "evict") add(own.dropped, reason, 1);
		else if (reason === "rerouted") counters.rerouted++;
		else if (kind === "preempt") add(counters.preemptions, `${queue} ${payer}`, 1);
	}

	ended(request: EndedRequest): void {
		const { outcome, code, durationMs, usage, arrival, queue } = request;
		const counters = request.pool === undefined || queue < 0 ? undefined : this.pools[request.pool];
		const durations = counters?.duration ?? this.unplaced;
		let histogram = durations.get(outcome);
		if (histogram === undefined) {
			histogram = new Histogram();
			durations.set(outcome, histogram);
		}
		histogram.observe(durationMs / 1000);
		if (code !== undefined && outcome === "refused") add(this.refused, code, 1);
		if (arrival?.allocation.unmapped === true) this.unmapped++;
		if (arrival?.metadata.routedBy === "header") add(this.headerRouted, headerKey(arrival.metadata), 1);
		if (counters === undefined) return;
		const own = counters.queues[queue]!;
		const { ttftMs } = request;
		if (ttftMs !== undefined) own.ttft.observe(ttftMs / 1000);
		if (usage === undefined) return;
		const { promptTokens, completionTokens } = usage;
		counters.promptTokens += promptTokens;
		counters.completionTokens += completionTokens;
		if (ttftMs !== undefined && completionTokens > 1 && durationMs > ttftMs) {
			own.perToken.observe((durationMs - ttftMs) / 1000 / (completionTokens - 1));
		}
		const now = this.#now();
		const tokens = promptTokens + completionTokens;
		own.tokens.record(tokens, now);
	}
}

function poolCounters(queues: number): PoolCounters {
	return {
		queues: Array.from({ length: queues }, () => ({
			wait: new Histogram(),
			ttft: new Histogram(),
			perToken: new Histogram(TOKEN_BOUNDS_S),
			dropped: new Map(),
			tokens: new Throughput(),
			requests: new Throughput(),
			lastActive: Number.NEGATIVE_INFINITY,
		})),
		duration: new Map(),
		preemptions: new Map(),
		requests: new Throughput(),
		rerouted: 0,
		promptTokens: 0,
		completionTokens: 0,
	};
}

/** Environments outside the closed list are names of clients. */
function headerKey({ tier, environment }: RoutingMetadata): string {
	const known = (ENVIRONMENTS as readonly string[]).includes(environment ?? "");
	return `${tier} ${environment === undefined ? "none" : known ? environment : "other"}`;
}

export function add<K>(counts: Map<K, number>, key: K, amount: number): void {
	counts.set(key, (counts.get(key) ?? 0) + amount);
}
