/**
 * External requests that wait for the capacity guard to open (`action = queue`): before the scheduler, in the order in which they came, within the
 * depth and the time-out of their queues. Time is an argument: whoever drives this looks every `HOLD_LOOK_MS` while there are any.
 */
import type { Millis } from "../model/units.ts";
import type { CapacityGuard } from "./capacity-guard.ts";

export const HOLD_LOOK_MS: Millis = 250;

interface Place {
	readonly queue: number;
	readonly since: Millis;
	readonly timeoutMs: Millis;
	readonly tier: string;
}

export interface Released<R> {
	readonly request: R;
	readonly heldMs: Millis;
	/** It waited as long as it may. */
	readonly timedOut: boolean;
}

export class GuardHold<R> {
	readonly #guard: CapacityGuard;
	readonly #held = new Map<R, Place>();

	constructor(guard: CapacityGuard) {
		this.#guard = guard;
	}

	get size(): number {
		return this.#held.size;
	}

	/** Holds a request of a queue in which at most `maxDepth` may wait; false when so many do. */
	add(request: R, tier: string, queue: number, timeoutMs: Millis, maxDepth: number, now: Millis): boolean {
		let depth = 0;
		for (const place of this.#held.values()) if (place.queue === queue) depth++;
		if (depth >= maxDepth) return false;
		this.#held.set(request, { queue, since: now, timeoutMs, tier });
		return true;
	}

	/** True when it was held. */
	remove(request: R): boolean {
		return this.#held.delete(request);
	}

	/** Those that are held no longer, since the guard lets their tier in or their time is up. */
	look(now: Millis): readonly Released<R>[] {
		// One answer for a tier at an instant.
		const mayRun = new Map<string, boolean>();
		const released: Released<R>[] = [];
		for (const [request, { since, timeoutMs, tier }] of this.#held) {
			const heldMs = now - since;
			const timedOut = heldMs >= timeoutMs;
			if (!mayRun.has(tier)) mayRun.set(tier, this.#guard.keepsOut(tier, now) === undefined);
			if (timedOut || mayRun.get(tier) === true) released.push({ request, heldMs, timedOut });
		}
		for (const { request } of released) this.#held.delete(request);
		return released;
	}
}
