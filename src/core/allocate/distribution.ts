/**
 * How a pool's capacity is cut into buckets, and what each bucket is then worth (design 01 §3). Bucket 0 is the best and the
 * largest; numbers never rise with the index (a custom list is taken as it is).
 *
 * Units: capacities, ceilings and guarantees are requests/s or tokens/s, whichever base was given; the two never mix.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { SchedulerKind } from "../model/policy.ts";
import type { QueueOverrides } from "./queue-defaults.ts";

export const DISTRIBUTION_MODELS = ["exponential", "linear", "hybrid", "custom"] as const;
export type DistributionModel = (typeof DISTRIBUTION_MODELS)[number];

/** `bucket0`: the base is bucket 0's number; `total`: the series is scaled to sum to the base. */
export const CAPACITY_BASES = ["bucket0", "total"] as const;
export type CapacityBasis = (typeof CAPACITY_BASES)[number];

export type BucketUnit = "rps" | "tps";

export const MIN_BUCKETS = 2;
export const MAX_BUCKETS = 100;

/** `[allocator.bucket]` as configured, defaults filled in. `checkBucketSettings` says whether it can be used. */
export interface BucketSettings {
	/** 2 to 100. */
	readonly count: number;
	/** Exactly one of the two bases. */
	readonly baseCapacityRps?: number;
	readonly baseCapacityTps?: number;
	readonly distribution: DistributionModel;
	/** Exponential and hybrid: each bucket's number is this fraction of the one before. */
	readonly decayRatio: number;
	/** Linear: the last bucket's number; one hundredth of the base when absent. */
	readonly minCapacity?: number;
	/** Custom: one number per bucket. */
	readonly capacities?: readonly number[];
	readonly basis: CapacityBasis;
	/** By bucket. */
	readonly overrides?: ReadonlyMap<number, QueueOverrides>;
}

/** Shares of the hybrid distribution's tiers, in percent of the buckets: exponential, linear, linear, best effort. */
const HYBRID_SHARES = [20, 30, 30, 20] as const;
/** Where the linear tiers of hybrid end, as a fraction of the base. */
const HYBRID_FIRST_FLOOR = 0.01;
const HYBRID_SECOND_FLOOR = 0.001;
const LINEAR_FLOOR = 0.01;
/** Smallest weight as a fraction of the largest: virtual times must stay exact in doubles. */
const WEIGHT_FLOOR = 1 / 1000;

export function bucketUnit(settings: BucketSettings): BucketUnit {
	return settings.baseCapacityTps === undefined ? "rps" : "tps";
}

/** The base in the buckets' unit. */
export function baseCapacity(settings: BucketSettings): number {
	const base = settings.baseCapacityTps ?? settings.baseCapacityRps;
	if (base === undefined) throw new InvariantError("bucket settings without a base capacity");
	return base;
}

/** Each bucket's number, best first. 0 is best effort. */
export function bucketCapacities(settings: BucketSettings): number[] {
	const base = baseCapacity(settings);
	const numbers = series(settings, base);
	if (settings.basis === "bucket0") return numbers;
	const sum = numbers.reduce((total, number) => total + number, 0);
	return sum === 0 ? numbers : numbers.map((number) => (number * base) / sum);
}

function series(settings: BucketSettings, base: number): number[] {
	const { count, decayRatio } = settings;
	switch (settings.distribution) {
		case "exponential":
			return exponential(base, decayRatio, count);
		case "linear": {
			const last = settings.minCapacity ?? base * LINEAR_FLOOR;
			return Array.from({ length: count }, (_, index) => base + ((last - base) * index) / (count - 1));
		}
		case "hybrid":
			return hybrid(base, decayRatio, count);
		case "custom":
			return [...(settings.capacities ?? [])];
	}
}

function exponential(base: number, ratio: number, count: number): number[] {
	return Array.from({ length: count }, (_, index) => base * ratio ** index);
}

