/** Decisions waiting to be drained: a growing ring of objects that are written once and handed out as they are. */
import type { Decision, DecisionKind, Reason, Ticket } from "./decision.ts";

const INITIAL = 64;

export class DecisionLog {
	/** Its length is a power of two, so that the ring's end is a mask away. */
	#ring: Decision[] = Array.from({ length: INITIAL }, emptyDecision);
	#read = 0;
	#length = 0;

	push(
		kind: DecisionKind,
		ticket: Ticket,
		pool: number,
		queue: number,
		payer: number,
		endpoint: number,
		reason: Reason,
		waitMs: number,
	): void {
		// One place stays free: the decision handed out last is read until `next` is called again.
		if (this.#length === this.#ring.length - 1) this.#grow();
		const ring = this.#ring;
		const decision = ring[(this.#read + this.#length) & (ring.length - 1)]!;
		decision.kind = kind;
		decision.ticket = ticket;
		decision.pool = pool;
		decision.queue = queue;
		decision.payer = payer;
		decision.endpoint = endpoint;
		decision.reason = reason;
		decision.waitMs = waitMs;
		this.#length++;
	}

	next(): Decision | undefined {
		if (this.#length === 0) return undefined;
		const ring = this.#ring;
		const decision = ring[this.#read]!;
		this.#read = (this.#read + 1) & (ring.length - 1);
		this.#length--;
		return decision;
	}

	/** Doubles the ring, its oldest decision first. */
	#grow(): void {
		const ring = this.#ring;
		const read = this.#read;
		const fresh = Array.from({ length: ring.length }, emptyDecision);
		this.#ring = [...ring.slice(read), ...ring.slice(0, read), ...fresh];
		this.#read = 0;
	}
}

function emptyDecision(): Decision {
	// NaN: the engine then keeps the field as a double from the start.
	return {
		kind: "wait",
		ticket: 0,
		pool: 0,
		queue: 0,
		payer: 0,
		endpoint: -1,
		reason: "none",
		waitMs: Number.NaN,
	};
}
