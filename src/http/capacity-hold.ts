/** What the capacity guard holds (`core/capacity/guard-hold`) in a running gateway: looked at a few times a second while there is anything. */
import type { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { GuardHold, HOLD_LOOK_MS } from "../core/capacity/guard-hold.ts";
import type { Millis } from "../core/model/units.ts";
import type { Reason } from "../core/schedule/decision.ts";

/** What is held: one of the two is called, unless it was removed before. */
export interface HeldRequest {
	release(heldMs: Millis): void;
	ended(reason: Reason, waitMs: Millis): void;
}

export class CapacityHold {
	readonly #held: GuardHold<HeldRequest>;
	#timer: NodeJS.Timeout | undefined;

	constructor(guard: CapacityGuard) {
		this.#held = new GuardHold(guard);
	}

	get size(): number {
		return this.#held.size;
	}

	/** Holds a request of a queue in which at most `maxDepth` may wait. */
	add(request: HeldRequest, tier: string, queue: number, timeoutMs: Millis, maxDepth: number): void {
		if (!this.#held.add(request, tier, queue, timeoutMs, maxDepth, performance.now())) {
			request.ended("queue_full", 0);
			return;
		}
		this.#timer ??= setInterval(() => this.#look(), HOLD_LOOK_MS).unref();
	}

	/** True when it was held. */
	remove(request: HeldRequest): boolean {
		const wasHeld = this.#held.remove(request);
		this.#stopIfEmpty();
		return wasHeld;
	}

	#look(): void {
		for (const { request, heldMs, timedOut } of this.#held.look(performance.now())) {
			if (timedOut) request.ended("queue_timeout", heldMs);
			else request.release(heldMs);
		}
		this.#stopIfEmpty();
	}

	#stopIfEmpty(): void {
		if (this.#held.size > 0) return;
		clearInterval(this.#timer);
		this.#timer = undefined;
	}
}
