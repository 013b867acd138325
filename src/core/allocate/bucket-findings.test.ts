import { describe, expect, it } from "vitest";
import { checkBucketSettings, type Finding } from "./bucket-findings.ts";
import type { BucketSettings } from "./distribution.ts";

/** The preset `medium`: sound as it stands. */
const sound: BucketSettings = {
	count: 10,
	baseCapacityRps: 100,
	distribution: "exponential",
	decayRatio: 0.7,
	basis: "total",
};

function keys(findings: readonly Finding[]): string[] {
	return findings.map(({ severity, key }) => `${severity} ${key.replace("allocator.bucket.", "")}`);
}

describe("checkBucketSettings", () => {
	it.each([
		[sound, "atleast"],
		[{ ...sound, count: 5, baseCapacityRps: 50 }, "atleast"],
		[{ ...sound, count: 30, baseCapacityRps: 500, decayRatio: 0.75, distribution: "hybrid" }, "atleast"],
		[{ ...sound, count: 100, baseCapacityRps: 1000, decayRatio: 0.8, distribution: "hybrid" }, "hybrid"],
		[{ ...sound, basis: "bucket0" }, "wfq"],
	] as const)("finds nothing in %o under %s", (settings, scheduler) => {
		expect(checkBucketSettings(settings, [], { scheduler })).toEqual([]);
	});

	const { baseCapacityRps: _, ...baseless } = sound;
	it.each([
		[{ ...sound, count: 1 }, "bucket_count", "bucket_count = 1; allowed: 2 to 100"],
		[{ ...sound, count: 101 }, "bucket_count", "bucket_count = 101; allowed: 2 to 100"],
		[{ ...sound, decayRatio: 1 }, "decay_ratio", "decay_ratio = 1; allowed: between 0 and 1"],
		[{ ...sound, decayRatio: 0 }, "decay_ratio", "decay_ratio = 0"],
		[{ ...sound, baseCapacityTps: 5 }, "base_capacity_tps", "both set"],
		[baseless, "base_capacity_rps", "neither"],
		[{ ...sound, baseCapacityRps: -5 }, "base_capacity_rps", "base_capacity_rps = -5"],
		[{ ...sound, baseCapacityRps: 0.5 }, "bucket_count", "sum to 0.5"],
		[
			{ ...sound, distribution: "linear", minCapacity: 200 },
			"min_capacity",
			"min_capacity = 200; allowed: 0 to the base",
		],
		[{ ...sound, distribution: "custom", capacities: [1] }, "capacities", "1 numbers for 10 buckets"],
	] as const)("refuses %o", (settings, key, message) => {
		const findings = checkBucketSettings(settings, []);
		expect(keys(findings)).toEqual([`refusal ${key}`]);
		expect(findings[0]!.message).toContain(message);
	});

	it.each([
		[
			{ group: "spot", bucketRange: [8, 10] },
			"tier_mappings.spot.bucket_range",
			"[8, 10]; allowed: whole numbers 0 to 9",
		],
		[{ group: "spot", bucketRange: [5, 4] }, "tier_mappings.spot.bucket_range", "ascending"],
		[{ group: "premium", bucketRangePct: [0.5, 1.2] }, "tier_mappings.premium.bucket_range_pct", "[0.5, 1.2]"],
		[{ group: "spot", bucketRange: [8, 9], bucketRangePct: [0.8, 1] }, "tier_mappings.spot.bucket_range", "both set"],
		[{ group: "gold" }, "tier_mappings.gold.bucket_range", "needed"],
	] as const)("refuses the mapping %o", (mapping, key, message) => {
		const findings = checkBucketSettings(sound, [mapping]);
		expect(keys(findings)).toEqual([`refusal ${key}`]);
		expect(findings[0]!.message).toContain(message);
	});

	it("warns that buckets in use are guaranteed nothing", () => {
		const [finding, ...rest] = checkBucketSettings({ ...sound, basis: "bucket0" }, []);
		expect(rest).toEqual([]);
		expect(finding!.severity).toBe("warning");
		expect(finding!.message).toContain(
			"buckets 1-9 are guaranteed nothing: the numbers sum to 323.9 and the pool has 100",
		);
		expect(checkBucketSettings({ ...sound, basis: "bucket0" }, [], { scheduler: "strict", poolCapacity: 324 })).toEqual(
			[],
		);
	});

	it("names the largest count that has few tiny buckets", () => {
		// 0.7^i falls below 0.001 from bucket 20 on: of 28 buckets 8 are tiny (28.6 %), of 29 9 (31.0 %).
		const wide: BucketSettings = { ...sound, basis: "bucket0", count: 40 };
		const message = checkBucketSettings(wide, [], { scheduler: "wfq" })[0]!.message;
		expect(message).toContain(
			"bucket_count = 40: 50 % of the buckets are below 0.1 % of the base; bucket_count = 28 is",
		);
		expect(checkBucketSettings({ ...wide, count: 28 }, [], { scheduler: "wfq" })).toEqual([]);
		expect(keys(checkBucketSettings({ ...wide, count: 29 }, [], { scheduler: "wfq" }))).toEqual([
			"warning bucket_count",
		]);
	});

	it("warns of few and many buckets and of odd ratios", () => {
		expect(keys(checkBucketSettings({ ...sound, count: 4 }, []))).toEqual(["warning bucket_count"]);
		expect(keys(checkBucketSettings({ ...sound, count: 60, distribution: "linear" }, []))).toEqual([
			"warning bucket_count",
		]);
		expect(keys(checkBucketSettings({ ...sound, decayRatio: 0.45 }, []))).toEqual(["warning decay_ratio"]);
		expect(keys(checkBucketSettings({ ...sound, decayRatio: 0.95 }, []))).toEqual(["warning decay_ratio"]);
		expect(checkBucketSettings({ ...sound, decayRatio: 0.95, distribution: "linear" }, [])).toEqual([]);
	});

	it("warns of buckets that nobody is mapped to", () => {
		const findings = checkBucketSettings(sound, [{ group: "spot", bucketRange: [9, 9] }]);
		expect(keys(findings)).toEqual(["warning tier_mappings"]);
		expect(findings[0]!.message).toContain("bucket 8 is covered by no tier mapping");
	});

	it("notes a mode that has no effect, only where one was configured", () => {
		const mapping = { group: "spot", mode: "strict" as const };
		expect(keys(checkBucketSettings(sound, [mapping], { scheduler: "wfq" }))).toEqual(["note tier_mappings.spot.mode"]);
		expect(checkBucketSettings(sound, [mapping], { scheduler: "hybrid" })).toEqual([]);
	});
});
