/**
 * Assured rates of queues (design 01 §5): a queue that has used less than `reserved_tps` of late goes first as soon as room ends; what it does not use
 * is lent, unless it said otherwise, and comes back as work finishes.
 *
 * "Of late" is a post-paid bucket at that rate: consumption up to the reservation is paid from it, what lies beyond stands in the scheduler's
 * order. What is not lent is kept free as space: `reserved_tps` of the pool's `max_tokens_per_sec`, less what the queue has in flight. Where
 * the reservations sum to more than the pool does per second (it shrank), all are cut in proportion.
 */
import type { Millis, Tokens } from "../model/units.ts";
import { RateBucket } from "./rate-bucket.ts";
import { shareOut } from "./share-out.ts";

export interface ReservedQueue {
	/** Tokens per second; absent or 0 is none. */
	readonly reservedTps: number | undefined;
	readonly lendable: boolean;
}

export class Reservations {
	/** By queue; absent where nothing is assured. */
	readonly #buckets: (RateBucket | undefined)[];
	/** Part of the pool's space that a queue does not lend. */
	readonly #unlent: readonly number[];
	readonly #reserved: readonly number[];

	/** @param poolTps what the pool does per second at most; `Infinity` when nobody said */
	constructor(
		queues: readonly ReservedQueue[],
		poolTps: number,
		burstSeconds: number,
		now: Millis,
		before?: Reservations,
	) {
		const wanted = queues.map(({ reservedTps }) => reservedTps ?? 0);
		const total = wanted.reduce((sum, rate) => sum + rate, 0);
		const rates = shareOut(
			Math.min(poolTps, total),
			wanted.map((rate) => ({ target: rate, lower: 0, upper: rate })),
		);
		this.#buckets = rates.map((rate, queue) => {
			if (rate <= 0) return undefined;
			const burst = Math.max(1, rate * burstSeconds);
			const bucket = before === undefined ? undefined : before.#buckets[queue];
			bucket?.configure(rate, burst, now);
			return bucket ?? new RateBucket(rate, burst, now);
		});
		this.#reserved = rates.flatMap((rate, queue) => (rate > 0 ? [queue] : []));
		this.#unlent = rates.map((rate, queue) =>
			queues[queue]!.lendable || !Number.isFinite(poolTps) ? 0 : rate / poolTps,
		);
	}

	get isEmpty(): boolean {
		return this.#reserved.length === 0;
	}

	/** The best queue of `waits` that has used less than it is assured of, or -1. */
	pick(waits: (queue: number) => boolean, now: Millis): number {
		for (const queue of this.#reserved) if (waits(queue) && this.#buckets[queue]!.isReady(now)) return queue;
		return -1;
	}

	/** A queue was charged; negative gives back. */
	charge(queue: number, tokens: Tokens, now: Millis): void {
		this.#buckets[queue]?.debit(tokens, now);
	}

	/** Part of the pool's space that others than `queue` are assured of, do not use, and do not lend. */
	keptFrom(queue: number, shareInFlight: (queue: number) => number): number {
		let kept = 0;
		for (const other of this.#reserved) {
			const unlent = this.#unlent[other]!;
			if (other !== queue && unlent > 0) kept += Math.max(0, unlent - shareInFlight(other));
		}
		return kept;
	}
}
