/**
 * `headroom = auto`: how many slots are kept free for the levels in `headroom_for`. One more while their P99 wait exceeds the target, one
 * less after it has stayed below half of it for a while; never more than `max` of the limit.
 *
 * How much is needed depends on the engine: of 128 slots one is free every 60 ms, of 8 one every second.
 */
import type { Millis } from "../model/units.ts";
import { RecentTimes } from "./recent-times.ts";

const P99 = 0.99;
/** Waits that began before a change say nothing about it. */
const SETTLE_MS: Millis = 2000;
const MEMORY_MS: Millis = 30_000;
const CALM_MS: Millis = 30_000;

export interface HeadroomSettings {
	/** Fraction of the limit at the start. */
	readonly initial: number;
	readonly max: number;
	readonly targetWaitMs: Millis;
}

export class HeadroomController {
	readonly #settings: HeadroomSettings;
	readonly #waits = new RecentTimes();
	#slots: number | undefined;
	#changedAt: Millis = 0;
	#calmSince: Millis = 0;

	constructor(settings: HeadroomSettings) {
		this.#settings = settings;
	}

	waited(waitMs: Millis, now: Millis): void {
		this.#waits.add(waitMs, now);
	}

	/** Slots to keep free of `limit`. */
	tick(limit: number, now: Millis): number {
		const { initial, max, targetWaitMs } = this.#settings;
		const most = Math.floor(limit * max);
		const slots = this.#slots ?? Math.ceil(limit * initial);
		const p99 = this.#waits.quantile(P99, now - MEMORY_MS);
		if (p99 === undefined || p99 >= targetWaitMs / 2) this.#calmSince = now;
		let next = slots;
		if (p99 !== undefined && p99 > targetWaitMs && now - this.#changedAt >= SETTLE_MS) next = slots + 1;
		else if (now - this.#calmSince >= CALM_MS) next = slots - 1;
		next = Math.max(Math.min(1, most), Math.min(most, next));
		if (next !== slots) {
			this.#changedAt = now;
			this.#calmSince = now;
			this.#waits.clear();
		}
		this.#slots = next;
		return next;
	}
}
