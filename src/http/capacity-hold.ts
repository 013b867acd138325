/**
 * External requests that wait for the capacity guard to open (`action = queue`): before the scheduler, in the order in which they came, within the
 * depth and the time-out of their queues. Looked at a few times a second while there are any.
 */
import type { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import type { Millis } from "../core/model/units.ts";
import type { Reason } from "../core/schedule/decision.ts";

const LOOK_MS: Millis = 250;

/** What is held: one of the two is called, unless it was removed before. */
export interface HeldRequest {
	release(heldMs: Millis): void;
	ended(reason: Reason, waitMs: Millis): void;
}

interface Place {
	readonly queue: number;
	readonly since: Millis;
	readonly timeoutMs: Millis;
}

export class CapacityHold {
	readonly #guard: CapacityGuard;
	readonly #held = new Map<HeldRequest, Place>();
	#timer: NodeJS.Timeout | undefined;

	constructor(guard: CapacityGuard) {
		this.#guard = guard;
	}

	get size(): number {
		return this.#held.size;
	}

	/** Holds a request of a queue in which at most `maxDepth` may wait. */
	add(request: HeldRequest, queue: number, timeoutMs: Millis, maxDepth: number): void {
		let depth = 0;
		for (const place of this.#held.values()) if (place.queue === queue) depth++;
		if (depth >= maxDepth) {
			request.ended("queue_full", 0);
			return;
		}
		this.#held.set(request, { queue, since: performance.now(), timeoutMs });
		this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
	}

	/** True when it was held. */
	remove(request: HeldRequest): boolean {
		const wasHeld = this.#held.delete(request);
		if (this.#held.size === 0) this.#stop();
		return wasHeld;
	}

	#look(): void {
		const now = performance.now();
		const isOpen = this.#guard.isOpen(now);
		for (const [request, { since, timeoutMs }] of [...this.#held]) {
			const heldMs = now - since;
			if (heldMs >= timeoutMs) {
				this.#held.delete(request);
				request.ended("queue_timeout", heldMs);
			} else if (isOpen) {
				this.#held.delete(request);
				request.release(heldMs);
			}
		}
		if (this.#held.size === 0) this.#stop();
	}

	#stop(): void {
		clearInterval(this.#timer);
		this.#timer = undefined;
	}
}
