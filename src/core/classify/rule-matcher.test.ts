import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Match, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { defaultRules, scalePriority } from "./default-rules.ts";
import { FALLBACK_RULE, RuleMatcher } from "./rule-matcher.ts";

function from(fields: Partial<RoutingMetadata>): RoutingMetadata {
	return { tier: "default", accountId: "acme", routedBy: "token", ...fields };
}

function rule(order: number, fields: Partial<RoutingRule> = {}): RoutingRule {
	return { id: `r${order}`, name: `Rule ${order}`, priorityOrder: order, enabled: true, ...fields };
}

describe("the default rules", () => {
	const matcher = new RuleMatcher(defaultRules(5));
	it.each([
		[{ tier: "internal", environment: "production" }, "Internal Production", 0],
		[{ tier: "internal", environment: "staging" }, "Internal Staging", 1],
		[{ tier: "internal", environment: "dev" }, "Internal Dev", 2],
		[{ tier: "internal", environment: "some-other" }, "Internal Dev", 2],
		[{ tier: "internal" }, "Internal Dev", 2],
		[{ tier: "premium", environment: "production" }, "External Premium", 2],
		[{ tier: "external" }, "External Standard", 3],
		[{ tier: "spot" }, "Spot", 4],
		[{ tier: "default" }, "Catch-all", 4],
		[{ tier: "constructor" }, "Catch-all", 4],
		[{ tier: "internal", environment: "production", workload: "batch" }, "Batch", 4],
	] as const)("%o → %s", (fields, name, priority) => {
		const { rule: found } = matcher.match(from(fields), "m");
		expect(found.name).toBe(name);
		expect(found.assignPriority).toBe(priority);
	});

	it("scales priorities with the number of levels", () => {
		expect([0, 1, 2, 3, 4].map((priority) => scalePriority(priority, 10))).toEqual([0, 2, 5, 7, 9]);
		expect([0, 1, 2, 3, 4].map((priority) => scalePriority(priority, 2))).toEqual([0, 0, 1, 1, 1]);
		const byName = new Map(defaultRules(3).map(({ name, assignPriority }) => [name, assignPriority]));
		expect(byName.get("Internal Production")).toBe(0);
		expect(byName.get("External Standard")).toBe(2);
	});
});

describe("RuleMatcher", () => {
	it("appends a catch-all when none is enabled, and only then", () => {
		const matcher = new RuleMatcher([rule(1, { matchTier: "spot" }), rule(2, { enabled: false })]);
		expect(matcher.match(from({ tier: "internal" }), "m").rule).toBe(FALLBACK_RULE);
		expect(matcher.rules.map(({ index }) => index)).toEqual([0, 1]);
		expect(new RuleMatcher([rule(1)]).rules).toHaveLength(1);
		expect(new RuleMatcher([]).match(from({}), "m").rule).toBe(FALLBACK_RULE);
	});

	it("takes lists, keeps the given order among equals, and matches nothing with an empty list", () => {
		const matcher = new RuleMatcher([
			rule(5, { id: "never", matchTier: [] }),
			rule(5, { id: "list", matchModel: ["a", "b"], matchTag: "t" }),
			rule(5, { id: "late", matchModel: "a" }),
		]);
		expect(matcher.match(from({ tag: "t" }), "b").rule.id).toBe("list");
		expect(matcher.match(from({ tag: "t" }), "a").rule.id).toBe("list");
		expect(matcher.match(from({}), "a").rule.id).toBe("late");
		expect(matcher.match(from({}), "b").rule).toBe(FALLBACK_RULE);
	});

	it("finds what a scan finds, over more rules than a word has bits", () => {
		const word = fc.constantFrom("a", "b", "c", "d");
		const match = fc.option(fc.oneof(word, fc.array(word, { maxLength: 3 })), { nil: undefined });
		const fields = fc.record({ tier: match, environment: match, accountTier: match, workload: match, model: match });
		const value = fc.option(word, { nil: undefined });
		fc.assert(
			fc.property(
				fc.array(fc.tuple(fields, fc.boolean(), fc.integer({ min: 0, max: 5 })), { minLength: 1, maxLength: 80 }),
				fc.array(fc.tuple(word, value, value, value, word), { minLength: 1, maxLength: 10 }),
				(specs, requests) => {
					const rules = specs.map(
						([spec, enabled, order], index): RoutingRule => ({
							id: `${index}`,
							name: "r",
							enabled,
							priorityOrder: order,
							...(spec.tier === undefined ? {} : { matchTier: spec.tier }),
							...(spec.environment === undefined ? {} : { matchEnvironment: spec.environment }),
							...(spec.accountTier === undefined ? {} : { matchAccountTier: spec.accountTier }),
							...(spec.workload === undefined ? {} : { matchWorkload: spec.workload }),
							...(spec.model === undefined ? {} : { matchModel: spec.model }),
						}),
					);
					const matcher = new RuleMatcher(rules);
					for (const [tier, environment, accountTier, workload, model] of requests) {
						const metadata = from({
							tier,
							...(environment === undefined ? {} : { environment }),
							...(accountTier === undefined ? {} : { accountTier }),
							...(workload === undefined ? {} : { workload }),
						});
						const accepts = (match: Match | undefined, value: string | undefined): boolean =>
							match === undefined ||
							(value !== undefined && (typeof match === "string" ? match === value : match.includes(value)));
						const expected = rules
							.filter(({ enabled }) => enabled)
							.sort((a, b) => a.priorityOrder - b.priorityOrder)
							.find(
								(candidate) =>
									accepts(candidate.matchTier, tier) &&
									accepts(candidate.matchEnvironment, environment) &&
									accepts(candidate.matchAccountTier, accountTier) &&
									accepts(candidate.matchWorkload, workload) &&
									accepts(candidate.matchModel, model),
							);
						expect(matcher.match(metadata, model).rule.id).toBe(expected?.id ?? FALLBACK_RULE.id);
					}
				},
			),
			{ numRuns: 200 },
		);
	});
});
