/** Settings of cores under test: every allocator with every scheduler, and the properties that each of them promises. */
import { bucketQueues } from "../../src/core/allocate/bucket-allocator.ts";
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import {
	ALLOCATORS,
	type AllocatorKind,
	type QueueSettings,
	SCHEDULERS,
	type SchedulerKind,
} from "../../src/core/model/policy.ts";
import {
	type CapacitySettings,
	type CoreSettings,
	coreSettings,
	DEFAULT_CAPACITY,
} from "../../src/core/schedule/core-settings.ts";

export interface Pair {
	readonly allocator: AllocatorKind;
	readonly scheduler: SchedulerKind;
}

export const PAIRS: readonly Pair[] = ALLOCATORS.flatMap((allocator) =>
	SCHEDULERS.map((scheduler) => ({ allocator, scheduler })),
);

/** Space only: no headroom, no prefill window, no rates. */
export const PLAIN_CAPACITY: CapacitySettings = {
	...DEFAULT_CAPACITY,
	maxConcurrent: 4,
	maxPrefillTokens: Number.POSITIVE_INFINITY,
	headroom: 0,
};

/** Whether buckets of this pair have ceilings of their own, so that room may stay idle by design. */
export function hasBucketRates({ allocator, scheduler }: Pair): boolean {
	return allocator === "bucket" && scheduler !== "wfq" && scheduler !== "drr";
}

export function queuesOf(pair: Pair, count = 5, baseTps = 2000): readonly QueueSettings[] {
	if (pair.allocator === "priority") return priorityQueues({ levels: count, defaultPriority: count - 1 });
	return bucketQueues({
		buckets: { count, baseCapacityTps: baseTps, distribution: "exponential", decayRatio: 0.7, basis: "bucket0" },
		mappings: [],
		scheduler: pair.scheduler,
		levels: 5,
	});
}

export function settingsOf(pair: Pair, change: Partial<CoreSettings> = {}): CoreSettings {
	return coreSettings({
		allocator: pair.allocator,
		scheduler: pair.scheduler,
		queues: queuesOf(pair),
		pools: [{ name: "main", endpoints: 1, capacity: PLAIN_CAPACITY }],
		...change,
	});
}
