/**
 * Per-request state of the whole core: the one file that hides how it is stored. A request is a row; a ticket is row and
 * generation, so that a ticket used after its end is noticed (`rowOf` returns -1).
 *
 * States: free → waiting → running → (aborting →) free, and running/aborting → waiting when it is taken back. Only
 * `SchedulingCore` and `Pool` move between them.
 *
 * A row is 64 bytes, one cache line, seen through views of one buffer: with a hundred thousand waiting nearly every row that is
 * touched comes from far memory, and one line a row costs a fraction of a column a field. What starting a request does not need is
 * in a second table of 16 bytes. The accessors are small enough for the engine to inline.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { Millis, Tokens } from "../model/units.ts";
import { ROW_BITS, ROW_LIMIT, rowOfTicket, type Ticket } from "./decision.ts";
import type { OtherPlace } from "./halves.ts";
import type { SubmitRequest } from "./submit-request.ts";

export const FREE = 0;
export const WAITING = 1;
export const RUNNING = 2;
/** Preempted: the engine was asked to abort it, its space is not free yet. */
export const ABORTING = 3;

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
/** Its start will be compared with what was expected. */
export const FLAG_EXPECTED = 64;

/** Width of a row in the 32-bit views, and where its fields are. */
const WORD_BITS = 4;
const WORDS = 1 << WORD_BITS;
const PROMPT = 2;
const COMPLETION = 3;
const CACHED = 4;
const PRODUCED = 5;
const LEAF = 6;
const NEXT = 7;
const TIMER_NEXT = 8;
const TIMER_PREVIOUS = 9;
const BODY_BYTES = 10;
const WEIGHT = 11;

/** The same in 64-bit numbers. */
const TIME_BITS = 3;
const ARRIVAL = 0;

/** The same in the 16-bit views. */
const HALF_BITS = 5;
const POOL = 27;
const ENDPOINT = 28;
const RULE = 29;
const SEQUENCES = 30;
const TIMER_SLOT = 31;

/** The same in bytes. */
const BYTE_BITS = 6;
const STATE = 48;
const GENERATION = 49;
const FLAGS = 50;
const REQUEUES = 51;
const QUEUE = 52;
const PAYER = 53;

/** The second table, in 64-bit numbers and in words. */
const COLD_TIME_BITS = 1;
const COLD_TIMES = 1 << COLD_TIME_BITS;
const DUE_AT = 0;
const COLD_WORD_BITS = 2;
const TIMEOUT = 2;
const PREVIOUS = 3;

const INITIAL_ROWS = 64;
/** Small tables double; large ones grow by a sixteenth, so that little of their memory is ever idle. */
const DOUBLING_ROWS = 8192;

/** Pools in which it may wait, in order of preference, and where it would in the other half. */
export interface Alternatives {
	readonly pools: readonly number[];
	readonly other: OtherPlace | undefined;
}

export class RequestTable {
	#capacity = INITIAL_ROWS;
	#size = 0;
	#freeHead = -1;
	#used = 0;

