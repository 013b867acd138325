/**
 * Per-request state of the whole core in typed arrays: the one file that hides them. A request is a row; a ticket is row and
 * generation, so that a ticket used after its end is noticed (`rowOf` returns -1).
 *
 * States: free → waiting → running → (aborting →) free, and running/aborting → waiting when it is taken back. Only
 * `SchedulingCore` and `Pool` move between them.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { Ticket } from "./decision.ts";

export const FREE = 0;
export const WAITING = 1;
export const RUNNING = 2;
/** Preempted: the engine was asked to abort it, its space is not free yet. */
export const ABORTING = 3;

const ROW_BITS = 22;
const ROW_LIMIT = 1 << ROW_BITS;
const GENERATIONS = 1 << (30 - ROW_BITS);

export const FLAG_MAY_UPGRADE = 1;
export const FLAG_OBSERVED = 2;
/** First token seen. */
export const FLAG_ANSWERED = 4;
/** Runs in the headroom ahead of its turn. */
export const FLAG_AHEAD = 8;
/** Counted in its endpoint's prefill window. */
export const FLAG_IN_WINDOW = 16;
/** Its client sees nothing before the end. */
export const FLAG_BUFFERED = 32;

export class RequestTable {
	#capacity = 64;
	#size = 0;
	#freeHead = -1;
	#used = 0;

	state = new Uint8Array(this.#capacity);
	generation = new Uint8Array(this.#capacity);
	flags = new Uint8Array(this.#capacity);
	requeues = new Uint8Array(this.#capacity);
	pool = new Uint16Array(this.#capacity);
	queue = new Uint8Array(this.#capacity);
	payer = new Uint8Array(this.#capacity);
	endpoint = new Int16Array(this.#capacity);
	rule = new Int16Array(this.#capacity);
	sequences = new Uint16Array(this.#capacity);
	leaf = new Int32Array(this.#capacity);
	next = new Int32Array(this.#capacity);
	previous = new Int32Array(this.#capacity);
	timerNext = new Int32Array(this.#capacity);
	timerPrevious = new Int32Array(this.#capacity);
	/** Slot of the timing wheel, -1 when no timer is set. */
	timerSlot = new Int16Array(this.#capacity);
	prompt = new Int32Array(this.#capacity);
	cached = new Int32Array(this.#capacity);
	/** Expected completion tokens. */
	completion = new Int32Array(this.#capacity);
	produced = new Int32Array(this.#capacity);
	bodyBytes = new Int32Array(this.#capacity);
	weight = new Float32Array(this.#capacity);
	/** Longest wait from arrival, extended by the time it ran; `Infinity` is no limit. */
	timeout = new Float32Array(this.#capacity);
	arrival = new Float64Array(this.#capacity);
	/** Of the timer: the deadline while waiting. */
	dueAt = new Float64Array(this.#capacity);
	/** Dispatch time while it runs; the instant it began to wait otherwise. */
	since = new Float64Array(this.#capacity);
	/** What rarely differs between requests: alternative pools. */
	readonly alternatives = new Map<number, readonly number[]>();

	/** Requests alive. */
	get used(): number {
		return this.#used;
	}

	/** Rows that ever were in use: an upper bound for walking all. */
	get size(): number {
		return this.#size;
	}

	allocate(): number {
		let row = this.#freeHead;
		if (row !== -1) {
			this.#freeHead = this.next[row]!;
		} else {
			row = this.#size++;
			if (row >= ROW_LIMIT) throw new InvariantError(`more than ${ROW_LIMIT} requests in the core`);
			if (row >= this.#capacity) this.#grow();
		}
		this.#used++;
		this.flags[row] = 0;
		this.requeues[row] = 0;
		this.timerSlot[row] = -1;
		this.produced[row] = 0;
		this.endpoint[row] = -1;
		return row;
	}

	free(row: number): void {
		this.state[row] = FREE;
		this.generation[row] = (this.generation[row]! + 1) % GENERATIONS;
		this.next[row] = this.#freeHead;
		this.#freeHead = row;
		this.#used--;
		if (this.alternatives.size > 0) this.alternatives.delete(row);
	}

	ticketOf(row: number): Ticket {
		return this.generation[row]! * ROW_LIMIT + row;
	}

	/** The row of a live ticket, or -1. */
	rowOf(ticket: Ticket): number {
		const row = ticket % ROW_LIMIT;
		if (row < 0 || row >= this.#size || this.state[row] === FREE) return -1;
		return this.generation[row] === (ticket - row) / ROW_LIMIT ? row : -1;
	}

	/** Total tokens that a running request occupies: max(estimate, prompt + produced). */
	charge(row: number): number {
		const expected = this.completion[row]!;
		const produced = this.produced[row]!;
		return this.prompt[row]! + Math.max(produced, expected);
	}

	#grow(): void {
		const capacity = this.#capacity * 2;
		const grown = <T extends Uint8Array | Uint16Array | Int16Array | Int32Array | Float32Array | Float64Array>(
			old: T,
		): T => {
			const larger = new (old.constructor as new (length: number) => T)(capacity);
			larger.set(old);
			return larger;
		};
		this.state = grown(this.state);
		this.generation = grown(this.generation);
		this.flags = grown(this.flags);
		this.requeues = grown(this.requeues);
		this.pool = grown(this.pool);
		this.queue = grown(this.queue);
		this.payer = grown(this.payer);
		this.endpoint = grown(this.endpoint);
		this.rule = grown(this.rule);
		this.sequences = grown(this.sequences);
		this.leaf = grown(this.leaf);
		this.next = grown(this.next);
		this.previous = grown(this.previous);
		this.timerNext = grown(this.timerNext);
		this.timerPrevious = grown(this.timerPrevious);
		this.timerSlot = grown(this.timerSlot);
		this.prompt = grown(this.prompt);
		this.cached = grown(this.cached);
		this.completion = grown(this.completion);
		this.produced = grown(this.produced);
		this.bodyBytes = grown(this.bodyBytes);
		this.weight = grown(this.weight);
		this.timeout = grown(this.timeout);
		this.arrival = grown(this.arrival);
		this.dueAt = grown(this.dueAt);
		this.since = grown(this.since);
		this.#capacity = capacity;
	}
}
