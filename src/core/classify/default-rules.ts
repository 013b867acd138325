/**
 * The routing rules a new installation starts with (design 06 §1), as data: editable like any other. `max_tps` is left open on
 * purpose: a limit that nobody asked for surprises.
 */
import type { RoutingRule } from "../model/policy.ts";

/** The levels that the default priorities are written for. */
const WRITTEN_FOR_LEVELS = 5;

/** A priority of the five standard levels, carried over to `levels` levels: `round(p × (levels−1) / 4)`. */
export function scalePriority(priority: number, levels: number): number {
	return Math.round((priority * (levels - 1)) / (WRITTEN_FOR_LEVELS - 1));
}

const DEFAULT_RULES: readonly RoutingRule[] = [
	{
		id: "default-batch",
		name: "Batch",
		priorityOrder: 5,
		enabled: true,
		matchWorkload: "batch",
		assignPriority: 4,
		assignWeight: 0.5,
		assignQueue: "group:spot",
		maxQueueDepth: 5000,
		queueTimeoutMs: 300_000,
	},
	{
		id: "default-internal-production",
		name: "Internal Production",
		priorityOrder: 10,
		enabled: true,
		matchTier: "internal",
		matchEnvironment: "production",
		assignPriority: 0,
		assignWeight: 20,
		maxQueueDepth: 500,
		queueTimeoutMs: 30_000,
	},
	{
		id: "default-internal-staging",
		name: "Internal Staging",
		priorityOrder: 20,
		enabled: true,
		matchTier: "internal",
		matchEnvironment: "staging",
		assignPriority: 1,
		assignWeight: 5,
		maxQueueDepth: 300,
		queueTimeoutMs: 60_000,
	},
	{
		id: "default-internal-dev",
		name: "Internal Dev",
		description: "Any other environment, or none: production and staging have matched before.",
		priorityOrder: 30,
		enabled: true,
		matchTier: "internal",
		assignPriority: 2,
		assignWeight: 3,
		maxQueueDepth: 200,
		queueTimeoutMs: 120_000,
	},
	{
		id: "default-external-premium",
		name: "External Premium",
		priorityOrder: 35,
		enabled: true,
		matchTier: "premium",
		assignPriority: 2,
		assignWeight: 5,
		maxQueueDepth: 1000,
		queueTimeoutMs: 120_000,
	},
	{
		id: "default-external-standard",
		name: "External Standard",
		priorityOrder: 40,
		enabled: true,
		matchTier: "external",
		assignPriority: 3,
		assignWeight: 1,
		maxQueueDepth: 1000,
		queueTimeoutMs: 300_000,
	},
	{
		id: "default-spot",
		name: "Spot",
		priorityOrder: 45,
		enabled: true,
		matchTier: "spot",
		assignPriority: 4,
		assignWeight: 0.5,
		maxQueueDepth: 5000,
		queueTimeoutMs: 300_000,
	},
	{
		id: "default-catch-all",
		name: "Catch-all",
		priorityOrder: 1000,
		enabled: true,
		assignPriority: 4,
		assignWeight: 1,
		maxQueueDepth: 1000,
		queueTimeoutMs: 300_000,
	},
];

/** The default rules with their priorities carried over to `levels` levels. */
export function defaultRules(levels: number): readonly RoutingRule[] {
	return DEFAULT_RULES.map((rule) =>
		rule.assignPriority === undefined ? rule : { ...rule, assignPriority: scalePriority(rule.assignPriority, levels) },
	);
}
