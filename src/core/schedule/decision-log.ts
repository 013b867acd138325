/** Decisions waiting to be drained: a growing ring of numbers, read out into one reused object. */
import { DECISION_KINDS, type Decision, type DecisionKind, REASONS, type Reason, type Ticket } from "./decision.ts";

const FIELDS = 8;

const KIND_NUMBER = Object.fromEntries(DECISION_KINDS.map((kind, index) => [kind, index])) as Record<
	DecisionKind,
	number
>;
const REASON_NUMBER = Object.fromEntries(REASONS.map((reason, index) => [reason, index])) as Record<Reason, number>;

export class DecisionLog {
	#ring = new Float64Array(64 * FIELDS);
	#read = 0;
	#length = 0;
	readonly #decision: Decision = {
		kind: "wait",
		ticket: 0,
		pool: 0,
		queue: 0,
		payer: 0,
		endpoint: -1,
		reason: "none",
		waitMs: 0,
	};

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
		if (this.#length * FIELDS === this.#ring.length) this.#grow();
		const at = ((this.#read + this.#length) * FIELDS) % this.#ring.length;
		const ring = this.#ring;
		ring[at] = KIND_NUMBER[kind];
		ring[at + 1] = ticket;
		ring[at + 2] = pool;
		ring[at + 3] = queue;
		ring[at + 4] = payer;
		ring[at + 5] = endpoint;
		ring[at + 6] = REASON_NUMBER[reason];
		ring[at + 7] = waitMs;
		this.#length++;
	}

	next(): Decision | undefined {
		if (this.#length === 0) return undefined;
		const at = this.#read * FIELDS;
		const ring = this.#ring;
		const decision = this.#decision;
		decision.kind = DECISION_KINDS[ring[at]!]!;
		decision.ticket = ring[at + 1]!;
		decision.pool = ring[at + 2]!;
		decision.queue = ring[at + 3]!;
		decision.payer = ring[at + 4]!;
		decision.endpoint = ring[at + 5]!;
		decision.reason = REASONS[ring[at + 6]!]!;
		decision.waitMs = ring[at + 7]!;
		this.#read = (this.#read + 1) % (ring.length / FIELDS);
		this.#length--;
		return decision;
	}

	#grow(): void {
		const old = this.#ring;
		const larger = new Float64Array(old.length * 2);
		const start = this.#read * FIELDS;
		larger.set(old.subarray(start));
		larger.set(old.subarray(0, start), old.length - start);
		this.#ring = larger;
		this.#read = 0;
	}
}
