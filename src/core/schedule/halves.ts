/**
 * Two allocators side by side (design 01 §3, weighted router): every pool is then two, one for each, before the same endpoints. What each may
 * use is its share of the pool, so each side is an ordinary pool; what both have in flight together stays within the whole, also while
 * the shares change.
 *
 * In a core with halves, pool `half × n + p` is that half of the p-th of the n pools of its settings.
 */
import type { AllocatorKind, QueueSettings } from "../model/policy.ts";
import type { CapacitySettings } from "./core-settings.ts";

/** The part of every pool's capacity that belongs to a half. */
export interface HalfCapacity {
	/** 0 to 1; those of both halves sum to 1. A half without a share runs nothing: what waits there moves to the other. */
	readonly share: number;
	/** Ceilings of its own below its share of the pool's rates: of the half as it is, not scaled. Absent is none. */
	readonly maxTokensPerSec?: number;
	readonly maxRps?: number;
}

export interface HalfSettings extends HalfCapacity {
	readonly allocator: AllocatorKind;
	readonly queues: readonly QueueSettings[];
}

/** Where a request of one half would wait in the other, and the point in [0, 1) by which its half is found. */
export interface OtherPlace {
	readonly point: number;
	readonly pools: readonly number[];
	readonly queue: number;
	readonly mayUpgrade: boolean;
}

/** The half at a point: as the second half's share grows, points move there and none comes back. */
export function halfAt(point: number, [first]: readonly { readonly share: number }[]): 0 | 1 {
	return point < (first?.share ?? 1) ? 0 : 1;
}

/** A pool's capacity in two: slots and tokens add up to the whole exactly. */
export function splitCapacity(
	whole: CapacitySettings,
	halves: readonly HalfCapacity[],
): readonly [CapacitySettings, CapacitySettings] {
	const [first, second] = halves;
	const concurrent = parts(whole.maxConcurrent, first!.share);
	const tokens = parts(whole.maxInflightTokens, first!.share);
	return [part(whole, first!, concurrent[0], tokens[0]), part(whole, second!, concurrent[1], tokens[1])];
}

function part(
	whole: CapacitySettings,
	{ share, maxTokensPerSec = Number.POSITIVE_INFINITY, maxRps = Number.POSITIVE_INFINITY }: HalfCapacity,
	maxConcurrent: number,
	maxInflightTokens: number,
): CapacitySettings {
	// Without a share nothing starts there, so no rate is needed to say so.
	if (share === 0) return { ...whole, maxConcurrent: 0, maxInflightTokens: 0 };
	return {
		...whole,
		maxConcurrent,
		maxInflightTokens,
		maxPrefillTokens:
			whole.maxPrefillTokens === "auto" ? "auto" : Math.max(1, Math.floor(whole.maxPrefillTokens * share)),
		prefillWindowMs: whole.prefillWindowMs * share,
		maxTokensPerSec: Math.min(whole.maxTokensPerSec * share, maxTokensPerSec),
		maxRps: Math.min(whole.maxRps * share, maxRps),
	};
}

/** A half with a share has at least one, where there are two; one alone belongs to the larger half. */
function parts(whole: number, share: number): readonly [number, number] {
	if (share <= 0) return [0, whole];
	if (share >= 1) return [whole, 0];
	if (!Number.isFinite(whole)) return [whole, whole];
	if (whole < 2) return share >= 0.5 ? [whole, 0] : [0, whole];
	const first = Math.min(Math.max(Math.round(whole * share), 1), whole - 1);
	return [first, whole - first];
}
