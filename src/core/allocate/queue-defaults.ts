/**
 * Depth, timeout and name that a queue has when nobody says otherwise: the table of five levels of design 01 §3, stretched over
 * any number of levels or buckets.
 */
import type { QueueSettings } from "../model/policy.ts";
import type { Millis } from "../model/units.ts";

export interface QueueDefaults {
	readonly name: string;
	readonly maxDepth: number;
	readonly timeoutMs: Millis;
	readonly weight: number;
}

/** The five standard levels, best first. */
export const STANDARD_LEVELS: readonly QueueDefaults[] = [
	{ name: "critical", maxDepth: 500, timeoutMs: 30_000, weight: 10 },
	{ name: "high", maxDepth: 500, timeoutMs: 30_000, weight: 5 },
	{ name: "standard", maxDepth: 1000, timeoutMs: 60_000, weight: 2 },
	{ name: "low", maxDepth: 2000, timeoutMs: 120_000, weight: 1 },
	{ name: "batch", maxDepth: 5000, timeoutMs: 300_000, weight: 0.5 },
];

/** The row of queue `index` of `count`: `round(4i/(n−1))`, halves up. */
export function queueDefaults(index: number, count: number): QueueDefaults {
	return STANDARD_LEVELS[Math.round(((STANDARD_LEVELS.length - 1) * index) / (count - 1))]!;
}

/** `[allocator.priority.level.N]` and `[allocator.bucket.N]`. */
export interface QueueOverrides {
	readonly name?: string;
	readonly maxDepth?: number;
	readonly timeoutMs?: Millis;
	readonly weight?: number;
	readonly reservedTps?: number;
	readonly limitTps?: number;
	readonly lendable?: boolean;
}

export function withOverrides(queue: QueueSettings, overrides: QueueOverrides | undefined): QueueSettings {
	return overrides === undefined ? queue : { ...queue, ...overrides };
}
