import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	type BucketSettings,
	bucketBurst,
	bucketCapacities,
	bucketFigures,
	hybridTiers,
	MAX_BUCKETS,
	MIN_BUCKETS,
} from "./distribution.ts";

const seed: BucketSettings = {
	count: 10,
	baseCapacityRps: 100,
	distribution: "exponential",
	decayRatio: 0.7,
	basis: "bucket0",
};

function sum(numbers: readonly number[]): number {
	return numbers.reduce((total, number) => total + number, 0);
}

const anySettings: fc.Arbitrary<BucketSettings> = fc.record({
	count: fc.integer({ min: MIN_BUCKETS, max: MAX_BUCKETS }),
	baseCapacityTps: fc.double({ min: 1, max: 1e6, noNaN: true }),
	distribution: fc.constantFrom("exponential" as const, "linear" as const, "hybrid" as const),
	decayRatio: fc.double({ min: 0.01, max: 0.99, noNaN: true }),
	basis: fc.constantFrom("bucket0" as const, "total" as const),
});

describe("bucketCapacities", () => {
	it("sums ten buckets of 100 and 0.7 to 323.9", () => {
		const capacities = bucketCapacities(seed);
		expect(capacities.slice(0, 3)).toEqual([100, 70, expect.closeTo(49, 10)]);
		expect(sum(capacities)).toBeCloseTo(323.9, 1);
		// What the overview sells as "bucket 5".
		expect(capacities[5]).toBeCloseTo(16.8, 1);
	});

	it("scales the series to the base with capacity_basis = total", () => {
		const capacities = bucketCapacities({ ...seed, basis: "total" });
		expect(sum(capacities)).toBeCloseTo(100, 10);
		expect(capacities[0]).toBeCloseTo(100 / 3.239, 1);
	});

	it("goes in equal steps from base to min_capacity when linear", () => {
		const settings: BucketSettings = { ...seed, distribution: "linear", count: 5, minCapacity: 20 };
		expect(bucketCapacities(settings)).toEqual([100, 80, 60, 40, 20]);
		expect(bucketCapacities({ ...seed, distribution: "linear", count: 2 })).toEqual([100, 1]);
	});

	it("takes a custom list as it is", () => {
		const settings: BucketSettings = { ...seed, distribution: "custom", count: 3, capacities: [50, 30, 0] };
		expect(bucketCapacities(settings)).toEqual([50, 30, 0]);
		expect(bucketCapacities({ ...settings, basis: "total" })).toEqual([62.5, 37.5, 0]);
	});

	it.each([
		[2, [1, 1, 0, 0]],
		[3, [1, 1, 1, 0]],
		[4, [1, 1, 1, 1]],
		[5, [1, 2, 1, 1]],
		[10, [2, 3, 3, 2]],
		[30, [6, 9, 9, 6]],
		[100, [20, 30, 30, 20]],
	] as const)("splits %i hybrid buckets into %o", (count, tiers) => {
		expect(hybridTiers(count)).toEqual(tiers);
	});

	it("ends the hybrid tiers at 1 %, 0.1 % and best effort", () => {
		const capacities = bucketCapacities({
			...seed,
			count: 100,
			baseCapacityRps: 1000,
			decayRatio: 0.8,
			distribution: "hybrid",
		});
		expect(capacities[0]).toBe(1000);
		expect(capacities[19]).toBeCloseTo(1000 * 0.8 ** 19, 9);
		expect(capacities[49]).toBeCloseTo(10, 9);
		expect(capacities[79]).toBeCloseTo(1, 9);
		expect(capacities.slice(80)).toEqual(Array(20).fill(0));
		const steps = capacities.slice(19, 49).map((capacity, index) => capacity - capacities[20 + index]!);
		for (const step of steps) expect(step).toBeCloseTo(steps[0]!, 9);
	});

	it("never rises, is never negative and begins at the base", () => {
		fc.assert(
			fc.property(anySettings, (settings) => {
				const capacities = bucketCapacities(settings);
				const base = settings.baseCapacityTps!;
				expect(capacities).toHaveLength(settings.count);
				if (settings.basis === "bucket0") expect(capacities[0]).toBe(base);
				else expect(sum(capacities) / base).toBeCloseTo(1, 9);
				for (const [index, capacity] of capacities.entries()) {
					expect(capacity).toBeGreaterThanOrEqual(0);
					if (index > 0) expect(capacity).toBeLessThanOrEqual(capacities[index - 1]!);
				}
			}),
		);
	});
});

describe("bucketFigures", () => {
	it("guarantees only bucket 0 on a pool of 100", () => {
		const figures = bucketFigures(seed, "strict", 100);
		expect(figures.map(({ guarantee }) => guarantee)).toEqual([100, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
		expect(figures[1]).toMatchObject({ ceiling: 70, bestEffort: false });
		expect(bucketFigures(seed, "atleast", 200).map(({ guarantee }) => Math.round(guarantee))).toEqual([
			100, 70, 30, 0, 0, 0, 0, 0, 0, 0,
		]);
	});

	it("reads numbers as weights under wfq", () => {
		const figures = bucketFigures(seed, "wfq", 100);
		expect(figures[0]!.guarantee).toBeCloseTo(100 / 3.239, 1);
		expect(figures[0]!.ceiling).toBe(Number.POSITIVE_INFINITY);
		expect(sum(figures.map(({ guarantee }) => guarantee))).toBeCloseTo(100, 9);
	});

	it("keeps weights within a factor of a thousand", () => {
		const figures = bucketFigures({ ...seed, count: 100 }, "wfq");
		expect(figures.at(-1)!.weight).toBeCloseTo(0.1, 12);
		expect(figures.at(-1)!.capacity).toBeLessThan(1e-13);
	});

	it("never guarantees more than the pool has, nor more than a ceiling", () => {
		fc.assert(
			fc.property(
				anySettings,
				fc.constantFrom("strict" as const, "wfq" as const, "drr" as const, "hybrid" as const, "atleast" as const),
				fc.double({ min: 0.1, max: 1e6, noNaN: true }),
				(settings, scheduler, pool) => {
					const figures = bucketFigures(settings, scheduler, pool);
					expect(sum(figures.map(({ guarantee }) => guarantee))).toBeLessThanOrEqual(pool * (1 + 1e-9));
					for (const { guarantee, ceiling, weight, bestEffort, capacity } of figures) {
						expect(guarantee).toBeGreaterThanOrEqual(0);
						expect(guarantee).toBeLessThanOrEqual(ceiling);
						expect(weight).toBeGreaterThan(0);
						expect(bestEffort).toBe(capacity === 0);
						if (bestEffort) expect(guarantee).toBe(0);
					}
				},
			),
		);
	});

	it("lets a burst hold at least one request", () => {
		expect(bucketBurst(100, 2, 1)).toBe(200);
		expect(bucketBurst(0.1, 2, 1)).toBe(1);
	});
});
