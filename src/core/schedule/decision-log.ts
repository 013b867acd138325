/** Decisions waiting to be drained: a growing ring of numbers, read out into one reused object. */
import { DECISION_KINDS, type Decision, type DecisionKind, REASONS, type Reason, type Ticket } from "./decision.ts";

const INITIAL = 64;
/** Whole numbers of a decision. */
const FIELDS = 5;

export class DecisionLog {
	/** Power of two, so that the ring's end is a mask away. */
	#capacity = INITIAL;
	#kinds: DecisionKind[] = Array(INITIAL).fill(DECISION_KINDS[0]);
	#reasons: Reason[] = Array(INITIAL).fill(REASONS[0]);
	/** Ticket, pool, queue, payer, endpoint of each decision. */
	#numbers = new Int32Array(INITIAL * FIELDS);
	#waits = new Float64Array(INITIAL);
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
		if (this.#length === this.#capacity) this.#grow();
		const place = (this.#read + this.#length) & (this.#capacity - 1);
		this.#kinds[place] = kind;
		this.#reasons[place] = reason;
		this.#waits[place] = waitMs;
		const numbers = this.#numbers;
		const at = place * FIELDS;
		numbers[at] = ticket;
		numbers[at + 1] = pool;
		numbers[at + 2] = queue;
		numbers[at + 3] = payer;
		numbers[at + 4] = endpoint;
		this.#length++;
	}

	next(): Decision | undefined {
		if (this.#length === 0) return undefined;
		const place = this.#read;
		const numbers = this.#numbers;
		const at = place * FIELDS;
		const decision = this.#decision;
		decision.kind = this.#kinds[place]!;
		decision.reason = this.#reasons[place]!;
		decision.waitMs = this.#waits[place]!;
		decision.ticket = numbers[at]!;
		decision.pool = numbers[at + 1]!;
		decision.queue = numbers[at + 2]!;
		decision.payer = numbers[at + 3]!;
		decision.endpoint = numbers[at + 4]!;
		this.#read = (place + 1) & (this.#capacity - 1);
		this.#length--;
		return decision;
	}

	/** Doubles a full ring, its oldest decision first. */
	#grow(): void {
		const read = this.#read;
		const capacity = this.#capacity * 2;
		this.#kinds = [...this.#kinds.slice(read), ...this.#kinds.slice(0, read), ...this.#kinds];
		this.#reasons = [...this.#reasons.slice(read), ...this.#reasons.slice(0, read), ...this.#reasons];
		const waits = new Float64Array(capacity);
		waits.set(this.#waits.subarray(read));
		waits.set(this.#waits.subarray(0, read), this.#capacity - read);
		const numbers = new Int32Array(capacity * FIELDS);
		numbers.set(this.#numbers.subarray(read * FIELDS));
		numbers.set(this.#numbers.subarray(0, read * FIELDS), (this.#capacity - read) * FIELDS);
		this.#waits = waits;
		this.#numbers = numbers;
		this.#capacity = capacity;
		this.#read = 0;
	}
}
