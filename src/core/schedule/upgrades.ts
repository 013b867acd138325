/** Upgraded requests in flight, per lending bucket: how many, who is oldest, and how many ever went from where to where. */
import type { Ticket } from "./decision.ts";

export class Upgrades {
	readonly #inFlight: Int32Array;
	readonly #oldestFirst: Ticket[][];
	readonly #totals = new Map<number, number>();
	readonly #queues: number;

	constructor(queues: number) {
		this.#queues = queues;
		this.#inFlight = new Int32Array(queues);
		this.#oldestFirst = Array.from({ length: queues }, () => []);
	}

	count(lender: number): number {
		return this.#inFlight[lender]!;
	}

	add(lender: number, ticket: Ticket, borrower: number): void {
		this.#inFlight[lender] = this.#inFlight[lender]! + 1;
		this.#oldestFirst[lender]!.push(ticket);
		const key = borrower * this.#queues + lender;
		this.#totals.set(key, (this.#totals.get(key) ?? 0) + 1);
	}

	remove(lender: number): void {
		this.#inFlight[lender] = this.#inFlight[lender]! - 1;
	}

	/** Takes the longest-running upgraded ticket that still satisfies `isUpgraded`, or -1. */
	takeOldest(lender: number, isUpgraded: (ticket: Ticket) => boolean): Ticket {
		const tickets = this.#oldestFirst[lender]!;
		while (tickets.length > 0) {
			const ticket = tickets.shift()!;
			if (isUpgraded(ticket)) return ticket;
		}
		return -1;
	}

	/** Drops tickets that ended, so that a lender that is never crowded keeps no history. */
	compact(lender: number, isUpgraded: (ticket: Ticket) => boolean): void {
		const tickets = this.#oldestFirst[lender]!;
		if (tickets.length > 2 * this.#inFlight[lender]! + 8) {
			this.#oldestFirst[lender] = tickets.filter(isUpgraded);
		}
	}

	/** Upgrades ever made, as [from bucket, to bucket, count]. */
	*totals(): Generator<readonly [number, number, number]> {
		for (const [key, count] of this.#totals) {
			yield [Math.floor(key / this.#queues), key % this.#queues, count];
		}
	}
}
