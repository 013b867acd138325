/** Everything the core is configured with; compiled from configuration once per change. */
import type { AllocatorKind, QueueSettings, SchedulerKind } from "../model/policy.ts";
import { type CostWeights, DEFAULT_COST_WEIGHTS, type Millis, type Tokens } from "../model/units.ts";
import type { HalfSettings } from "./halves.ts";

/** Space and rates of one pool. Space (`max*`) is per endpoint: a request must fit on one; rates are of the pool. */
export interface CapacitySettings {
	readonly maxConcurrent: number;
	readonly maxInflightTokens: Tokens;
	/** Prefill window in tokens per endpoint; `auto` learns it, `Infinity` switches it off. */
	readonly maxPrefillTokens: Tokens | "auto";
	readonly prefillWindowMs: Millis;
	readonly maxTokensPerSec: number;
	readonly maxRps: number;
	readonly burstSeconds: number;
	/** Fraction of space closed to queues outside `headroomFor`. */
	readonly headroom: number;
	readonly headroomFor: readonly number[];
}

/** Room and rates times a factor; at least one sequence and token, and what has no bound stays so. */
export function scaledCapacity(capacity: CapacitySettings, factor: number): CapacitySettings {
	if (factor === 1) return capacity;
	const whole = (value: number) => (Number.isFinite(value) ? Math.max(1, Math.round(value * factor)) : value);
	return {
		...capacity,
		maxConcurrent: whole(capacity.maxConcurrent),
		maxInflightTokens: whole(capacity.maxInflightTokens),
		maxTokensPerSec: capacity.maxTokensPerSec * factor,
		maxRps: capacity.maxRps * factor,
	};
}

export const DEFAULT_CAPACITY: CapacitySettings = {
	maxConcurrent: 64,
	maxInflightTokens: Number.POSITIVE_INFINITY,
	maxPrefillTokens: "auto",
	prefillWindowMs: 100,
	maxTokensPerSec: Number.POSITIVE_INFINITY,
	maxRps: Number.POSITIVE_INFINITY,
	burstSeconds: 2,
	headroom: 0.03,
	headroomFor: [0, 1],
};

export interface PreemptionSettings {
	/** Queues whose requests may be taken back. */
	readonly victims: readonly number[];
	/** Queues 0..this may cause it. */
	readonly preemptorMax: number;
	readonly maxPerRequest: number;
	/** Also streams that already flow to their client. */
	readonly flowing: boolean;
	/** A response whose progress nobody sees is no victim after this long. */
	readonly maxAgeMs: Millis;
}

/** Part of a rate that all queues but some leave alone (capacity guard), over all pools. */
export interface BufferSettings {
	/** What the other queues may use together. */
	readonly tokensPerSec: number;
	readonly burstSeconds: number;
	readonly keptFor: readonly number[];
}

export interface PoolSettings {
	readonly name: string;
	readonly endpoints: number;
	readonly capacity: CapacitySettings;
}

/** Limits on upgrades under `atleast` with buckets. */
export interface UpgradeSettings {
	readonly maxDistance: number;
	/** Upgraded requests in flight per lending bucket. */
	readonly quotas: readonly number[];
	readonly maxTimeMs: Millis;
	readonly softPreemption: boolean;
}

export interface CoreSettings {
	readonly allocator: AllocatorKind;
	readonly scheduler: SchedulerKind;
	readonly queues: readonly QueueSettings[];
	readonly pools: readonly PoolSettings[];
	/** Two, in place of `allocator` and `queues`: each has its own queues and its share of every pool. */
	readonly halves?: readonly HalfSettings[];
	readonly cost: CostWeights;
	/** Cost per weight and round under `drr`. */
	readonly quantum: number;
	/** Queues served first, in order, under `hybrid` with the priority allocator. */
	readonly strictLevels: readonly number[];
	readonly upgrades: UpgradeSettings;
	readonly preemption?: PreemptionSettings;
	readonly buffer?: BufferSettings;
	readonly maxWaiting: number;
	readonly maxWaitingBytes: number;
	/** `maxQueueDepth` per rule index. */
	readonly ruleDepths: readonly number[];
}

/** Upgrade quota of a lending bucket: 2, 5, 10, then 20. */
export const DEFAULT_UPGRADE_QUOTAS: readonly number[] = [2, 5, 10, 20];

/** Settings with the defaults of the configuration reference; queues and pools must be named. */
export function coreSettings(required: Pick<CoreSettings, "queues"> & Partial<CoreSettings>): CoreSettings {
	return {
		allocator: "priority",
		scheduler: "hybrid",
		pools: [{ name: "default", endpoints: 1, capacity: DEFAULT_CAPACITY }],
		cost: DEFAULT_COST_WEIGHTS,
		quantum: 4096,
		strictLevels: [0],
		upgrades: { maxDistance: 10, quotas: DEFAULT_UPGRADE_QUOTAS, maxTimeMs: 60_000, softPreemption: true },
		maxWaiting: 20_000,
		maxWaitingBytes: 1024 ** 3,
		ruleDepths: [],
		...required,
	};
}
