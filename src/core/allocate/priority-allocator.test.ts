import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvariantError } from "../model/invariant-error.ts";
import type { RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { createPriorityAllocator, priorityQueues } from "./priority-allocator.ts";

const rule: RoutingRule = { id: "r", name: "r", priorityOrder: 1, enabled: true };
const metadata: RoutingMetadata = { tier: "internal", accountId: "acme", routedBy: "token" };

describe("priorityQueues", () => {
	it("has the table with five levels", () => {
		expect(priorityQueues({ levels: 5, defaultPriority: 4 })).toEqual([
			{ label: "P0", name: "critical", maxDepth: 500, timeoutMs: 30_000, weight: 10 },
			{ label: "P1", name: "high", maxDepth: 500, timeoutMs: 30_000, weight: 5 },
			{ label: "P2", name: "standard", maxDepth: 1000, timeoutMs: 60_000, weight: 2 },
			{ label: "P3", name: "low", maxDepth: 2000, timeoutMs: 120_000, weight: 1 },
			{ label: "P4", name: "batch", maxDepth: 5000, timeoutMs: 300_000, weight: 0.5 },
		]);
	});

	it("stretches the table over other counts, halves up", () => {
		const names = (levels: number) => priorityQueues({ levels, defaultPriority: 0 }).map(({ name }) => name);
		expect(names(2)).toEqual(["critical", "batch"]);
		expect(names(3)).toEqual(["critical", "standard", "batch"]);
		expect(names(9)).toEqual(["critical", "high", "high", "standard", "standard", "low", "low", "batch", "batch"]);
	});

	it("falls geometrically from 10 to 0.5 with other counts", () => {
		fc.assert(
			fc.property(fc.integer({ min: 2, max: 20 }), (levels) => {
				const weights = priorityQueues({ levels, defaultPriority: 0 }).map(({ weight }) => weight);
				expect(weights[0]).toBe(10);
				expect(weights.at(-1)).toBeCloseTo(0.5, 12);
				for (let level = 1; level < levels; level++) {
					expect(weights[level]!).toBeLessThan(weights[level - 1]!);
					if (levels !== 5) expect(weights[level]! / weights[level - 1]!).toBeCloseTo(0.05 ** (1 / (levels - 1)), 12);
				}
			}),
		);
	});

	it("takes weights, then overrides per level", () => {
		const queues = priorityQueues({
			levels: 5,
			defaultPriority: 4,
			weights: [8, 4, 2, 1, 1],
			overrides: new Map([
				[1, { name: "gold", weight: 6, maxDepth: 7, timeoutMs: 9, reservedTps: 100, lendable: false }],
			]),
		});
		expect(queues.map(({ weight }) => weight)).toEqual([8, 6, 2, 1, 1]);
		expect(queues[1]).toEqual({
			label: "P1",
			name: "gold",
			maxDepth: 7,
			timeoutMs: 9,
			weight: 6,
			reservedTps: 100,
			lendable: false,
		});
	});

	it.each([1, 21, 2.5])("calls %s levels a bug", (levels) => {
		expect(() => priorityQueues({ levels, defaultPriority: 0 })).toThrow(InvariantError);
	});
});

describe("the priority allocator", () => {
	const allocator = createPriorityAllocator({ levels: 5, defaultPriority: 4 });
	const ruled = { ...rule, assignPriority: 2 };
	it.each([
		[{ ...metadata, token: { priorityOverride: 1 }, priorityHint: 3 }, ruled, 0, 1, "token_override"],
		[{ ...metadata, priorityHint: 3 }, ruled, 0, 0, "header_hint"],
		[{ ...metadata, priorityHint: 3 }, ruled, undefined, 3, "header_hint"],
		[metadata, ruled, undefined, 2, "rule"],
		[metadata, rule, undefined, 4, "default"],
		[metadata, { ...rule, assignPriority: 17 }, undefined, 4, "rule"],
		[metadata, { ...rule, assignPriority: -3 }, undefined, 0, "rule"],
		[metadata, { ...rule, assignQueue: "bucket:0" }, undefined, 4, "default"],
	] as const)("%o, %o, hint %s → level %i by %s", (request, matched, hint, queue, via) => {
		expect(allocator.allocate(request, matched, hint)).toEqual({ queue, mode: "strict", via });
	});

	it("clamps the default to the levels there are", () => {
		expect(createPriorityAllocator({ levels: 3, defaultPriority: 4 }).allocate(metadata, rule).queue).toBe(2);
	});
});
