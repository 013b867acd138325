/**
 * What time windows change (design 01 §8): adjustments of requests by target, and of pools. Of overlapping windows the lowest `order` wins an
 * override, deltas add, multipliers multiply.
 */
import type { AllocationDecision, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { type Allocator, clampLevel } from "./allocator.ts";
import type { Schedule } from "./time-window-schedule.ts";

export const TARGET_TYPES = ["environment", "tier", "account_tier", "workload", "account", "all"] as const;
export type TargetType = (typeof TARGET_TYPES)[number];

/** `internalLimitPct` is a fraction, of target `all`: from where the capacity guard keeps external work out. */
export const OVERRIDES = ["priorityOverride", "internalLimitPct"] as const;
export const DELTAS = ["priorityDelta", "bucketShift"] as const;
export const MULTIPLIERS = [
	"weightMultiplier",
	"quotaMultiplier",
	"capacityMultiplier",
	"queueTimeoutMultiplier",
	"maxQueueDepthMultiplier",
	"costMultiplier",
] as const;

type AdjustmentName = (typeof OVERRIDES)[number] | (typeof DELTAS)[number] | (typeof MULTIPLIERS)[number];
export type Adjustments = Readonly<Partial<Record<AdjustmentName, number>>>;

export interface WindowRule {
	readonly targetType: TargetType;
	/** Absent with `all`. */
	readonly targetValue?: string;
	readonly adjustments: Adjustments;
}

export interface TimeWindow extends Schedule {
	readonly id: string;
	readonly name: string;
	readonly enabled: boolean;
	/** Lower ones win overrides. */
	readonly order: number;
	readonly rules: readonly WindowRule[];
}

/** One step of an explanation: which window changed what. */
export interface AdjustmentStep {
	readonly window: string;
	readonly target: string;
	readonly name: AdjustmentName;
	readonly value: number;
	/** Another window's override stands before it. */
	readonly overruled: boolean;
}

/** All windows that hold, taken together for one request. */
export interface Adjusted {
	/** Level that stands in place of any other. */
	readonly priorityOverride: number | undefined;
	/** Added to the level; positive is worse. */
	readonly priorityDelta: number;
	readonly bucketShift: number;
	readonly weightMultiplier: number;
	readonly quotaMultiplier: number;
	readonly queueTimeoutMultiplier: number;
	readonly maxQueueDepthMultiplier: number;
	readonly costMultiplier: number;
	/** Names of the windows that have a rule for it, in order. */
	readonly windows: readonly string[];
}

export const UNADJUSTED: Adjusted = {
	priorityOverride: undefined,
	priorityDelta: 0,
	bucketShift: 0,
	weightMultiplier: 1,
	quotaMultiplier: 1,
	queueTimeoutMultiplier: 1,
	maxQueueDepthMultiplier: 1,
	costMultiplier: 1,
	windows: [],
};

export function compareWindows(a: TimeWindow, b: TimeWindow): number {
	return a.order - b.order || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
}

/** The windows that hold at an instant. Immutable; another set is another object. */
export class ActiveWindows {
	/** In order. */
	readonly windows: readonly TimeWindow[];
	readonly #adjusted = new WeakMap<RoutingMetadata, Adjusted>();

	constructor(windows: readonly TimeWindow[]) {
		this.windows = [...windows].sort(compareWindows);
	}

	adjust(metadata: RoutingMetadata): Adjusted {
		if (this.windows.length === 0) return UNADJUSTED;
		let adjusted = this.#adjusted.get(metadata);
		if (adjusted === undefined) {
			adjusted = combine(this.steps(metadata));
			this.#adjusted.set(metadata, adjusted);
		}
		return adjusted;
	}

	/** Every adjustment that concerns a request, in order. */
	steps(metadata: RoutingMetadata): readonly AdjustmentStep[] {
		return this.#stepsOf((rule) => concerns(rule, metadata));
	}

	/** What stands in place of `[capacity_guard] internal_limit_pct`, as a fraction. */
	get internalLimit(): number | undefined {
		const steps = this.#stepsOf((rule) => rule.targetType === "all");
		return steps.find(({ name }) => name === "internalLimitPct")?.value;
	}

	/** What holds for pools as a whole: the product of `capacity_multiplier` of target `all`. */
	get capacityMultiplier(): number {
		const steps = this.#stepsOf((rule) => rule.targetType === "all");
		return steps.reduce((product, { name, value }) => (name === "capacityMultiplier" ? product * value : product), 1);
	}

	/** The most that a tier may use under the capacity guard, as a fraction: the product of `capacity_multiplier` of its target. */
	get tierShares(): ReadonlyMap<string, number> {
		const shares = new Map<string, number>();
		for (const window of this.windows)
			for (const { targetType, targetValue, adjustments } of window.rules) {
				const share = adjustments.capacityMultiplier;
				if (targetType === "tier" && targetValue !== undefined && share !== undefined)
					shares.set(targetValue, (shares.get(targetValue) ?? 1) * share);
			}
		return shares;
	}

	#stepsOf(isMeant: (rule: WindowRule) => boolean): readonly AdjustmentStep[] {
		const steps: AdjustmentStep[] = [];
		const overridden = new Set<AdjustmentName>();
		for (const window of this.windows) {
			for (const rule of window.rules) {
				if (!isMeant(rule)) continue;
				const target = rule.targetValue === undefined ? rule.targetType : `${rule.targetType} ${rule.targetValue}`;
				for (const [name, value] of Object.entries(rule.adjustments) as [AdjustmentName, number][]) {
					steps.push({ window: window.name, target, name, value, overruled: overridden.has(name) });
					if ((OVERRIDES as readonly string[]).includes(name)) overridden.add(name);
				}
			}
		}
		return steps;
	}
}

