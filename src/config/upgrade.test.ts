import { describe, expect, it } from "vitest";
import { loadConfig } from "./load.ts";
import { upgradeConfig } from "./upgrade.ts";

describe("upgradeConfig", () => {
	it("rewrites what documents of the past show, and keeps every comment", () => {
		const before = [
			"# my gateway",
			"[scheduler]",
			"# the algorithm",
			"type = weighted_fair   # wfq",
			"priority_levels = 5",
			"weights = 8,4,2,1,1 ; best first",
			"",
			"[header_routing]",
			"enabled = true",
			"trusted_cidrs = 10.0.0.0/8   # the mesh",
			"require_token = false",
			"",
			"[capacity]",
			"max_qps = 50",
			"",
		].join("\n");
		const { text, changes, left } = upgradeConfig(before);
		expect(text).toBe(
			[
				"# my gateway",
				"",
				"[classifier.header]",
				"enabled = true",
				"trusted_cidrs = 10.0.0.0/8   # the mesh",
				"require_token = false",
				"",
				"[capacity]",
				"max_rps = 50",
				"",
				"[request_scheduler]",
				"# the algorithm",
				"scheduler = weighted_fair   # wfq",
				"",
				"[allocator.priority]",
				"priority_levels = 5",
				"weights = 8,4,2,1,1 ; best first",
				"",
			].join("\n"),
		);
		expect(changes).toHaveLength(7);
		expect(left).toEqual([]);
		expect(loadConfig({ text, env: {} })).toMatchObject({ ok: true, warnings: [] });
		expect(upgradeConfig(text)).toEqual({ text, changes: [], left: [] });
	});

	it("turns the bucket scheduler's switch into the allocator", () => {
		const { text } = upgradeConfig(
			"[bucket_scheduler]\nenabled = true\nbucket_count = 20\nbase_capacity_rps = 100\nmax_upgrade_distance = 3\n[tier_mappings]\nspot.mode = strict\n",
		);
		const result = loadConfig({ text, env: {} });
		expect(result).toMatchObject({
			ok: true,
			config: {
				requestScheduler: { allocator: "bucket" },
				allocator: { bucket: { bucketCount: 20, tierMappings: [{ group: "spot", mode: "strict" }] } },
				scheduler: { atleast: { maxUpgradeDistance: 3 } },
			},
		});
	});

	it("leaves what two places say differently", () => {
		const before = "[request_scheduler]\nscheduler = drr\n[scheduler]\ntype = wfq\n";
		const { text, left } = upgradeConfig(before);
		expect(text).toBe(before);
		expect(left).toEqual(["[scheduler] type: [request_scheduler] scheduler is set already, remove one of them"]);
	});

	it.each([
		["scheduler.hybrid", "strict_range", "[scheduler]\nstrict_buckets = 0-19"],
		["scheduler.hybrid", "atleast_range", "[scheduler]\natleast_buckets = 20-99"],
		["capacity", "degradation_mode", "[scheduler]\ndegradation_mode = fail_close"],
		["classifier.token", "fail_mode", "[token_routing]\nfail_mode = fail_closed"],
		["request_scheduler", "classifier", "[classifier]\ntype = token"],
		["request_scheduler", "allocator", "[allocator]\ntype = bucket"],
		["allocator.bucket", "decay_ratio", "[allocator.bucket_experimental]\ndecay_ratio = 0.6"],
		["allocator.priority", "weights", "[scheduler.drr]\nweights = 5,4,3,2,1"],
		["allocator.bucket.tier_mappings.vip", "mode", "[tier_mappings.vip]\nmode = strict"],
	])("knows today's [%s] %s", (section, key, before) => {
		const { text, left } = upgradeConfig(`${before}\n`);
		expect(left).toEqual([]);
		expect(text).toContain(`[${section}]\n${key} = `);
	});
});