	#words = new Int32Array(INITIAL_ROWS * WORDS);
	#floats = new Float32Array(this.#words.buffer);
	#halves = new Int16Array(this.#words.buffer);
	#unsigned = new Uint16Array(this.#words.buffer);
	#bytes = new Uint8Array(this.#words.buffer);
	#times = new Float64Array(this.#words.buffer);
	#coldTimes = new Float64Array(INITIAL_ROWS * COLD_TIMES);
	#coldWords = new Int32Array(this.#coldTimes.buffer);
	#coldFloats = new Float32Array(this.#coldTimes.buffer);
	/** What few requests have: other pools, another half. */
	readonly alternatives = new Map<number, Alternatives>();

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
			this.#freeHead = this.#words[(row << WORD_BITS) | NEXT]!;
		} else {
			row = this.#size++;
			if (row >= ROW_LIMIT) throw new InvariantError(`more than ${ROW_LIMIT} requests in the core`);
			if (row >= this.#capacity) this.#grow();
		}
		this.#used++;
		const bytes = this.#bytes;
		bytes[(row << BYTE_BITS) | FLAGS] = 0;
		bytes[(row << BYTE_BITS) | REQUEUES] = 0;
		this.#words[(row << WORD_BITS) | PRODUCED] = 0;
		const halves = this.#halves;
		halves[(row << HALF_BITS) | TIMER_SLOT] = -1;
		halves[(row << HALF_BITS) | ENDPOINT] = -1;
		return row;
	}

	/** A new waiting row for `request` in `pool`. */
	add(request: SubmitRequest, pool: number, now: Millis): number {
		const row = this.allocate();
		const words = this.#words;
		const word = row << WORD_BITS;
		words[word | PROMPT] = request.promptTokens;
		words[word | COMPLETION] = request.completionTokens;
		words[word | CACHED] = request.cachedTokens;
		words[word | BODY_BYTES] = request.bodyBytes;
		this.#floats[word | WEIGHT] = request.weight;
		this.#coldFloats[(row << COLD_WORD_BITS) | TIMEOUT] = request.timeoutMs;
		const halves = this.#halves;
		const half = row << HALF_BITS;
		halves[half | POOL] = pool;
		halves[half | ENDPOINT] = request.affinityEndpoint;
		halves[half | RULE] = request.rule;
		this.#unsigned[half | SEQUENCES] = request.sequences;
		const bytes = this.#bytes;
		const byte = row << BYTE_BITS;
		bytes[byte | STATE] = WAITING;
		bytes[byte | QUEUE] = request.queue;
		bytes[byte | PAYER] = request.queue;
		bytes[byte | FLAGS] =
			(request.mayUpgrade ? FLAG_MAY_UPGRADE : 0) |
			(request.observed ? FLAG_OBSERVED : 0) |
			(request.buffered ? FLAG_BUFFERED : 0);
		this.#times[(row << TIME_BITS) | ARRIVAL] = now;
		if (request.pools.length > 1 || request.other !== undefined) {
			this.alternatives.set(row, { pools: request.pools, other: request.other });
		}
		return row;
	}

	free(row: number): void {
		const bytes = this.#bytes;
		const byte = row << BYTE_BITS;
		bytes[byte | STATE] = FREE;
		bytes[byte | GENERATION] = (bytes[byte | GENERATION]! + 1) % GENERATIONS;
		this.#words[(row << WORD_BITS) | NEXT] = this.#freeHead;
		this.#freeHead = row;
		this.#used--;
		if (this.alternatives.size > 0) this.alternatives.delete(row);
	}

	ticketOf(row: number): Ticket {
		return this.#bytes[(row << BYTE_BITS) | GENERATION]! * ROW_LIMIT + row;
	}

	/** The row of a live ticket, or -1. */
	rowOf(ticket: Ticket): number {
		const row = rowOfTicket(ticket);
		if (row >= this.#size || this.#bytes[(row << BYTE_BITS) | STATE] === FREE) return -1;
		return this.#bytes[(row << BYTE_BITS) | GENERATION] === ticket >> ROW_BITS ? row : -1;
	}

	/** Total tokens that a running request occupies: max(estimate, prompt + produced). */
	charge(row: number): Tokens {
		const words = this.#words;
		const word = row << WORD_BITS;
		return words[word | PROMPT]! + Math.max(words[word | COMPLETION]!, words[word | PRODUCED]!);
	}

	prompt(row: number): Tokens {
		return this.#words[(row << WORD_BITS) | PROMPT]!;
	}

	/** Expected completion tokens. */
	completion(row: number): Tokens {
		return this.#words[(row << WORD_BITS) | COMPLETION]!;
	}

	cached(row: number): Tokens {
		return this.#words[(row << WORD_BITS) | CACHED]!;
	}

	produced(row: number): Tokens {
		return this.#words[(row << WORD_BITS) | PRODUCED]!;
	}

	setProduced(row: number, tokens: Tokens): void {
		this.#words[(row << WORD_BITS) | PRODUCED] = tokens;
	}

	/** Its flow's node in the flow tree. */
	leaf(row: number): number {
		return this.#words[(row << WORD_BITS) | LEAF]!;
	}

	setLeaf(row: number, leaf: number): void {
		this.#words[(row << WORD_BITS) | LEAF] = leaf;
	}

	/** While it waits the next of its flow; while it runs its place in its endpoint's list. */
	next(row: number): number {
		return this.#words[(row << WORD_BITS) | NEXT]!;
	}

	setNext(row: number, next: number): void {
		this.#words[(row << WORD_BITS) | NEXT] = next;
	}

	/** While it waits the one before it in its flow; means nothing of the first. */
	previous(row: number): number {
		return this.#coldWords[(row << COLD_WORD_BITS) | PREVIOUS]!;
	}

	setPrevious(row: number, previous: number): void {
		this.#coldWords[(row << COLD_WORD_BITS) | PREVIOUS] = previous;
	}

	timerNext(row: number): number {
		return this.#words[(row << WORD_BITS) | TIMER_NEXT]!;
	}

	setTimerNext(row: number, next: number): void {
		this.#words[(row << WORD_BITS) | TIMER_NEXT] = next;
	}

	timerPrevious(row: number): number {
		return this.#words[(row << WORD_BITS) | TIMER_PREVIOUS]!;
	}

	setTimerPrevious(row: number, previous: number): void {
		this.#words[(row << WORD_BITS) | TIMER_PREVIOUS] = previous;
	}

	bodyBytes(row: number): number {
		return this.#words[(row << WORD_BITS) | BODY_BYTES]!;
	}

	weight(row: number): number {
		return this.#floats[(row << WORD_BITS) | WEIGHT]!;
	}

	/** Longest wait from arrival, extended by the time it ran; `Infinity` is no limit. */
	timeout(row: number): Millis {
		return this.#coldFloats[(row << COLD_WORD_BITS) | TIMEOUT]!;
	}

	setTimeout(row: number, timeoutMs: Millis): void {
		this.#coldFloats[(row << COLD_WORD_BITS) | TIMEOUT] = timeoutMs;
	}

	pool(row: number): number {
		return this.#halves[(row << HALF_BITS) | POOL]!;
	}

	setPool(row: number, pool: number): void {
		this.#halves[(row << HALF_BITS) | POOL] = pool;
	}

	/** Where it runs; while it waits where it would like to (-1: anywhere). */
	endpoint(row: number): number {
		return this.#halves[(row << HALF_BITS) | ENDPOINT]!;
	}

	setEndpoint(row: number, endpoint: number): void {
		this.#halves[(row << HALF_BITS) | ENDPOINT] = endpoint;
	}

	rule(row: number): number {
		return this.#halves[(row << HALF_BITS) | RULE]!;
	}

	setRule(row: number, rule: number): void {
		this.#halves[(row << HALF_BITS) | RULE] = rule;
	}

	sequences(row: number): number {
		return this.#unsigned[(row << HALF_BITS) | SEQUENCES]!;
	}

	/** Slot of the timing wheel, -1 when no timer is set. */
	timerSlot(row: number): number {
		return this.#halves[(row << HALF_BITS) | TIMER_SLOT]!;
	}

	setTimerSlot(row: number, slot: number): void {
		this.#halves[(row << HALF_BITS) | TIMER_SLOT] = slot;
	}

	state(row: number): number {
		return this.#bytes[(row << BYTE_BITS) | STATE]!;
	}

	setState(row: number, state: number): void {
		this.#bytes[(row << BYTE_BITS) | STATE] = state;
	}

	flags(row: number): number {
		return this.#bytes[(row << BYTE_BITS) | FLAGS]!;
	}

	setFlags(row: number, flags: number): void {
		this.#bytes[(row << BYTE_BITS) | FLAGS] = flags;
	}

	/** How often it was taken back. */
	requeues(row: number): number {
		return this.#bytes[(row << BYTE_BITS) | REQUEUES]!;
	}

	setRequeues(row: number, count: number): void {
		this.#bytes[(row << BYTE_BITS) | REQUEUES] = count;
	}

	queue(row: number): number {
		return this.#bytes[(row << BYTE_BITS) | QUEUE]!;
	}

	/** It waits in another queue now, on that one's capacity. */
	setQueue(row: number, queue: number): void {
		this.#bytes[(row << BYTE_BITS) | QUEUE] = queue;
		this.#bytes[(row << BYTE_BITS) | PAYER] = queue;
	}

	/** Queue whose capacity pays. */
	payer(row: number): number {
		return this.#bytes[(row << BYTE_BITS) | PAYER]!;
	}

	setPayer(row: number, queue: number): void {
		this.#bytes[(row << BYTE_BITS) | PAYER] = queue;
	}

	arrival(row: number): Millis {
		return this.#times[(row << TIME_BITS) | ARRIVAL]!;
	}

	/** Of the timer: the deadline while waiting. */
	dueAt(row: number): Millis {
		return this.#coldTimes[(row << COLD_TIME_BITS) | DUE_AT]!;
	}

	setDueAt(row: number, at: Millis): void {
		this.#coldTimes[(row << COLD_TIME_BITS) | DUE_AT] = at;
	}

	#grow(): void {
		const old = this.#capacity;
		const capacity = Math.min(ROW_LIMIT, old < DOUBLING_ROWS ? old * 2 : old + (old >> 4));
		const words = new Int32Array(capacity * WORDS);
		words.set(this.#words);
		const coldTimes = new Float64Array(capacity * COLD_TIMES);
		coldTimes.set(this.#coldTimes);
		this.#words = words;
		this.#floats = new Float32Array(words.buffer);
		this.#halves = new Int16Array(words.buffer);
		this.#unsigned = new Uint16Array(words.buffer);
		this.#bytes = new Uint8Array(words.buffer);
		this.#times = new Float64Array(words.buffer);
		this.#coldTimes = coldTimes;
		this.#coldWords = new Int32Array(coldTimes.buffer);
		this.#coldFloats = new Float32Array(coldTimes.buffer);
		this.#capacity = capacity;
	}
}
