/**
 * Rows on their way to the ledger, oldest first, each with the segment that also holds it. A queue over an array with a
 * moving head: taking from the front costs nothing.
 */
import type { LedgerRow } from "../../ports/ledger-store.ts";
import type { Segment } from "./segment.ts";

export class UnsentRows {
	#rows: LedgerRow[] = [];
	#segments: Segment[] = [];
	#head = 0;

	get size(): number {
		return this.#rows.length - this.#head;
	}

	push(row: LedgerRow, segment: Segment): void {
		this.#rows.push(row);
		this.#segments.push(segment);
		segment.unsent++;
	}

	peek(max: number): readonly LedgerRow[] {
		return this.#rows.slice(this.#head, this.#head + max);
	}

	drop(count: number): void {
		const end = Math.min(this.#rows.length, this.#head + count);
		for (let i = this.#head; i < end; i++) this.#segments[i]!.unsent--;
		this.#head = end;
		if (this.#head * 2 < this.#rows.length) return;
		this.#rows = this.#rows.slice(this.#head);
		this.#segments = this.#segments.slice(this.#head);
		this.#head = 0;
	}
}