function hybrid(base: number, ratio: number, count: number): number[] {
	const [first, second, third, bestEffort] = hybridTiers(count);
	const numbers = exponential(base, ratio, first);
	// A steep series may already be below a tier's end: then the tier is flat.
	appendDescent(numbers, second, base * HYBRID_FIRST_FLOOR);
	appendDescent(numbers, third, base * HYBRID_SECOND_FLOOR);
	for (let index = 0; index < bestEffort; index++) numbers.push(0);
	return numbers;
}

/** Appends `count` equal steps from the last number down to `end`. */
function appendDescent(numbers: number[], count: number, end: number): void {
	const start = numbers.at(-1)!;
	const last = Math.min(start, end);
	for (let step = 1; step <= count; step++) numbers.push(start + ((last - start) * step) / count);
}

/** Buckets per hybrid tier by largest remainder; each at least 1 from four buckets on, the first always. */
export function hybridTiers(count: number): readonly [number, number, number, number] {
	const sizes = HYBRID_SHARES.map((share) => Math.floor((count * share) / 100));
	const remainders = HYBRID_SHARES.map((share) => (count * share) % 100);
	let left = count - sizes.reduce((total, size) => total + size, 0);
	for (; left > 0; left--) {
		const tier = remainders.indexOf(Math.max(...remainders));
		sizes[tier] = sizes[tier]! + 1;
		remainders[tier] = -1;
	}
	const needed = count >= HYBRID_SHARES.length ? HYBRID_SHARES.length : 1;
	for (let tier = 0; tier < needed; tier++) {
		if (sizes[tier]! > 0) continue;
		const largest = sizes.lastIndexOf(Math.max(...sizes));
		sizes[largest] = sizes[largest]! - 1;
		sizes[tier] = 1;
	}
	return sizes as unknown as readonly [number, number, number, number];
}

/** What one bucket is worth; all rates in the unit of the base. */
export interface BucketFigures {
	readonly capacity: number;
	/** Most that the bucket may take; infinite where only the pool limits it. */
	readonly ceiling: number;
	/** What the bucket gets whatever the others do. */
	readonly guarantee: number;
	/** Under wfq and drr. Greater than 0. */
	readonly weight: number;
	readonly bestEffort: boolean;
}

/** Under wfq and drr a bucket's number is a weight, under the others a ceiling. */
export function numbersAreWeights(scheduler: SchedulerKind): boolean {
	return scheduler === "wfq" || scheduler === "drr";
}

/**
 * Every bucket's ceiling, guarantee and weight. `poolCapacity` is the pool's rate in the buckets' unit; a pool without a rate has the
 * base as its ceiling.
 */
export function bucketFigures(
	settings: BucketSettings,
	scheduler: SchedulerKind,
	poolCapacity: number = baseCapacity(settings),
): BucketFigures[] {
	const capacities = bucketCapacities(settings);
	const weights = bucketWeights(capacities);
	const totalWeight = weights.reduce((total, weight, index) => (capacities[index] === 0 ? total : total + weight), 0);
	let better = 0;
	return capacities.map((capacity, index) => {
		const bestEffort = capacity === 0;
		const weight = weights[index]!;
		if (bestEffort) return { capacity, ceiling: Number.POSITIVE_INFINITY, guarantee: 0, weight, bestEffort };
		if (numbersAreWeights(scheduler)) {
			const guarantee = (poolCapacity * weight) / totalWeight;
			return { capacity, ceiling: Number.POSITIVE_INFINITY, guarantee, weight, bestEffort };
		}
		const guarantee = Math.max(0, Math.min(capacity, poolCapacity - better));
		better += capacity;
		return { capacity, ceiling: capacity, guarantee, weight, bestEffort };
	});
}

/** `max(capacity, largest / 1000)`. */
export function bucketWeights(capacities: readonly number[]): number[] {
	const floor = Math.max(...capacities) * WEIGHT_FLOOR;
	return capacities.map((capacity) => Math.max(capacity, floor));
}

/** Largest balance of a bucket's rate: `max(one request, rate × burst_seconds)`; `oneRequest` is 1 in requests, an estimate in tokens. */
export function bucketBurst(rate: number, burstSeconds: number, oneRequest: number): number {
	return Math.max(oneRequest, rate * burstSeconds);
}
