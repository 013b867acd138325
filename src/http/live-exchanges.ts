/**
 * The exchanges under way. An array in which each knows its own place, because a `Map` with as many deletions as insertions makes a new
 * table every few requests, each old one pointing to the next: once one of them is old, the young generation's collector keeps all that
 * follow, with the requests in them, until the next full collection.
 */
import type { Exchange } from "./exchange.ts";

export class LiveExchanges {
	readonly #all: Exchange[] = [];

	get size(): number {
		return this.#all.length;
	}

	add(exchange: Exchange): void {
		exchange.place = this.#all.length;
		this.#all.push(exchange);
	}

	remove(exchange: Exchange): void {
		const { place } = exchange;
		if (this.#all[place] !== exchange) return;
		const last = this.#all.pop()!;
		if (last === exchange) return;
		this.#all[place] = last;
		last.place = place;
	}

	/** Looks through all of them: for operators. */
	find(requestId: string): Exchange | undefined {
		return this.#all.find((exchange) => exchange.requestId === requestId);
	}

	/** As they are now, in no order: they may end while it is read. */
	list(): readonly Exchange[] {
		return [...this.#all];
	}
}
