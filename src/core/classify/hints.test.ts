import { describe, expect, it } from "vitest";
import { createBucketAllocator } from "../allocate/bucket-allocator.ts";
import { createPriorityAllocator } from "../allocate/priority-allocator.ts";
import type { RequestHints, RoutingMetadata, TokenTraits } from "../model/routing.ts";
import { defaultRules } from "./default-rules.ts";
import {
	applyHints,
	CRITICAL_LIMIT,
	CRITICAL_WINDOW_MS,
	type HintContext,
	type HintRefused,
	type Routed,
	STANDARD_LEVEL_NAMES,
} from "./hints.ts";
import { RuleMatcher } from "./rule-matcher.ts";
import { SlidingCounter } from "./sliding-counter.ts";

function priorityContext(levels = 5): HintContext {
	const allocator = createPriorityAllocator({ levels, defaultPriority: 4 });
	return {
		matcher: new RuleMatcher(defaultRules(levels)),
		allocator,
		levelNames: allocator.queues.map(({ name }) => name),
		criticalUses: new SlidingCounter(CRITICAL_LIMIT, CRITICAL_WINDOW_MS),
	};
}

function bucketContext(): HintContext {
	const allocator = createBucketAllocator({
		buckets: { count: 10, baseCapacityRps: 100, distribution: "exponential", decayRatio: 0.7, basis: "bucket0" },
		mappings: [],
		scheduler: "atleast",
		levels: 5,
	});
	return { ...priorityContext(), allocator, levelNames: STANDARD_LEVEL_NAMES };
}

function external(token: TokenTraits = {}): RoutingMetadata {
	return { tier: "external", accountId: "acme", routedBy: "token", token };
}

function routed(context: HintContext, metadata: RoutingMetadata, hints: RequestHints, now = 0): Routed {
	const outcome = applyHints(context, metadata, "m", hints, now);
	if (outcome.kind === "refused") throw new Error(outcome.refusal.message);
	return outcome;
}

function refusal(
	context: HintContext,
	metadata: RoutingMetadata,
	hints: RequestHints,
	now = 0,
): HintRefused["refusal"] {
	const outcome = applyHints(context, metadata, "m", hints, now);
	if (outcome.kind === "routed") throw new Error(`routed to ${outcome.allocation.queue}`);
	return outcome.refusal;
}

describe("applyHints over priority levels", () => {
	it("leaves a request without hints alone", () => {
		const metadata = external();
		const outcome = routed(priorityContext(), metadata, {});
		expect(outcome.metadata).toBe(metadata);
		expect(outcome.rule.rule.name).toBe("External Standard");
		expect(outcome.allocation).toEqual({ queue: 3, mode: "strict", via: "rule" });
	});

	it.each([
		[{ priority: "4" }, 4, "External Standard"],
		[{ priority: " Batch " }, 4, "External Standard"],
		[{ priority: "3" }, 3, "External Standard"],
		[{ requestClass: "batch" }, 4, "Batch"],
		[{ requestClass: "spot" }, 4, "Spot"],
		[{ requestClass: "realtime" }, 3, "External Standard"],
		[{ environment: "Production" }, 3, "External Standard"],
		[{ teamId: "search" }, 3, "External Standard"],
	] as const)("grants %o, which asks for nothing better, to anyone", (hints, level, ruleName) => {
		const outcome = routed(priorityContext(), external(), hints);
		expect(outcome.allocation.queue).toBe(level);
		expect(outcome.rule.rule.name).toBe(ruleName);
	});

	it("needs max_priority for a better level, and holds it to that level", () => {
		const context = priorityContext();
		expect(refusal(context, external(), { priority: "high" })).toMatchObject({
			code: "priority_not_allowed",
			param: "X-Priority",
		});
		expect(routed(context, external({ maxPriority: 1 }), { priority: "high" }).allocation).toMatchObject({
			queue: 1,
			via: "header_hint",
		});
		expect(refusal(context, external({ maxPriority: 1 }), { priority: "0" }).message).toContain("level 1 or worse");
	});

	it("judges an environment by the level its rule gives", () => {
		const context = priorityContext();
		const dev: RoutingMetadata = { tier: "internal", environment: "dev", accountId: "acme", routedBy: "token" };
		expect(refusal(context, dev, { environment: "production" })).toMatchObject({
			code: "priority_not_allowed",
			param: "X-Environment",
		});
		const lead = { ...dev, token: { maxPriority: 0 } };
		expect(routed(context, lead, { environment: "production" }).rule.rule.name).toBe("Internal Production");
		expect(refusal(context, { ...dev, token: { maxPriority: 1 } }, { environment: "production" }).code).toBe(
			"priority_not_allowed",
		);
		// Leaving the batch class is an improvement as well.
		expect(refusal(context, { ...dev, workload: "batch" }, { requestClass: "realtime" }).param).toBe("X-Request-Class");
	});

	it("cannot beat the token's own override", () => {
		const outcome = routed(priorityContext(), external({ priorityOverride: 2 }), { priority: "0" });
		expect(outcome.allocation).toMatchObject({ queue: 2, via: "token_override" });
	});

	it("lets a team stand in only where the token has none", () => {
		expect(routed(priorityContext(), external(), { teamId: "search" }).metadata.teamId).toBe("search");
		const ads = { ...external(), teamId: "ads" };
		expect(routed(priorityContext(), ads, { teamId: "search" }).metadata.teamId).toBe("ads");
	});

	it.each([
		[{ priority: "5" }, "0 to 4, critical, high, standard, low, batch"],
		[{ priority: "-1" }, "0 to 4"],
		[{ priority: "__proto__" }, "0 to 4"],
		[{ requestClass: "urgent" }, "critical, realtime, batch, spot"],
		[{ environment: "../x" }, "production, staging, dev, test, uat"],
		[{ teamId: "a b" }, "1 to 128"],
		[{ teamId: "" }, "1 to 128"],
	] as const)("refuses %o with the allowed values", (hints, allowed) => {
		const found = refusal(priorityContext(), external({ maxPriority: 0 }), hints);
		expect(found.code).toBe("invalid_header_value");
		expect(found.message).toContain(allowed);
	});

	it("carries names over to other numbers of levels", () => {
		const token = { maxPriority: 0 };
		const levels = STANDARD_LEVEL_NAMES.map(
			(priority) => routed(priorityContext(10), external(token), { priority }).allocation.queue,
		);
		expect(levels).toEqual([0, 2, 5, 7, 9]);
		expect(routed(priorityContext(10), external(token), { priority: "6" }).allocation.queue).toBe(6);
	});
});

