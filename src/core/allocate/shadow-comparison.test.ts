import { expect, test } from "vitest";
import { defaultRules } from "../classify/default-rules.ts";
import { RuleMatcher } from "../classify/rule-matcher.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { createBucketAllocator } from "./bucket-allocator.ts";
import { createPriorityAllocator } from "./priority-allocator.ts";
import { ShadowComparison } from "./shadow-comparison.ts";
import { UNADJUSTED } from "./time-window.ts";

const priority = createPriorityAllocator({ levels: 5, defaultPriority: 4, overrides: new Map() });
const bucket = createBucketAllocator({
	buckets: {
		count: 10,
		distribution: "exponential",
		decayRatio: 0.7,
		basis: "bucket0",
		overrides: new Map(),
		baseCapacityRps: 100,
	},
	mappings: [],
	scheduler: "strict",
	levels: 5,
});
const matcher = new RuleMatcher(defaultRules(5).map((rule, i) => ({ ...rule, enabled: true, id: `r${i}` })));
const of = (tier: string, environment?: string): RoutingMetadata => ({
	tier,
	accountId: "a",
	routedBy: "token",
	...(environment === undefined ? {} : { environment }),
});

function observe(comparison: ShadowComparison, acting: typeof priority, metadata: RoutingMetadata) {
	const { rule } = matcher.match(metadata, "m");
	return comparison.observe(metadata, rule, UNADJUSTED, acting.allocate(metadata, rule));
}

test("levels against buckets: who would be put alike, better, worse", () => {
	const comparison = new ShadowComparison(priority, bucket);
	expect(observe(comparison, priority, of("internal", "production"))).toEqual({
		verdict: "same",
		queue: "P0",
		shadowQueue: "B0",
	});
	// level 1 is buckets 2 and 3
	expect(observe(comparison, priority, of("internal", "staging")).verdict).toBe("same");
	// level 2 is buckets 4 and 5, a developer's bucket is 3
	expect(observe(comparison, priority, of("internal", "dev"))).toMatchObject({ verdict: "better", shadowQueue: "B3" });
	// every rule sends it to the worst level, buckets 9
	expect(observe(comparison, priority, of("default")).verdict).toBe("same");
	for (let i = 0; i < 3; i++) observe(comparison, priority, of("internal", "dev"));
	const report = comparison.report();
	expect(report).toMatchObject({
		allocator: "priority",
		shadowAllocator: "bucket",
		requests: 7,
		verdicts: { same: 3, better: 4, worse: 0 },
	});
	expect(report.pairs[0]).toEqual({
		queue: "P2",
		shadowQueue: "B3",
		tier: "internal",
		environment: "dev",
		verdict: "better",
		requests: 4,
	});
});

test("buckets against levels is the mirror of it", () => {
	const comparison = new ShadowComparison(bucket, priority);
	expect(observe(comparison, bucket, of("internal", "production")).verdict).toBe("same");
	expect(observe(comparison, bucket, of("internal", "dev"))).toMatchObject({
		verdict: "worse",
		queue: "B3",
		shadowQueue: "P2",
	});
});

test("made-up tiers do not fill the memory", () => {
	const comparison = new ShadowComparison(priority, bucket);
	for (let i = 0; i < 2000; i++) observe(comparison, priority, of(`tier${i}`));
	const { pairs, requests } = comparison.report();
	expect(requests).toBe(2000);
	expect(pairs.length).toBeLessThanOrEqual(501);
	expect(pairs[0]).toMatchObject({ tier: "*", requests: 1500 });
});
