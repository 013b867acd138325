/**
 * Timers of requests: a hierarchical timing wheel (Varghese & Lauck, SOSP 1987, scheme 7), five levels of 64 slots, one tick a
 * millisecond. Set, cancel and expiry are O(1) amortised; a timer fires in the first tick at or after its time, never before.
 * Timers further away than 2^30 ms (12 days) are looked at again when the top level comes round.
 */
import type { Millis } from "../model/units.ts";
import type { RequestTable } from "./request-table.ts";

const LEVELS = 5;
const SLOT_BITS = 6;
const SLOTS = 1 << SLOT_BITS;
const SPAN = 2 ** (LEVELS * SLOT_BITS);
/** Distance from which a timer is filed as far away as the top level reaches, and where it is filed then. */
const FAR = SPAN - SPAN / SLOTS;
const FURTHEST = SPAN - 2 * (SPAN / SLOTS);
const NONE = -1;
/** Level of a timer by the leading zeros of the bits in which its tick differs from now. */
const LEVEL_OF = Uint8Array.from({ length: 33 }, (_, zeros) => Math.max(0, Math.floor((31 - zeros) / SLOT_BITS)));

export class TimingWheel {
	readonly #requests: RequestTable;
	readonly #heads = new Int32Array(LEVELS * SLOTS).fill(NONE);
	/** Occupied slots per level, 32 to a word. */
	readonly #occupied = new Int32Array(LEVELS * 2);
	#now = 0;
	#count = 0;
	/** No timer is due before this: kept low when timers are cancelled, looked for anew when it has come. */
	#next: Millis = Number.POSITIVE_INFINITY;

	constructor(requests: RequestTable) {
		this.#requests = requests;
	}

	/** Arms the timer of a row for `dueAt` (finite). */
	set(row: number, dueAt: Millis, now: Millis): void {
		this.#requests.setDueAt(row, dueAt);
		if (this.#count === 0) this.#now = Math.max(this.#now, Math.floor(now));
		const at = this.#insert(row, dueAt);
		this.#count++;
		if (at < this.#next) this.#next = at;
	}

	cancel(row: number): void {
		const requests = this.#requests;
		const slot = requests.timerSlot(row);
		if (slot === NONE) return;
		const after = requests.timerNext(row);
		const before = requests.timerPrevious(row);
		if (after !== NONE) requests.setTimerPrevious(after, before);
		if (before !== NONE) requests.setTimerNext(before, after);
		else {
			this.#heads[slot] = after;
			if (after === NONE) this.#vacate(slot);
		}
		requests.setTimerSlot(row, NONE);
		if (--this.#count === 0) this.#next = Number.POSITIVE_INFINITY;
	}

	/** A lower bound of the next expiry: at a cascade, or where a timer was cancelled, there is nothing but to look again. */
	nextAt(): Millis {
		return this.#next;
	}

	/** Takes one row out whose timer is due at `now`, or -1; call until -1. */
	expire(now: Millis): number {
		while (this.#next <= now) {
			const tick = this.#earliest();
			if (tick > now) {
				this.#next = tick;
				break;
			}
			if (tick > this.#now) this.#now = tick;
			const slot = this.#dueSlot;
			const row = this.#heads[slot]!;
			this.cancel(row);
			const dueAt = this.#requests.dueAt(row);
			if (dueAt <= this.#now) return row;
			this.#count++;
			const at = this.#insert(row, dueAt);
			if (at < this.#next) this.#next = at;
		}
		return NONE;
	}

	#dueSlot = 0;

	/**
	 * Files a row by the highest digit in which its tick differs from now; returns when its slot comes up. Digits are those of the ticks
	 * modulo the wheel's span, in whole numbers.
	 */
	#insert(row: number, dueAt: Millis): Millis {
		const now = this.#now;
		const tick = Math.max(Math.ceil(dueAt), now);
		const target = tick - now >= FAR ? now + FURTHEST : tick;
		const digits = target | 0;
		const level = LEVEL_OF[Math.clz32((digits ^ (now | 0)) & (SPAN - 1))]!;
		const digit = (digits >>> (level * SLOT_BITS)) & (SLOTS - 1);
		const slot = level * SLOTS + digit;
		const requests = this.#requests;
		const head = this.#heads[slot]!;
		requests.setTimerNext(row, head);
		requests.setTimerPrevious(row, NONE);
		if (head !== NONE) requests.setTimerPrevious(head, row);
		this.#heads[slot] = row;
		requests.setTimerSlot(row, slot);
		this.#occupied[level * 2 + (digit >> 5)]! |= 1 << (digit & 31);
		return target - (digits & ((1 << (level * SLOT_BITS)) - 1));
	}

	#vacate(slot: number): void {
		const digit = slot % SLOTS;
		this.#occupied[Math.floor(slot / SLOTS) * 2 + (digit >> 5)]! &= ~(1 << (digit & 31));
	}

	/** First occupied slot from now on: a higher level's that is due for sorting down, else lowest level first. */
	#earliest(): Millis {
		for (let level = 1; level < LEVELS; level++) {
			const digit = Math.floor(this.#now / 2 ** (level * SLOT_BITS)) % SLOTS;
			if ((this.#occupied[level * 2 + (digit >> 5)]! & (1 << (digit & 31))) === 0) continue;
			this.#dueSlot = level * SLOTS + digit;
			return this.#now;
		}
		for (let level = 0; level < LEVELS; level++) {
			if (this.#occupied[level * 2] === 0 && this.#occupied[level * 2 + 1] === 0) continue;
			const width = 2 ** (level * SLOT_BITS);
			const current = Math.floor(this.#now / width);
			const base = current % SLOTS;
			for (let step = 0; step < SLOTS; step++) {
				const digit = (base + step) % SLOTS;
				if ((this.#occupied[level * 2 + (digit >> 5)]! & (1 << (digit & 31))) === 0) continue;
				this.#dueSlot = level * SLOTS + digit;
				return Math.max(this.#now, (current + step) * width);
			}
		}
		return Number.POSITIVE_INFINITY;
	}
}