describe("class critical", () => {
	it("needs may_use_critical and nothing else", () => {
		expect(refusal(priorityContext(), external({ maxPriority: 0 }), { requestClass: "critical" }).code).toBe(
			"priority_not_allowed",
		);
		const outcome = routed(priorityContext(), external({ mayUseCritical: true }), { requestClass: "critical" });
		expect(outcome.allocation).toMatchObject({ queue: 0, via: "header_hint" });
	});

	it("is granted ten times in any minute per account", () => {
		const context = priorityContext();
		const metadata = external({ mayUseCritical: true });
		for (let use = 0; use < 10; use++) routed(context, metadata, { requestClass: "critical" }, use * 1000);
		expect(refusal(context, metadata, { requestClass: "critical" }, 10_000)).toMatchObject({
			code: "rate_limited",
			retryAfterMs: 50_000,
		});
		routed(context, { ...metadata, accountId: "other" }, { requestClass: "critical" }, 10_000);
		routed(context, metadata, { requestClass: "critical" }, 60_000);
		expect(refusal(context, metadata, { requestClass: "critical" }, 60_500).retryAfterMs).toBe(500);
	});

	it("does not carry a better environment with it, and does not count when refused", () => {
		const context = bucketContext();
		const dev: RoutingMetadata = {
			tier: "internal",
			accountId: "acme",
			routedBy: "token",
			token: { mayUseCritical: true },
		};
		for (let use = 0; use < 20; use++)
			expect(refusal(context, dev, { requestClass: "critical", environment: "production" }).code).toBe(
				"priority_not_allowed",
			);
		expect(routed(context, dev, { requestClass: "critical" }).allocation.queue).toBe(3);
	});
});

describe("applyHints over buckets", () => {
	it("moves within the group's range only", () => {
		const context = bucketContext();
		expect(routed(context, external(), {}).allocation.queue).toBe(7);
		expect(refusal(context, external(), { priority: "0" }).message).toContain("B6");
		expect(routed(context, external({ maxPriority: 0 }), { priority: "0" }).allocation.queue).toBe(6);
		expect(refusal(context, external({ maxPriority: 3 }), { priority: "2" }).code).toBe("priority_not_allowed");
		expect(routed(context, external({ maxPriority: 3 }), { priority: "3" }).allocation.queue).toBe(6);
	});

	it("holds another environment's buckets to the token's share of them", () => {
		const context = bucketContext();
		const dev: RoutingMetadata = { tier: "internal", accountId: "acme", routedBy: "token", token: { maxPriority: 1 } };
		expect(routed(context, dev, { environment: "staging" }).allocation.queue).toBe(2);
		expect(refusal(context, dev, { environment: "production" }).code).toBe("priority_not_allowed");
	});
});

describe("SlidingCounter", () => {
	it("forgets the key longest unused beyond its bound", () => {
		const counter = new SlidingCounter(1, 1000, 2);
		expect([counter.take("a", 0), counter.take("b", 1), counter.take("a", 2)]).toEqual([0, 0, 998]);
		expect(counter.take("c", 3)).toBe(0);
		expect(counter.size).toBe(2);
		expect(counter.take("b", 4)).toBe(997);
		expect(counter.take("a", 5)).toBe(0);
	});
});
