/** Why a routing rule does not take a request, in words: for explanations. */
import type { Match, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";

/** The first field that does not fit. */
export function whyMissed(rule: RoutingRule, metadata: RoutingMetadata, model: string): string {
	const fields: readonly (readonly [string, Match | undefined, string | undefined])[] = [
		["tier", rule.matchTier, metadata.tier],
		["environment", rule.matchEnvironment, metadata.environment],
		["account type", rule.matchAccountType, metadata.accountType],
		["account tier", rule.matchAccountTier, metadata.accountTier],
		["workload", rule.matchWorkload, metadata.workload],
		["model", rule.matchModel, model],
		["tag", rule.matchTag, metadata.tag],
	];
	for (const [name, match, value] of fields) {
		if (match === undefined) continue;
		const wanted = typeof match === "string" ? [match] : match;
		if (value === undefined || !wanted.includes(value))
			return `needs ${name} ${wanted.join(" or ")}, has ${value ?? "none"}`;
	}
	return "a better rule matched";
}
