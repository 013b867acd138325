/**
 * Policy as data: routing rules and queues, as configuration and database give them. Compiled once per change, never per request.
 */
import type { Millis } from "./units.ts";

/** A value or a list of values; absent matches anything. */
export type Match = string | readonly string[];

/** One routing rule; the lowest `priorityOrder` that matches wins (design 06 §1). */
export interface RoutingRule {
	readonly id: string;
	readonly name: string;
	readonly description?: string;
	readonly priorityOrder: number;
	readonly enabled: boolean;
	readonly matchTier?: Match;
	readonly matchEnvironment?: Match;
	readonly matchAccountType?: Match;
	readonly matchAccountTier?: Match;
	readonly matchWorkload?: Match;
	readonly matchModel?: Match;
	readonly matchTag?: Match;
	readonly assignPriority?: number;
	readonly assignPriorityInRange?: number;
	readonly assignWeight?: number;
	/** `bucket:N` or `group:NAME`; ignored under the priority allocator. */
	readonly assignQueue?: string;
	readonly maxTps?: number;
	readonly maxRps?: number;
	readonly maxQueueDepth?: number;
	readonly queueTimeoutMs?: Millis;
	readonly quotaMultiplier?: number;
}

/** One queue of a pool: a priority level or a capacity bucket. Index 0 is the best. */
export interface QueueSettings {
	/** `P1` or `B3`: what `X-TGW-Queue` says. */
	readonly label: string;
	/** `critical`, `high`, … or the bucket's name. */
	readonly name: string;
	readonly maxDepth: number;
	readonly timeoutMs: Millis;
	/** Weight under wfq, drr, atleast and the weighted part of hybrid. Greater than 0. */
	readonly weight: number;
	/** Ceiling in tokens per second (a post-paid bucket); absent is none. */
	readonly limitTps?: number;
	/** Ceiling in requests per second; absent is none. */
	readonly limitRps?: number;
	/** Assured tokens per second. */
	readonly reservedTps?: number;
	readonly lendable?: boolean;
	/** Runs only when nothing else that may use the room waits (a bucket of capacity 0). */
	readonly bestEffort?: boolean;
	/** Under `atleast` and `hybrid` with buckets: keep to the own bucket, or use idle better ones. */
	readonly mode?: QueueMode;
}

export const QUEUE_MODES = ["strict", "atleast"] as const;
export type QueueMode = (typeof QUEUE_MODES)[number];

export const ALLOCATORS = ["priority", "bucket"] as const;
export type AllocatorKind = (typeof ALLOCATORS)[number];

/** What `[request_scheduler] allocator` may be: one of the two, or both in proportion. */
export const ALLOCATOR_CHOICES = [...ALLOCATORS, "weighted_router"] as const;

export const SCHEDULERS = ["strict", "wfq", "drr", "hybrid", "atleast"] as const;
export type SchedulerKind = (typeof SCHEDULERS)[number];

/** What layer 2 (allocate) hands to layer 3 (schedule): where the request waits, and on what terms. */
export interface AllocationDecision {
	/** Index of the queue, the same in every pool. */
	readonly queue: number;
	readonly mode: QueueMode;
	/** How the queue was found, for records: `token_override`, `header_hint`, `rule`, `mapping:NAME`, `default`, … */
	readonly via: string;
	/** No mapping covered the request (metric `tgw_bucket_unmapped_total`). */
	readonly unmapped?: boolean;
}
