/** What must hold for the rules as a set, whatever store keeps them. */
import type { RoutingRule } from "../core/model/policy.ts";
import { refused, type WriteRefusal } from "../ports/write-result.ts";

const MATCH_FIELDS = [
	"matchTier",
	"matchEnvironment",
	"matchAccountType",
	"matchAccountTier",
	"matchWorkload",
	"matchModel",
	"matchTag",
] as const;

export function matchesEverything(rule: Omit<RoutingRule, "id" | "enabled">): boolean {
	return MATCH_FIELDS.every((field) => rule[field] === undefined);
}

export function compareRules(a: RoutingRule, b: RoutingRule): number {
	return a.priorityOrder - b.priorityOrder || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/**
 * Refuses a step from `before` to `after` that leaves no enabled rule matching everything, or two rules with one name.
 * A set that never had a catch-all (before the defaults are written) may grow one rule at a time.
 */
export function checkRuleSet(before: readonly RoutingRule[], after: readonly RoutingRule[]): WriteRefusal | undefined {
	const names = new Set<string>();
	for (const rule of after) {
		if (names.has(rule.name)) {
			return refused("conflict", `a rule named "${rule.name}" exists already: names are unique`, "name");
		}
		names.add(rule.name);
	}
	const hasCatchAll = (rules: readonly RoutingRule[]) => rules.some((rule) => rule.enabled && matchesEverything(rule));
	if (hasCatchAll(before) && !hasCatchAll(after)) {
		return refused(
			"conflict",
			"this would leave no enabled rule that matches everything: keep one catch-all (a rule without any match field)",
		);
	}
	return undefined;
}
