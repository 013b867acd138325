/**
 * A ceiling on a rate, post-paid: dispatch while the balance is positive, debit what it cost, true up later. Balance stays in
 * [−burst, +burst]: what lies beyond is not charged (an engine's speed varies, a long debt would only block better work).
 *
 * Consumption over any interval τ ≤ burst + rate·τ + the largest single debit + the estimation error.
 */
import { MILLIS_PER_SECOND, type Millis } from "../model/units.ts";

/** Below this a balance counts as spent; keeps rounding from waking twice. */
const SPENT = 1e-6;
const SHORTEST_WAIT: Millis = 1e-3;

export class RateBucket {
	#ratePerMs: number;
	#burst: number;
	#balance: number;
	#at: Millis;

	/**
	 * @param ratePerSec units per second; `Infinity` is no ceiling
	 * @param burst largest balance, in units
	 */
	constructor(ratePerSec: number, burst: number, now: Millis) {
		this.#ratePerMs = ratePerSec / MILLIS_PER_SECOND;
		this.#burst = burst;
		this.#balance = burst;
		this.#at = now;
	}

	/** Units per second. */
	get ratePerSec(): number {
		return this.#ratePerMs * MILLIS_PER_SECOND;
	}

	isReady(now: Millis): boolean {
		this.#refill(now);
		return this.#balance > SPENT;
	}

	/** The instant at which it will be ready if nothing is debited until then. */
	readyAt(now: Millis): Millis {
		this.#refill(now);
		if (this.#balance > SPENT) return now;
		// Less than the clock can tell apart would wake at this very instant again.
		return now + Math.max(SHORTEST_WAIT, (2 * SPENT - this.#balance) / this.#ratePerMs);
	}

	/** Takes `amount` (negative gives back). */
	debit(amount: number, now: Millis): void {
		this.#refill(now);
		this.#balance = Math.max(-this.#burst, Math.min(this.#burst, this.#balance - amount));
	}

	/** Changes rate and burst; the balance is kept within the new bounds. */
	configure(ratePerSec: number, burst: number, now: Millis): void {
		this.#refill(now);
		this.#ratePerMs = ratePerSec / MILLIS_PER_SECOND;
		this.#burst = burst;
		this.#balance = Math.max(-burst, Math.min(burst, this.#balance));
	}

	/** Lets `burstSeconds` of its rate gather. */
	spread(burstSeconds: number, now: Millis): void {
		this.configure(this.ratePerSec, Math.max(1, this.ratePerSec * burstSeconds), now);
	}

	balance(now: Millis): number {
		this.#refill(now);
		return this.#balance;
	}

	#refill(now: Millis): void {
		if (now <= this.#at) return;
		this.#balance = Math.min(this.#burst, this.#balance + (now - this.#at) * this.#ratePerMs);
		this.#at = now;
	}
}

/** A bucket for a ceiling of a queue or pool, or nothing when there is none. */
export function rateBucket(
	ratePerSec: number | undefined,
	burstSeconds: number,
	smallestBurst: number,
	now: Millis,
): RateBucket | undefined {
	if (ratePerSec === undefined || ratePerSec === Number.POSITIVE_INFINITY) return undefined;
	return new RateBucket(ratePerSec, Math.max(smallestBurst, ratePerSec * burstSeconds), now);
}
