/**
 * `target_ttft_p99`: how hard to press on everything else so that the levels in `headroom_for` get their first token in time, counted from
 * dispatch. Pressure rises by one while their P99 misses the target and falls by one after it has been well below it.
 *
 * The first steps keep more slots free for them, the next ones shorten the prefill window of the others, the last ones lower the limit
 * itself: what helps without costing throughput comes first.
 */
import type { Millis } from "../model/units.ts";
import { RecentTimes } from "./recent-times.ts";

const P99 = 0.99;
const EVERY_MS: Millis = 2000;
const WELL_BELOW = 0.8;
/** Answers since the last change that are needed to press harder, and to press less: a P99 of fewer than a hundred says little. */
const FEWEST = 3;
const MANY = 100;
/** Further off than this the steps are longer. */
const FAR = 2;
const LONG_STEP = 3;
const HEADROOM_STEPS = 2;
const WINDOW_STEPS = 2;
const LIMIT_STEPS = 40;
const LIMIT_FACTOR = 0.93;

export interface Pressure {
	/** Slots to keep free beyond what waits ask for, as a fraction of the largest headroom. */
	readonly headroomShare: number;
	/** Of the prefill window. */
	readonly windowFactor: number;
	/** Of the limit. */
	readonly limitFactor: number;
}

export class LatencyTarget {
	readonly #targetMs: Millis;
	readonly #times = new RecentTimes();
	#steps = 0;
	#changedAt: Millis = 0;

	constructor(targetMs: Millis) {
		this.#targetMs = targetMs;
	}

	answered(ttftMs: Millis, now: Millis): void {
		this.#times.add(ttftMs, now);
	}

	tick(now: Millis): Pressure {
		if (now - this.#changedAt >= EVERY_MS && this.#times.count >= FEWEST) {
			const p99 = this.#times.quantile(P99, this.#changedAt) ?? 0;
			const before = this.#steps;
			const step = p99 > FAR * this.#targetMs ? LONG_STEP : 1;
			if (p99 > this.#targetMs) this.#steps = Math.min(before + step, ALL_STEPS);
			else if (p99 < WELL_BELOW * this.#targetMs && this.#times.count >= MANY) this.#steps = Math.max(0, before - 1);
			if (this.#steps !== before) {
				this.#changedAt = now;
				this.#times.clear();
			}
		}
		const window = clamp(this.#steps - HEADROOM_STEPS, 0, WINDOW_STEPS);
		const limit = clamp(this.#steps - HEADROOM_STEPS - WINDOW_STEPS, 0, LIMIT_STEPS);
		return {
			headroomShare: Math.min(this.#steps, HEADROOM_STEPS) / HEADROOM_STEPS,
			windowFactor: 2 ** -window,
			limitFactor: LIMIT_FACTOR ** limit,
		};
	}
}

const ALL_STEPS = HEADROOM_STEPS + WINDOW_STEPS + LIMIT_STEPS;

function clamp(value: number, min: number, max: number): number {
	return Math.max(min, Math.min(max, value));
}
