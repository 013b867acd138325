/** Recent throughput of a pool in tokens: an exponentially weighted rate over `WINDOW_MS`, for rough estimates of waits only. */
import type { Millis, Tokens } from "../model/units.ts";

const WINDOW_MS: Millis = 10_000;
/** What ends within so short a time counts as ended together: an exponential is the dearest step of a request's end. */
const GRAIN_MS: Millis = 1;

export class Throughput {
	#weighted = 0;
	#at: Millis = 0;
	#startedAt: Millis = Number.NaN;

	record(tokens: Tokens, now: Millis): void {
		if (Number.isNaN(this.#startedAt)) {
			this.#startedAt = now;
			this.#at = now;
		}
		if (now - this.#at >= GRAIN_MS) {
			this.#weighted *= Math.exp((this.#at - now) / WINDOW_MS);
			this.#at = now;
		}
		this.#weighted += tokens;
	}

	/** Tokens per second; 0 before anything was recorded. */
	perSecond(now: Millis): number {
		if (Number.isNaN(this.#startedAt)) return 0;
		const decayed = this.#weighted * Math.exp((this.#at - now) / WINDOW_MS);
		const covered = 1 - Math.exp((this.#startedAt - now) / WINDOW_MS);
		return covered <= 0 ? 0 : (decayed / (WINDOW_MS * covered)) * 1000;
	}
}
