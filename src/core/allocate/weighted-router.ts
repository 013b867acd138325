/**
 * Two allocators in proportion (design 01 §3): each account belongs to one of them, by a hash of its id, so all gateways and all starts agree.
 * As `bucket_weight` grows accounts move from levels to buckets and none moves back.
 */
import { type HalfCapacity, halfAt } from "../schedule/halves.ts";
import type { Allocator } from "./allocator.ts";

export class WeightedRouter {
	/** Priority levels first, then buckets. */
	readonly allocators: readonly [Allocator, Allocator];
	readonly halves: readonly HalfCapacity[];

	constructor(allocators: readonly [Allocator, Allocator], halves: readonly HalfCapacity[]) {
		this.allocators = allocators;
		this.halves = halves;
	}

	halfOf(point: number): 0 | 1 {
		return halfAt(point, this.halves);
	}
}

/** Parts of 1 that two weights stand for; not both are 0. */
export function sharesOf(priorityWeight: number, bucketWeight: number): readonly [number, number] {
	const sum = priorityWeight + bucketWeight;
	return [priorityWeight / sum, bucketWeight / sum];
}

/**
 * Where an account stands in [0, 1): FNV-1a over UTF-16 code units with the finaliser of MurmurHash3 (both in the public domain), so that ids which
 * differ in their last digit alone are far apart.
 */
export function accountPoint(accountId: string): number {
	let hash = 0x811c9dc5;
	for (let at = 0; at < accountId.length; at++) hash = Math.imul(hash ^ accountId.charCodeAt(at), 0x01000193);
	hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
	hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
	return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
