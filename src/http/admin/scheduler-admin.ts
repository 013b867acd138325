/**
 * A running scheduler as operators see and steer it. Implemented beside the data plane; pools go by name, queues by index (0 is the
 * best). Methods answer undefined or false for a pool, queue or request that does not exist.
 */

import type { RequestHints, RoutingMetadata } from "../../core/model/routing.ts";
import type { EpochMillis, Millis, Tokens } from "../../core/model/units.ts";
import type { QueueChange } from "../../core/schedule/scheduling-core.ts";
import type { DecisionEvent } from "../../engine/recent-decisions.ts";

export interface QueueStatus {
	/** Index of the level or bucket. */
	readonly index: number;
	/** `P1`, `B3`. */
	readonly label: string;
	readonly name: string;
	readonly currentDepth: number;
	readonly totalEnqueued: number;
	readonly totalDequeued: number;
	readonly totalTimeout: number;
	readonly totalDropped: number;
	readonly avgWaitMs: Millis;
	readonly inFlight: number;
	readonly paused: boolean;
	/** What holds now, defaults included. */
	readonly maxDepth: number;
	readonly timeoutMs: Millis;
	readonly weight: number;
	/** Estimated tokens of what waits. */
	readonly waitingTokens: Tokens;
	readonly inFlightTokens: Tokens;
	/** Ceilings; `Infinity` for none. */
	/** 0 for none. */
	readonly reservedTps: number;
	readonly limitTps: number;
	readonly limitRps: number;
}

export type QueueChangeRequest = QueueChange;

export interface SchedulerStatus {
	readonly pool: string;
	readonly allocator: "priority" | "bucket";
	readonly scheduler: string;
	readonly queues: readonly QueueStatus[];
	readonly capacity: {
		readonly currentTps: number;
		/** Absent when no rate is set. */
		readonly maxTps?: number;
		/** 0 to 100. */
		readonly utilizationPct: number;
		readonly activeRequests: number;
		readonly mode: string;
		readonly endpoints: number;
		readonly endpointsUp: number;
		/** Of the endpoints that are up; `Infinity` for no limit. */
		readonly maxConcurrent: number;
		readonly inFlightTokens: Tokens;
		readonly maxInflightTokens: Tokens;
	};
	readonly preemptionsTotal: number;
	readonly preemption: {
		readonly enabled: boolean;
		/** Queues whose work may be taken back. */
		readonly victims: readonly number[];
		/** Queues 0..this may cause it. */
		readonly preemptorMax: number;
		readonly wastedTokens: Tokens;
	};
	/** Of a half of a pool, under the weighted router; 0 to 100. */
	readonly router?: {
		readonly sharePct: number;
		/** Of the requests of both allocators since the start; absent before the first. */
		readonly trafficPct?: number;
	};
}

/** One request that waits or runs. */
export interface RequestStatus {
	readonly requestId: string;
	readonly state: "waiting" | "running";
	readonly pool: string;
	/** `P1`, `B3`. */
	readonly queue: string;
	readonly accountId: string;
	readonly tokenId?: string;
	readonly tier: string;
	readonly environment?: string;
	readonly model: string;
	readonly stream: boolean;
	readonly arrivedAt: EpochMillis;
	/** So far, or until it was dispatched. */
	readonly waitMs: Millis;
	readonly estimatedTokens: Tokens;
	readonly producedTokens?: Tokens;
}

/** A described request: what would happen to it now? */
export interface ExplainQuestion {
	readonly metadata: RoutingMetadata;
	readonly hints: RequestHints;
	readonly model: string;
	readonly promptTokens: Tokens;
	readonly maxTokens?: Tokens;
	readonly stream: boolean;
}

export interface Explanation {
	/** `dispatch`, `wait`, or the code of a refusal. */
	readonly outcome: string;
	/** Label; absent when it was refused before. */
	readonly queue?: string;
	readonly pool?: string;
	/** In the order in which they are taken. */
	readonly steps: readonly { readonly step: string; readonly result: string }[];
}

/** What became of one request; the fields are those of the decision and of its settlement. */
export type DecisionRecord = Readonly<Record<string, unknown>> & { readonly requestId: string };

export interface SchedulerAdmin {
	/** Never empty; the first one is meant when a call names none. */
	readonly pools: readonly string[];
	status(pool: string): SchedulerStatus | undefined;
	/** Answers a sentence when it cannot be done. */
	changeQueue(pool: string, queue: number, change: QueueChangeRequest): string | undefined;
	pause(pool: string, queue: number): void;
	resume(pool: string, queue: number): void;
	/** Evicts what waits; answers how many. */
	clear(pool: string, queue: number): number;
	/** Oldest first. */
	requests(): readonly RequestStatus[];
	/** Ends it with `cancelled_by_operator`. */
	cancel(requestId: string): boolean;
	explain(question: ExplainQuestion): Explanation;
	/** Bounded memory: recent ones only. */
	decision(requestId: string): DecisionRecord | undefined;
	/** Recent decisions and ends with a higher sequence, oldest first. */
	decisionsAfter(sequence: number): Iterable<DecisionEvent>;
	/** Sequence of the newest; 0 when there was none yet. */
	readonly latestDecision: number;
	/** Resolves when there is a newer one, or after a time. */
	nextDecision(timeoutMs: Millis): Promise<void>;
}
