/**
 * Priority levels (design 01 §3): 2 to 20 queues, 0 is the best. Level = token override → hint → rule → default, clamped.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { AllocationDecision, QueueSettings, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { type Allocator, clampLevel } from "./allocator.ts";
import { type QueueOverrides, queueDefaults, STANDARD_LEVELS, withOverrides } from "./queue-defaults.ts";

export const MIN_LEVELS = 2;
export const MAX_LEVELS = 20;

export interface PrioritySettings {
	/** 2 to 20. */
	readonly levels: number;
	/** For requests to which neither token nor hint nor rule gives a level. */
	readonly defaultPriority: number;
	/** Best first; as many as levels. */
	readonly weights?: readonly number[];
	/** By level. */
	readonly overrides?: ReadonlyMap<number, QueueOverrides>;
}

/** The queues, best first. Settings are validated before (config); a count that cannot be is a bug. */
export function priorityQueues(settings: PrioritySettings): readonly QueueSettings[] {
	const { levels, weights, overrides } = settings;
	if (!Number.isInteger(levels) || levels < MIN_LEVELS || levels > MAX_LEVELS)
		throw new InvariantError(`priority_levels = ${levels}; allowed: ${MIN_LEVELS} to ${MAX_LEVELS}`);
	if (weights !== undefined && weights.length !== levels)
		throw new InvariantError(`${weights.length} weights for ${levels} priority levels`);
	return Array.from({ length: levels }, (_, level) => {
		const { name, maxDepth, timeoutMs } = queueDefaults(level, levels);
		const weight = weights?.[level] ?? defaultWeight(level, levels);
		return withOverrides({ label: `P${level}`, name, maxDepth, timeoutMs, weight }, overrides?.get(level));
	});
}

/** The table's weight with five levels, else geometric from its first to its last. */
function defaultWeight(level: number, levels: number): number {
	if (levels === STANDARD_LEVELS.length) return STANDARD_LEVELS[level]!.weight;
	const first = STANDARD_LEVELS[0]!.weight;
	const last = STANDARD_LEVELS.at(-1)!.weight;
	return first * (last / first) ** (level / (levels - 1));
}

export function createPriorityAllocator(settings: PrioritySettings): Allocator {
	return new PriorityAllocator(settings);
}

class PriorityAllocator implements Allocator {
	readonly kind = "priority";
	readonly queues: readonly QueueSettings[];
	readonly #byToken: readonly AllocationDecision[];
	readonly #byHint: readonly AllocationDecision[];
	readonly #byRule: readonly AllocationDecision[];
	readonly #byDefault: AllocationDecision;

	constructor(settings: PrioritySettings) {
		this.queues = priorityQueues(settings);
		const decisions = (via: string): readonly AllocationDecision[] =>
			this.queues.map((_, queue): AllocationDecision => ({ queue, mode: "strict", via }));
		this.#byToken = decisions("token_override");
		this.#byHint = decisions("header_hint");
		this.#byRule = decisions("rule");
		this.#byDefault = this.#pick(decisions("default"), settings.defaultPriority);
	}

	allocate(metadata: RoutingMetadata, rule: RoutingRule, hintedPriority?: number): AllocationDecision {
		const override = metadata.token?.priorityOverride;
		if (override !== undefined) return this.#pick(this.#byToken, override);
		const hint = hintedPriority ?? metadata.priorityHint;
		if (hint !== undefined) return this.#pick(this.#byHint, hint);
		if (rule.assignPriority !== undefined) return this.#pick(this.#byRule, rule.assignPriority);
		return this.#byDefault;
	}

	#pick(decisions: readonly AllocationDecision[], level: number): AllocationDecision {
		return decisions[clampLevel(level, decisions.length)]!;
	}
}
