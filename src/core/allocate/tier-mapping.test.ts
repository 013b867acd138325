import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RoutingMetadata } from "../model/routing.ts";
import { compileMapping, percentRange, TierMappings } from "./tier-mapping.ts";

function from(fields: Partial<RoutingMetadata>): RoutingMetadata {
	return { tier: "internal", accountId: "acme", routedBy: "token", ...fields };
}

describe("percentRange", () => {
	it.each([
		[0, 0.2, 10, 0, 1],
		[0, 0.2, 100, 0, 19],
		[0.2, 0.3, 10, 2, 2],
		[0.8, 1, 10, 8, 9],
		[0.3, 0.4, 5, 1, 1],
		[0.29, 0.58, 100, 29, 57],
		[0, 0.01, 2, 0, 0],
		[0.9999, 1, 2, 1, 1],
	])("[%d, %d) of %i buckets → %i–%i", (start, end, count, first, last) => {
		expect(percentRange(start, end, count)).toEqual([first, last]);
	});

	it("stays inside, never falls, covers everything, and partitions where each part is a bucket wide", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 2, max: 100 }),
				fc.uniqueArray(fc.integer({ min: 1, max: 9999 }), { maxLength: 12 }),
				(count, cuts) => {
					const edges = [0, ...cuts.sort((a, b) => a - b), 10_000];
					const ranges = edges.slice(1).map((end, index) => percentRange(edges[index]! / 10_000, end / 10_000, count));
					const wide = edges.slice(1).every((end, index) => (end - edges[index]!) * count >= 10_000);
					expect(ranges[0]![0]).toBe(0);
					expect(ranges.at(-1)![1]).toBe(count - 1);
					for (const [index, [first, last]] of ranges.entries()) {
						expect(first).toBeLessThanOrEqual(last);
						expect(last).toBeLessThan(count);
						const next = ranges[index + 1];
						if (next === undefined) continue;
						expect(next[0]).toBeLessThanOrEqual(last + 1);
						expect(next[0]).toBeGreaterThanOrEqual(first);
						if (wide) expect(next[0]).toBe(last + 1);
					}
				},
			),
			{ numRuns: 500 },
		);
	});
});

describe("TierMappings", () => {
	const mappings = new TierMappings([], 10);
	it.each([
		[{ environment: "production" }, "internal_production", 0, 1, 0],
		[{ environment: "staging" }, "internal_staging", 2, 2, 2],
		[{ environment: "dev" }, "internal_dev", 3, 3, 3],
		[{ environment: "uat" }, "internal_dev", 3, 3, 3],
		[{}, "internal_dev", 3, 3, 3],
		[{ tier: "premium" }, "external_premium", 4, 5, 4],
		[{ tier: "external", accountTier: "premium" }, "external_premium", 4, 5, 4],
		[{ tier: "external", environment: "production" }, "external_standard", 6, 7, 7],
		[{ tier: "spot" }, "spot", 8, 9, 9],
	])("%o → %s %i–%i from %i", (fields, group, first, last, defaultBucket) => {
		expect(mappings.find(from(fields))).toMatchObject({ group, first, last, defaultBucket });
	});

	it("knows no group for other tiers, whatever they are called", () => {
		for (const tier of ["default", "gold", "__proto__", "constructor", "production"])
			expect(mappings.find(from({ tier, environment: "production" }))).toBeUndefined();
	});

	it("prefers environment over account tier over tier", () => {
		const own = new TierMappings(
			[
				{ group: "gold", bucketRange: [0, 0] },
				{ group: "gold_eu_west", bucketRange: [1, 1] },
				{ group: "gold_vip", bucketRange: [2, 2] },
			],
			10,
		);
		expect(own.find(from({ tier: "gold", environment: "eu_west", accountTier: "vip" }))?.group).toBe("gold_eu_west");
		expect(own.find(from({ tier: "gold", environment: "dev", accountTier: "vip" }))?.group).toBe("gold_vip");
		expect(own.find(from({ tier: "gold" }))?.group).toBe("gold");
	});

	it("merges configured groups over the defaults, aliases included", () => {
		const own = new TierMappings(
			[
				{ group: "premium", bucketRange: [2, 4] },
				{ group: "spot", mode: "strict" },
				{ group: "internal_production", defaultBucket: 9 },
				{ group: "internal", bucketRange: [5, 5] },
			],
			10,
		);
		expect(own.group("premium")).toEqual({
			group: "external_premium",
			first: 2,
			last: 4,
			defaultBucket: 2,
			mode: "strict",
		});
		expect(own.group("spot")).toMatchObject({ first: 8, last: 9, defaultBucket: 9, mode: "strict" });
		expect(own.group("internal_production")).toMatchObject({ first: 0, last: 1, defaultBucket: 1 });
		expect(own.find(from({ environment: "uat" }))?.group).toBe("internal");
		expect(own.find(from({ environment: "dev" }))?.group).toBe("internal_dev");
	});

	it("keeps every default bucket within its range at any count", () => {
		for (let count = 2; count <= 100; count++)
			for (const mapping of new TierMappings([], count).mappings) {
				expect(mapping.defaultBucket).toBeGreaterThanOrEqual(mapping.first);
				expect(mapping.defaultBucket).toBeLessThanOrEqual(mapping.last);
			}
	});

	it("calls a range outside the count a bug: it is refused before", () => {
		expect(() => compileMapping({ group: "x", bucketRange: [3, 10] }, 10)).toThrow("x has no range within 10 buckets");
	});
});
