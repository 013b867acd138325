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
const NONE = -1;

export class TimingWheel {
	readonly #requests: RequestTable;
	readonly #heads = new Int32Array(LEVELS * SLOTS).fill(NONE);
	/** Occupied slots per level, 32 to a word. */
	readonly #occupied = new Int32Array(LEVELS * 2);
	#now = 0;
	#count = 0;
	#next: Millis = Number.POSITIVE_INFINITY;
	#nextKnown = true;

	constructor(requests: RequestTable) {
		this.#requests = requests;
	}

	/** Arms the timer of a row for `dueAt` (finite). */
	set(row: number, dueAt: Millis, now: Millis): void {
		this.#requests.dueAt[row] = dueAt;
		if (this.#count === 0) this.#now = Math.max(this.#now, Math.floor(now));
		const at = this.#insert(row);
		this.#count++;
		if (at < this.#next) this.#next = at;
	}

	cancel(row: number): void {
		const slot = this.#requests.timerSlot[row]!;
		if (slot === NONE) return;
		const { timerNext, timerPrevious } = this.#requests;
		const after = timerNext[row]!;
		const before = timerPrevious[row]!;
		if (after !== NONE) timerPrevious[after] = before;
		if (before !== NONE) timerNext[before] = after;
		else {
			this.#heads[slot] = after;
			if (after === NONE) this.#vacate(slot);
		}
		this.#requests.timerSlot[row] = NONE;
		this.#count--;
		this.#nextKnown = false;
	}

	/** A lower bound of the next expiry; exact up to a cascade, which does nothing but look again. */
	nextAt(): Millis {
		if (!this.#nextKnown) {
			this.#next = this.#count === 0 ? Number.POSITIVE_INFINITY : this.#earliest();
			this.#nextKnown = true;
		}
		return this.#next;
	}

	/** Takes one row out whose timer is due at `now`, or -1; call until -1. */
	expire(now: Millis): number {
		while (this.nextAt() <= now) {
			const tick = this.#earliest();
			if (tick > now) {
				this.#next = tick;
				break;
			}
			if (tick > this.#now) this.#now = tick;
			const slot = this.#dueSlot;
			const row = this.#heads[slot]!;
			this.cancel(row);
			if (this.#requests.dueAt[row]! <= this.#now) return row;
			this.#count++;
			this.#insert(row);
		}
		return NONE;
	}

	#dueSlot = 0;

	/** Files a row by the highest digit in which its tick differs from now; returns when its slot comes up. */
	#insert(row: number): Millis {
		const tick = Math.max(Math.ceil(this.#requests.dueAt[row]!), this.#now);
		let level = 0;
		const distance = tick - this.#now;
		if (distance >= SPAN - SPAN / SLOTS) {
			level = LEVELS - 1;
		} else {
			let here = Math.floor(this.#now / SLOTS);
			let there = Math.floor(tick / SLOTS);
			while (here !== there && level < LEVELS - 1) {
				level++;
				here = Math.floor(here / SLOTS);
				there = Math.floor(there / SLOTS);
			}
		}
		const width = 2 ** (level * SLOT_BITS);
		const target = distance >= SPAN - SPAN / SLOTS ? this.#now + SPAN - 2 * (SPAN / SLOTS) : tick;
		const digit = Math.floor(target / width) % SLOTS;
		const slot = level * SLOTS + digit;
		const { timerNext, timerPrevious, timerSlot } = this.#requests;
		const head = this.#heads[slot]!;
		timerNext[row] = head;
		timerPrevious[row] = NONE;
		if (head !== NONE) timerPrevious[head] = row;
		this.#heads[slot] = row;
		timerSlot[row] = slot;
		this.#occupied[level * 2 + (digit >> 5)]! |= 1 << (digit & 31);
		return level === 0 ? tick : Math.max(this.#now, Math.floor(target / width) * width);
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
