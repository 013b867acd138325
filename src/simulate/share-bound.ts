/**
 * How long requests wait at most behind an assured share, whatever all others do: as if they had that share as a server of their own.
 *
 * Source: Parekh and Gallager 1993; a packet scheduler that assures a rate g finishes a request no later than a server of rate g that serves only
 * its flow, plus the time of one largest request of anybody on the whole capacity. The bound is for the finish, so for the start all the more.
 *
 * Units: milliseconds; costs and rates in the same unit (requests or tokens, per second).
 */
import type { Millis } from "../core/model/units.ts";

export class ShareBound {
	readonly #perMs: number;
	#free: Millis = 0;

	/** @param ratePerSecond above 0 */
	constructor(ratePerSecond: number) {
		this.#perMs = ratePerSecond / 1000;
	}

	/** Of requests in the order of their arrival: the longest that this one waits, but for the largest request of all. */
	wait(arrivalMs: Millis, cost: number): Millis {
		this.#free = Math.max(this.#free, arrivalMs) + cost / this.#perMs;
		return this.#free - arrivalMs;
	}
}
