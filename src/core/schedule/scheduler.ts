/**
 * The seam of layer 3: which queue of a pool is served next. A scheduler answers two questions and owns nothing but its own
 * counters; fairness inside a queue is the flow tree's, room is the pool's.
 */
import type { SchedulerKind } from "../model/policy.ts";
import type { Cost } from "../model/units.ts";
import { AtLeastBuckets, AtLeastLevels } from "./at-least.ts";
import type { CoreSettings } from "./core-settings.ts";
import { DeficitRoundRobin } from "./deficit-round-robin.ts";
import { HybridLevels } from "./hybrid.ts";
import type { QueueSet } from "./queue-set.ts";
import { StrictPriority } from "./strict-priority.ts";
import { WeightedFair } from "./weighted-fair.ts";

/** What a scheduler sees of the queues of its pool. */
export interface QueueView {
	/** Number of queues. */
	readonly count: number;
	/** Queues with waiting requests that are neither paused nor best effort. */
	readonly active: QueueSet;
	readonly weights: Float64Array;
	/** True when nothing runs and no queue is active. */
	readonly isIdle: boolean;
	/** False when `ready` is true for every active queue at all times. */
	readonly anyGated: boolean;
	/** False while a queue must be passed over: its own rate or limit, or the prefill window. */
	ready(queue: number): boolean;
	/** Like `ready`, but without the queue's own rate (it may run on another's). */
	open(queue: number): boolean;
	/** Whether the queue's own rate has room. */
	hasRate(queue: number): boolean;
	/** Requests waiting. */
	waiting(queue: number): number;
	/** Cost of the request that would be served. */
	headCost(queue: number): Cost;
	/** Whether the request that would be served may use better idle buckets. */
	headMayUpgrade(queue: number): boolean;
	/** In-flight space of a queue as a fraction of the pool's, over the dimension it fills most. */
	shareInFlight(queue: number): number;
	/** Floor of a queue as a fraction of the pool. */
	floor(queue: number): number;
	/** Upgraded requests that run on this queue's capacity. */
	upgradedIn(lender: number): number;
	/** Has upgraded requests go on at their own bucket's cost, longest-running first, until this queue's rate has room; whether it has. */
	reclaim(lender: number): boolean;
}

export interface Scheduler {
	/** The queue to serve next, or -1. May be asked again before anything is served: the answer is no commitment. */
	pick(): number;
	/**
	 * `amount` cost was charged to a queue: at a dispatch, or later as true-up (negative is a refund). Called after the queue
	 * changed.
	 */
	charge(queue: number, amount: Cost, atDispatch: boolean): void;
	/** Queue whose capacity pays for the last pick; absent when it is always the queue itself. */
	readonly payer?: number;
	/** True when worse queues may be picked before better ones that wait, so that headroom must let those start ahead. */
	readonly ignoresOrder: boolean;
}

export function createScheduler(kind: SchedulerKind, view: QueueView, settings: CoreSettings): Scheduler {
	switch (kind) {
		case "strict":
			return new StrictPriority(view);
		case "wfq":
			return new WeightedFair(view);
		case "drr":
			return new DeficitRoundRobin(view, settings.quantum);
		case "hybrid":
			return settings.allocator === "bucket"
				? new AtLeastBuckets(view, settings.upgrades)
				: new HybridLevels(view, settings.strictLevels);
		case "atleast":
			return settings.allocator === "bucket" ? new AtLeastBuckets(view, settings.upgrades) : new AtLeastLevels(view);
	}
}
