/**
 * A limit on a rate, pre-paid: a request is admitted only when the balance covers its cost, so that what is admitted in any τ is at
 * most burst + rate·τ, exactly. For limits of rules and of protection; ceilings of the scheduler are post-paid (`rate-bucket.ts`).
 */
import type { Millis } from "../model/units.ts";

export class RateLimit {
	readonly #ratePerMs: number;
	readonly #burst: number;
	#balance: number;
	#at: Millis;

	constructor(ratePerSec: number, burst: number, now: Millis) {
		this.#ratePerMs = ratePerSec / 1000;
		this.#burst = burst;
		this.#balance = burst;
		this.#at = now;
	}

	/** Takes `amount` and answers 0, or takes nothing and answers how long until it could; `Infinity` when it never could. */
	take(amount: number, now: Millis): Millis {
		this.#refill(now);
		if (amount <= this.#balance) {
			this.#balance -= amount;
			return 0;
		}
		return amount > this.#burst ? Number.POSITIVE_INFINITY : (amount - this.#balance) / this.#ratePerMs;
	}

	/** Returns part of what was taken. */
	giveBack(amount: number, now: Millis): void {
		this.#refill(now);
		this.#balance = Math.min(this.#burst, this.#balance + amount);
	}

	#refill(now: Millis): void {
		if (now <= this.#at) return;
		this.#balance = Math.min(this.#burst, this.#balance + (now - this.#at) * this.#ratePerMs);
		this.#at = now;
	}
}
