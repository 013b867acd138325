/**
 * Who hears of a ticket. By the ticket's row in an array, because a `Map` with as many deletions as insertions costs the collector dearly
 * (http/live-exchanges says how). A row is used again as soon as its request is over in the core, which can be before its
 * last decision was delivered: then the older listener waits for that aside.
 */
import { rowOfTicket, type Ticket } from "../core/schedule/decision.ts";

export class TicketListeners<Listener> {
	readonly #listeners: (Listener | undefined)[] = [];
	readonly #tickets: Ticket[] = [];
	readonly #aside = new Map<Ticket, Listener>();
	#size = 0;

	get size(): number {
		return this.#size;
	}

	get(ticket: Ticket): Listener | undefined {
		const row = rowOfTicket(ticket);
		return this.#tickets[row] === ticket ? this.#listeners[row] : this.#aside.get(ticket);
	}

	set(ticket: Ticket, listener: Listener): void {
		const row = rowOfTicket(ticket);
		while (this.#listeners.length <= row) {
			this.#listeners.push(undefined);
			this.#tickets.push(-1);
		}
		const before = this.#listeners[row];
		if (before !== undefined) this.#aside.set(this.#tickets[row]!, before);
		this.#listeners[row] = listener;
		this.#tickets[row] = ticket;
		this.#size++;
	}

	delete(ticket: Ticket): void {
		const row = rowOfTicket(ticket);
		if (this.#tickets[row] === ticket) {
			if (this.#listeners[row] === undefined) return;
			this.#listeners[row] = undefined;
			this.#size--;
		} else if (this.#aside.delete(ticket)) this.#size--;
	}
}
