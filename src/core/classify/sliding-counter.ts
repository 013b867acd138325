/**
 * Counts uses per key in a sliding window, exactly: in any window of `windowMs`, at most `limit` uses are granted.
 *
 * Keeps the instants of the last `limit` uses of each key. Memory is bounded by `maxKeys`; beyond that the key longest
 * unused is forgotten. Time is an argument and must not run backwards for a key.
 */
import type { Millis } from "../model/units.ts";

interface Uses {
	/** A ring of instants; the slot at `next` is the oldest. */
	readonly at: Float64Array;
	next: number;
}

export class SlidingCounter {
	readonly limit: number;
	readonly windowMs: Millis;
	readonly #maxKeys: number;
	readonly #uses = new Map<string, Uses>();

	constructor(limit: number, windowMs: Millis, maxKeys = 10_000) {
		this.limit = limit;
		this.windowMs = windowMs;
		this.#maxKeys = maxKeys;
	}

	/** Grants a use and answers 0, or answers the milliseconds until the next use can be granted (nothing is counted then). */
	take(key: string, now: Millis): Millis {
		const uses = this.#uses.get(key) ?? { at: new Float64Array(this.limit).fill(Number.NEGATIVE_INFINITY), next: 0 };
		const waitMs = this.waitMs(key, now);
		if (waitMs > 0) return waitMs;
		uses.at[uses.next] = now;
		uses.next = (uses.next + 1) % this.limit;
		// Insertion order of the map is the order of last use.
		this.#uses.delete(key);
		this.#uses.set(key, uses);
		if (this.#uses.size > this.#maxKeys) this.#forgetOldest();
		return 0;
	}

	/** What `take` would answer; counts nothing. */
	waitMs(key: string, now: Millis): Millis {
		const uses = this.#uses.get(key);
		return uses === undefined ? 0 : Math.max(0, uses.at[uses.next]! + this.windowMs - now);
	}

	get size(): number {
		return this.#uses.size;
	}

	#forgetOldest(): void {
		for (const key of this.#uses.keys()) {
			this.#uses.delete(key);
			return;
		}
	}
}
