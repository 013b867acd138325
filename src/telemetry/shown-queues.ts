/**
 * Which queues of a pool have series of their own: all up to a number, above it those that were active lately, and ranges of ten that sum up everything
 * above it. Cardinality so stays bounded however many buckets there are.
 */
import type { Millis } from "../core/model/units.ts";

export interface Exposure {
	/** `max_exposed_buckets`; levels are never that many. */
	readonly maxExposed: number;
	/** `aggregate_inactive_threshold`. */
	readonly inactiveMs: Millis;
	/** `bucket_range_aggregation`. */
	readonly ranges: boolean;
}

export interface ShownQueue {
	/** `7`, or `20-29`. */
	readonly label: string;
	/** First and last queue that it stands for. */
	readonly first: number;
	readonly last: number;
}

const RANGE = 10;

/** `isActive`: whether a queue had something to do within the threshold. */
export function shownQueues(
	count: number,
	exposure: Exposure,
	isActive: (queue: number) => boolean,
): readonly ShownQueue[] {
	const shown: ShownQueue[] = [];
	for (let queue = 0; queue < count; queue++) {
		if (queue < exposure.maxExposed || isActive(queue)) shown.push({ label: String(queue), first: queue, last: queue });
	}
	if (!exposure.ranges || count <= exposure.maxExposed) return shown;
	for (let first = exposure.maxExposed; first < count; first = (Math.floor(first / RANGE) + 1) * RANGE) {
		const last = Math.min(count, (Math.floor(first / RANGE) + 1) * RANGE) - 1;
		shown.push({ label: `${first}-${last}`, first, last });
	}
	return shown;
}
