import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RoutingRule, SchedulerKind } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { type BucketAllocatorSettings, bucketInRange, createBucketAllocator } from "./bucket-allocator.ts";

const rule: RoutingRule = { id: "r", name: "r", priorityOrder: 1, enabled: true };

function settings(fields: Partial<BucketAllocatorSettings> = {}, count = 10): BucketAllocatorSettings {
	return {
		buckets: { count, baseCapacityRps: 100, distribution: "exponential", decayRatio: 0.7, basis: "bucket0" },
		mappings: [],
		scheduler: "atleast",
		levels: 5,
		...fields,
	};
}

function from(fields: Partial<RoutingMetadata>): RoutingMetadata {
	return { tier: "internal", environment: "production", accountId: "acme", routedBy: "token", ...fields };
}

describe("the bucket allocator", () => {
	const allocator = createBucketAllocator(settings());
	it.each([
		[{}, {}, undefined, { queue: 0, mode: "strict", via: "mapping:internal_production" }],
		[{}, { assignPriority: 4 }, undefined, { queue: 0, mode: "strict", via: "mapping:internal_production" }],
		[{}, { assignPriorityInRange: 4 }, undefined, { queue: 1, mode: "strict", via: "rule" }],
		[{ priorityHint: 4 }, {}, undefined, { queue: 1, mode: "strict", via: "header_hint" }],
		[{ priorityHint: 4 }, {}, 0, { queue: 0, mode: "strict", via: "header_hint" }],
		[{ token: { priorityOverride: 4 } }, {}, 0, { queue: 1, mode: "strict", via: "token_override" }],
		[{}, { assignQueue: "bucket:7" }, undefined, { queue: 7, mode: "atleast", via: "rule" }],
		[{}, { assignQueue: "bucket:7" }, 0, { queue: 7, mode: "atleast", via: "header_hint" }],
		[{}, { assignQueue: "group:spot" }, undefined, { queue: 9, mode: "atleast", via: "rule" }],
		[{}, { assignQueue: "group:spot" }, 0, { queue: 8, mode: "atleast", via: "header_hint" }],
		[{}, { assignQueue: "group:premium" }, undefined, { queue: 4, mode: "strict", via: "rule" }],
		[{}, { assignQueue: "group:nobody" }, undefined, { queue: 0, mode: "strict", via: "mapping:internal_production" }],
		[{}, { assignQueue: "bucket:10" }, undefined, { queue: 0, mode: "strict", via: "mapping:internal_production" }],
		[{ tier: "default" }, {}, undefined, { queue: 9, mode: "atleast", via: "default" }],
		[{ tier: "gold" }, {}, undefined, { queue: 9, mode: "atleast", via: "unmapped", unmapped: true }],
		[
			{ tier: "gold", priorityHint: 0 },
			{},
			undefined,
			{ queue: 9, mode: "atleast", via: "header_hint", unmapped: true },
		],
	] as const)("%o, rule %o, hint %s → %o", (fields, ruleFields, hint, decision) => {
		expect(allocator.allocate(from(fields), { ...rule, ...ruleFields }, hint)).toEqual(decision);
	});

	it("hands out the same decision again", () => {
		const matched = { ...rule, assignQueue: "group:spot" };
		expect(allocator.allocate(from({}), matched)).toBe(allocator.allocate(from({}), matched));
	});

	it("stays in the group's range, and a worse priority never gets a better bucket", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 2, max: 100 }),
				fc.integer({ min: 2, max: 20 }),
				fc.integer({ min: 0, max: 99 }),
				fc.integer({ min: 0, max: 99 }),
				fc.integer({ min: -5, max: 30 }),
				(count, levels, one, other, priority) => {
					const first = Math.min(one, other) % count;
					const last = Math.max(first, Math.max(one, other) % count);
					const custom = settings({ mappings: [{ group: "gold", bucketRange: [first, last] }], levels }, count);
					const gold = createBucketAllocator(custom);
					const bucket = gold.allocate(from({ tier: "gold" }), rule, priority).queue;
					const worse = gold.allocate(from({ tier: "gold" }), rule, priority + 1).queue;
					expect(first <= bucket && bucket <= worse && worse <= last).toBe(true);
					expect(gold.allocate(from({ tier: "gold" }), rule, 0).queue).toBe(first);
					expect(gold.allocate(from({ tier: "gold" }), rule, levels - 1).queue).toBe(last);
				},
			),
		);
	});

	it("spreads priorities over the range by the formula", () => {
		const range = { first: 40, last: 59 };
		expect([0, 1, 2, 3, 4].map((priority) => bucketInRange(range, priority, 5))).toEqual([40, 44, 49, 54, 59]);
	});
});

describe("bucket queues", () => {
	it("have the depths and timeouts of the level that stands where they stand, halves up", () => {
		const { queues } = createBucketAllocator(settings({}, 9));
		expect(queues.map(({ maxDepth }) => maxDepth)).toEqual([500, 500, 500, 1000, 1000, 2000, 2000, 5000, 5000]);
		expect(queues[3]).toMatchObject({ label: "B3", name: "bucket-3", timeoutMs: 60_000 });
	});

	it.each([
		["strict", 70],
		["atleast", 70],
		["hybrid", 70],
		["wfq", undefined],
		["drr", undefined],
	] as const)("under %s bucket 1 has the ceiling %s", (scheduler: SchedulerKind, ceiling) => {
		const { queues } = createBucketAllocator(settings({ scheduler }));
		expect(queues[1]!.limitRps).toBe(ceiling);
		expect(queues[1]!.limitTps).toBeUndefined();
		// A turn of deficit round robin is quantum × weight, so that the largest weight is 1 there.
		expect(queues[1]!.weight).toBe(scheduler === "drr" ? 0.7 : 70);
	});

	it("limit in the unit of the base; best effort has no limit", () => {
		const { queues } = createBucketAllocator(
			settings({
				buckets: { count: 10, baseCapacityTps: 5000, distribution: "hybrid", decayRatio: 0.7, basis: "bucket0" },
			}),
		);
		expect(queues[0]).toMatchObject({ limitTps: 5000 });
		expect(queues[0]!.limitRps).toBeUndefined();
		expect(queues[9]).toMatchObject({ bestEffort: true, weight: 5 });
		expect(queues[9]!.limitTps).toBeUndefined();
	});

	it("take the mode of their group, of the configured ranges first, and overrides last", () => {
		const modes = (fields: Partial<BucketAllocatorSettings>) =>
			createBucketAllocator(settings(fields))
				.queues.map(({ mode }) => (mode === "strict" ? "s" : "a"))
				.join("");
		expect(modes({})).toBe("ssaassaaaa");
		expect(modes({ strictRange: [0, 3], atleastRange: [4, 9] })).toBe("ssssaaaaaa");
		const { buckets } = settings();
		const overridden = createBucketAllocator(
			settings({ buckets: { ...buckets, overrides: new Map([[2, { name: "lab", maxDepth: 3, reservedTps: 10 }]]) } }),
		);
		expect(overridden.queues[2]).toMatchObject({
			label: "B2",
			name: "lab",
			maxDepth: 3,
			reservedTps: 10,
			limitRps: expect.closeTo(49, 9),
		});
		expect(createBucketAllocator(settings({ atleastRange: [0, 0] })).allocate(from({}), rule).mode).toBe("atleast");
	});
});
