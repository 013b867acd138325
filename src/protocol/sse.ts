/**
 * Cuts a byte stream into server-sent events (WHATWG HTML §9.2) without decoding it. Lines end in LF, CRLF or CR, split at any byte;
 * an event ends with a blank line.
 *
 * Bytes of an unfinished event are held back, so that what was passed on always ends at an event boundary: an event can be removed
 * as a whole, and an error event can be appended after a cut without gluing two events together. Whole events are handed on as views
 * of the caller's chunk, not copied. How the stream was cut into chunks changes neither the events nor the bytes. An event longer
 * than `MAX_HELD_BYTES` is not held any longer but passed through uninspected from there on.
 */

export const MAX_HELD_BYTES = 4 * 1024 * 1024;

const EMPTY = new Uint8Array(0);
const LF = 0x0a;
const CR = 0x0d;

export interface EventSink {
	/** One whole event, its blank line included: `bytes[start, end)`. `false` removes it from the output. */
	event(bytes: Uint8Array, start: number, end: number): boolean;
}

export class SseSplitter {
	readonly #sink: EventSink;
	readonly #maxHeldBytes: number;
	/** Holds the unfinished event at `[#start, #end)`; bytes beyond are free to append to. */
	#arena: Uint8Array = EMPTY;
	#start = 0;
	#end = 0;
	/** How far the unfinished event has been looked through, relative to its start. */
	#scanned = 0;
	#lineEmpty = true;
	/** The last byte was a CR that ended a line; an LF now belongs to it. */
	#afterCr = false;
	/** That CR ended an event, and the event was removed. */
	#lfIsRemoved = false;
	#sawCr = false;
	/** Inside an event that was too long to hold. */
	#overlong = false;

	constructor(sink: EventSink, maxHeldBytes = MAX_HELD_BYTES) {
		this.#sink = sink;
		this.#maxHeldBytes = maxHeldBytes;
	}

	/** Bytes of an unfinished event that are held back. */
	get heldBytes(): number {
		return this.#end - this.#start;
	}

	/** The stream has a CR somewhere; as long as it has none, lines can be found by their LF alone. */
	get usesCr(): boolean {
		return this.#sawCr;
	}

	/** Takes the next chunk and returns what may be passed on. The chunk must not be changed afterwards. */
	push(chunk: Uint8Array): Uint8Array[] {
		if (chunk.length === 0) return [];
		if (!this.#sawCr && chunk.indexOf(CR) >= 0) this.#sawCr = true;
		const holding = this.#end > this.#start;
		if (!holding) return this.#scan(chunk, 0, chunk.length);
		this.#append(chunk);
		return this.#scan(this.#arena, this.#start, this.#end);
	}

	/** What is left of an event that never ended. */
	end(): Uint8Array {
		const rest = this.#arena.subarray(this.#start, this.#end);
		this.#start = this.#end;
		return rest;
	}

	#scan(bytes: Uint8Array, from: number, to: number): Uint8Array[] {
		const out: Uint8Array[] = [];
		let eventStart = from;
		let keptFrom = from;
		let at = from + this.#scanned;
		while (at < to) {
			const byte = bytes[at]!;
			if (byte === LF && this.#afterCr) {
				// The second half of a CRLF that was cut between its bytes.
				this.#afterCr = false;
				at++;
				if (eventStart === at - 1) {
					if (this.#lfIsRemoved) {
						if (keptFrom < eventStart) out.push(bytes.subarray(keptFrom, eventStart));
						keptFrom = at;
					}
					eventStart = at;
				}
				continue;
			}
			this.#afterCr = false;
			if (byte !== LF && byte !== CR) {
				this.#lineEmpty = false;
				const next = this.#sawCr ? nextLineEnd(bytes, at + 1, to) : bytes.indexOf(LF, at + 1);
				at = next < 0 || next > to ? to : next;
				continue;
			}
			at++;
			if (byte === CR) {
				if (at < to && bytes[at] === LF) at++;
				else this.#afterCr = true;
			}
			if (!this.#lineEmpty) {
				this.#lineEmpty = true;
				continue;
			}
			const inspect = !this.#overlong && at - eventStart <= this.#maxHeldBytes;
			this.#overlong = false;
			this.#lfIsRemoved = false;
			if (inspect && !this.#sink.event(bytes, eventStart, at)) {
				if (keptFrom < eventStart) out.push(bytes.subarray(keptFrom, eventStart));
				keptFrom = at;
				this.#lfIsRemoved = true;
			}
			eventStart = at;
		}
		if (this.#overlong || to - eventStart > this.#maxHeldBytes) {
			this.#overlong = true;
			eventStart = to;
		}
		if (keptFrom < eventStart) out.push(bytes.subarray(keptFrom, eventStart));
		this.#hold(bytes, eventStart, to);
		return out;
	}

	#hold(bytes: Uint8Array, start: number, end: number): void {
		this.#scanned = end - start;
		if (start < end && bytes === this.#arena) {
			this.#start = start;
			return;
		}
		if (start === end) {
			this.#arena = EMPTY;
			this.#start = 0;
			this.#end = 0;
			return;
		}
		this.#arena = new Uint8Array(Math.max(1024, 2 * (end - start)));
		this.#arena.set(bytes.subarray(start, end));
		this.#start = 0;
		this.#end = end - start;
	}

	/** Never overwrites bytes that were handed out: those lie before `#start`, and only free bytes after `#end` are written. */
	#append(chunk: Uint8Array): void {
		const held = this.#end - this.#start;
		if (this.#end + chunk.length > this.#arena.length) {
			const larger = new Uint8Array(2 * (held + chunk.length));
			larger.set(this.#arena.subarray(this.#start, this.#end));
			this.#arena = larger;
			this.#start = 0;
			this.#end = held;
		}
		this.#arena.set(chunk, this.#end);
		this.#end += chunk.length;
	}
}

/** Offset of the next LF or CR, or `to`. */
export function nextLineEnd(bytes: Uint8Array, from: number, to: number): number {
	for (let at = from; at < to; at++) {
		const byte = bytes[at];
		if (byte === LF || byte === CR) return at;
	}
	return to;
}
