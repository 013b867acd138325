import { describe, expect, it } from "vitest";
import type { RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { createBucketAllocator } from "./bucket-allocator.ts";
import { createPriorityAllocator } from "./priority-allocator.ts";
import { ActiveWindows, adjustAllocation, type TimeWindow, UNADJUSTED, type WindowRule } from "./time-window.ts";

function window(name: string, order: number, ...rules: WindowRule[]): TimeWindow {
	const schedule = { scheduleType: "cron", scheduleExpr: "* * * * *", durationMs: 1, timezone: "UTC" } as const;
	return { id: name, name, enabled: true, order, rules, ...schedule };
}

const REQUEST: RoutingMetadata = {
	tier: "spot",
	environment: "staging",
	accountTier: "gold",
	workload: "batch",
	accountId: "acme",
	routedBy: "token",
};
const RULE: RoutingRule = { id: "r", name: "R", priorityOrder: 1, enabled: true, assignPriority: 2 };

describe("adjustments", () => {
	it("without a window nothing changes, and nothing is made", () => {
		expect(new ActiveWindows([]).adjust(REQUEST)).toBe(UNADJUSTED);
	});

	it("concern their target", () => {
		for (const [targetType, targetValue] of [
			["environment", "staging"],
			["tier", "spot"],
			["account_tier", "gold"],
			["workload", "batch"],
			["account", "acme"],
		] as const) {
			const hit = new ActiveWindows([window("w", 1, { targetType, targetValue, adjustments: { priorityDelta: 1 } })]);
			expect(hit.adjust(REQUEST).priorityDelta, targetType).toBe(1);
			const miss = new ActiveWindows([
				window("w", 1, { targetType, targetValue: "other", adjustments: { priorityDelta: 1 } }),
			]);
			expect(miss.adjust(REQUEST)).toMatchObject({ priorityDelta: 0, windows: [] });
		}
		const all = new ActiveWindows([window("w", 1, { targetType: "all", adjustments: { bucketShift: 3 } })]);
		expect(all.adjust(REQUEST).bucketShift).toBe(3);
	});

	it("of windows that overlap the lowest order wins an override, deltas add, multipliers multiply", () => {
		const late = window("late", 20, {
			targetType: "all",
			adjustments: {
				priorityOverride: 0,
				priorityDelta: 2,
				quotaMultiplier: 3,
				capacityMultiplier: 0.5,
				internalLimitPct: 0.7,
			},
		});
		const early = window(
			"early",
			10,
			{ targetType: "tier", targetValue: "spot", adjustments: { priorityOverride: 3, priorityDelta: -1 } },
			{ targetType: "all", adjustments: { quotaMultiplier: 2, capacityMultiplier: 4, internalLimitPct: 0.6 } },
		);
		const active = new ActiveWindows([late, early]);
		expect(active.adjust(REQUEST)).toMatchObject({
			priorityOverride: 3,
			priorityDelta: 1,
			quotaMultiplier: 6,
			windows: ["early", "late"],
		});
		expect(active.capacityMultiplier).toBe(2);
		expect(active.internalLimit).toBe(0.6);
		expect(active.steps(REQUEST).filter(({ name }) => name === "priorityOverride")).toEqual([
			{ window: "early", target: "tier spot", name: "priorityOverride", value: 3, overruled: false },
			{ window: "late", target: "all", name: "priorityOverride", value: 0, overruled: true },
		]);
		expect(active.adjust({ ...REQUEST, tier: "internal" }).priorityOverride).toBe(0);
	});
});

describe("where a request waits", () => {
	const allocator = createPriorityAllocator({ levels: 5, defaultPriority: 4, overrides: new Map() });
	const queueWith = (adjustments: WindowRule["adjustments"], metadata = REQUEST, rule = RULE) => {
		const adjusted = new ActiveWindows([window("w", 1, { targetType: "all", adjustments })]).adjust(metadata);
		return adjustAllocation(allocator.allocate(metadata, rule), adjusted, allocator, metadata, rule);
	};

	it("an override stands in place of rule, hint and token; deltas come after it, clamped", () => {
		expect(queueWith({ priorityOverride: 0 }).queue).toBe(0);
		expect(queueWith({ priorityOverride: 1 }, { ...REQUEST, token: { priorityOverride: 4 } }).queue).toBe(1);
		expect(queueWith({ priorityOverride: 3, priorityDelta: -1 }).queue).toBe(2);
		expect(queueWith({ priorityDelta: 9 }).queue).toBe(4);
		expect(queueWith({ priorityDelta: -9 })).toEqual({ queue: 0, mode: "strict", via: "window:w" });
		expect(queueWith({ bucketShift: 2 }).queue).toBe(2);
		expect(queueWith({ quotaMultiplier: 2 }).via).toBe("rule");
	});

	it("buckets shift", () => {
		const buckets = createBucketAllocator({
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
		const metadata: RoutingMetadata = {
			tier: "internal",
			environment: "production",
			accountId: "a",
			routedBy: "token",
		};
		const rule: RoutingRule = { id: "r", name: "R", priorityOrder: 1, enabled: true };
		const plain = buckets.allocate(metadata, rule);
		const shifted = (bucketShift: number) => {
			const adjusted = new ActiveWindows([
				window("w", 1, { targetType: "all", adjustments: { bucketShift, priorityDelta: 3 } }),
			]).adjust(metadata);
			return adjustAllocation(plain, adjusted, buckets, metadata, rule).queue;
		};
		expect([plain.queue, shifted(4), shifted(99), shifted(-99)]).toEqual([0, 4, 9, 0]);
	});
});