function concerns({ targetType, targetValue }: WindowRule, metadata: RoutingMetadata): boolean {
	switch (targetType) {
		case "all":
			return true;
		case "environment":
			return metadata.environment === targetValue;
		case "tier":
			return metadata.tier === targetValue;
		case "account_tier":
			return metadata.accountTier === targetValue;
		case "workload":
			return metadata.workload === targetValue;
		case "account":
			return metadata.accountId === targetValue;
	}
}

function combine(steps: readonly AdjustmentStep[]): Adjusted {
	const sum = (of: AdjustmentName) =>
		steps.reduce((total, { name, value }) => (name === of ? total + value : total), 0);
	const product = (of: AdjustmentName) =>
		steps.reduce((total, { name, value }) => (name === of ? total * value : total), 1);
	return {
		priorityOverride: steps.find(({ name }) => name === "priorityOverride")?.value,
		priorityDelta: sum("priorityDelta"),
		bucketShift: sum("bucketShift"),
		weightMultiplier: product("weightMultiplier"),
		quotaMultiplier: product("quotaMultiplier"),
		queueTimeoutMultiplier: product("queueTimeoutMultiplier"),
		maxQueueDepthMultiplier: product("maxQueueDepthMultiplier"),
		costMultiplier: product("costMultiplier"),
		windows: [...new Set(steps.map(({ window }) => window))],
	};
}

/** Where a request waits once the windows had their say: the override in place of its level, then the deltas, clamped. */
export function adjustAllocation(
	allocation: AllocationDecision,
	adjusted: Adjusted,
	allocator: Allocator,
	metadata: RoutingMetadata,
	rule: RoutingRule,
): AllocationDecision {
	const { priorityOverride, priorityDelta, bucketShift, windows } = adjusted;
	const base =
		priorityOverride === undefined
			? allocation
			: allocator.allocate({ ...metadata, token: { ...metadata.token, priorityOverride } }, rule);
	// A delta is a step between levels, a shift one between buckets.
	const step = allocator.kind === "priority" ? priorityDelta : bucketShift;
	const queue = clampLevel(base.queue + step, allocator.queues.length);
	if (queue === allocation.queue && priorityOverride === undefined) return allocation;
	return { ...base, queue, via: `window:${windows.join(", ")}` };
}
