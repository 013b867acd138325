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
import type { HistoryOptions } from "./core-history.ts";

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

/** A set-up for random histories and what may be judged in it. */
export interface Exam {
	readonly name: string;
	settings(pair: Pair): CoreSettings;
	judge(pair: Pair): HistoryOptions;
}

const WRONG_COSTS = [1, 0, 0.2, 3, 10];

export const EXAMS: readonly Exam[] = [
	{
		name: "space only, known costs, preemption",
		settings: (pair) =>
			settingsOf(pair, {
				preemption: { victims: [3, 4], preemptorMax: 1, maxPerRequest: 1, flowing: false, maxAgeMs: 5000 },
			}),
		judge: (pair) => ({
			workConserving: !hasBucketRates(pair),
			strictOrder: pair.allocator === "priority" && pair.scheduler === "strict",
			outputFactors: [1],
		}),
	},
	{
		name: "token budget, two endpoints, wrong estimates, crowded queues",
		settings: (pair) =>
			settingsOf(pair, {
				queues: queuesOf(pair).map((queue) => ({ ...queue, maxDepth: 6 })),
				maxWaiting: 20,
				maxWaitingBytes: 60_000,
				ruleDepths: [2],
				pools: [{ name: "main", endpoints: 2, capacity: { ...PLAIN_CAPACITY, maxInflightTokens: 700 } }],
			}),
		judge: (pair) => ({
			workConserving: !hasBucketRates(pair),
			strictOrder: false,
			outputFactors: WRONG_COSTS,
		}),
	},
	{
		name: "headroom, prefill window, rates, two pools with failover, preemption",
		settings: (pair) => {
			const capacity: CapacitySettings = {
				...PLAIN_CAPACITY,
				maxConcurrent: 9,
				maxInflightTokens: 1500,
				maxPrefillTokens: "auto",
				headroom: 0.2,
				maxTokensPerSec: 3000,
				maxRps: 100,
			};
			return settingsOf(pair, {
				queues: queuesOf(pair).map((queue, index) => (index === 2 ? { ...queue, limitTps: 500 } : queue)),
				maxWaiting: 40,
				pools: [
					{ name: "first", endpoints: 2, capacity },
					{ name: "second", endpoints: 1, capacity: { ...capacity, maxRps: Number.POSITIVE_INFINITY } },
				],
				preemption: { victims: [2, 3, 4], preemptorMax: 1, maxPerRequest: 2, flowing: true, maxAgeMs: 5000 },
			});
		},
		judge: () => ({ workConserving: false, strictOrder: false, outputFactors: WRONG_COSTS }),
	},
];
