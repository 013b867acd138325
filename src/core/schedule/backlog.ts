/**
 * Who waits too much: finds the request that a full queue (or a full rule) gives up for a newcomer, so that one tenant cannot
 * fill it for the others ("buffer stealing": McKenney, "Stochastic Fairness Queueing", 1990; along the flow path: at each step
 * to the child with the largest waiting cost, then its youngest request).
 *
 * It mirrors the flow tree's nodes for the waiting requests it was told of. It exists only while its queue is crowded (`Pool`
 * makes it when the queue is first full and drops it at half), so the usual path of a request never pays for it. O(log children).
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { Cost } from "../model/units.ts";
import type { Ticket } from "./decision.ts";

interface BacklogNode {
	readonly id: number;
	readonly parent: BacklogNode | undefined;
	cost: Cost;
	count: number;
	/** Max-heap of children by cost. */
	readonly heap: BacklogNode[];
	position: number;
	/** Tickets in the order of arrival; those no longer waiting are passed over. */
	tickets: Ticket[];
}

export class Backlog {
	readonly #top: BacklogNode = { id: -1, parent: undefined, cost: 0, count: 0, heap: [], position: 0, tickets: [] };
	readonly #nodes = new Map<number, BacklogNode>();
	readonly #parentOf: (node: number) => number;
	readonly #waitsIn: (ticket: Ticket, leaf: number) => boolean;

	/**
	 * @param parentOf the parent of a flow-tree node, -1 for a root
	 * @param waitsIn whether a ticket still waits in a leaf
	 */
	constructor(parentOf: (node: number) => number, waitsIn: (ticket: Ticket, leaf: number) => boolean) {
		this.#parentOf = parentOf;
		this.#waitsIn = waitsIn;
	}

	add(ticket: Ticket, leaf: number, cost: Cost): void {
		const node = this.#node(leaf);
		if (node.tickets.length > 2 * node.count + 8) {
			node.tickets = node.tickets.filter((known) => this.#waitsIn(known, leaf));
		}
		node.tickets.push(ticket);
		for (let at: BacklogNode | undefined = node; at !== undefined; at = at.parent) {
			at.cost += cost;
			at.count++;
			if (at.parent !== undefined) siftUp(at.parent.heap, at.position);
		}
	}

	/** A request of `leaf` no longer waits. */
	remove(leaf: number, cost: Cost): void {
		for (let at = this.#nodes.get(leaf); at !== undefined; at = at.parent) {
			at.cost -= cost;
			at.count--;
			const parent = at.parent;
			if (parent === undefined) break;
			if (at.count === 0) {
				heapRemove(parent.heap, at.position);
				this.#nodes.delete(at.id);
			} else {
				siftDown(parent.heap, at.position);
			}
		}
	}

	/** The youngest waiting request of the heaviest flow. There must be one. */
	heaviestYoungest(): Ticket {
		let node = this.#top;
		while (node.heap.length > 0) node = node.heap[0]!;
		for (;;) {
			const ticket = node.tickets.at(-1);
			if (ticket === undefined) throw new InvariantError("the backlog lost count of a flow");
			if (this.#waitsIn(ticket, node.id)) return ticket;
			node.tickets.pop();
		}
	}

	#node(id: number): BacklogNode {
		const known = this.#nodes.get(id);
		if (known !== undefined) return known;
		const parentId = this.#parentOf(id);
		const parent = parentId < 0 ? this.#top : this.#node(parentId);
		const node: BacklogNode = {
			id,
			parent,
			cost: 0,
			count: 0,
			heap: [],
			position: parent.heap.length,
			tickets: [],
		};
		parent.heap.push(node);
		this.#nodes.set(id, node);
		return node;
	}
}

function place(heap: BacklogNode[], node: BacklogNode, at: number): void {
	heap[at] = node;
	node.position = at;
}

function siftUp(heap: BacklogNode[], from: number): void {
	const node = heap[from]!;
	let at = from;
	while (at > 0) {
		const up = (at - 1) >> 1;
		if (heap[up]!.cost >= node.cost) break;
		place(heap, heap[up]!, at);
		at = up;
	}
	place(heap, node, at);
}

function siftDown(heap: BacklogNode[], from: number): void {
	const node = heap[from]!;
	let at = from;
	for (let child = 2 * at + 1; child < heap.length; child = 2 * at + 1) {
		if (child + 1 < heap.length && heap[child + 1]!.cost > heap[child]!.cost) child++;
		if (heap[child]!.cost <= node.cost) break;
		place(heap, heap[child]!, at);
		at = child;
	}
	place(heap, node, at);
}

function heapRemove(heap: BacklogNode[], at: number): void {
	const last = heap.pop()!;
	if (at === heap.length) return;
	place(heap, last, at);
	siftUp(heap, at);
	siftDown(heap, last.position);
}
