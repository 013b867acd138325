/**
 * Hierarchical start-time fair queuing: which flow of a queue is served next.
 *
 * Goyal, Vin, Cheng, "Start-time Fair Queuing" (SIGCOMM 1996), applied at every node of the flow path. A child's start tag is
 * `max(V, its finish tag)`, its finish tag is start + cost / weight, V is the start tag last served and never decreases; when a
 * whole node is idle V becomes the largest finish tag (the end of a busy period in the paper). The cost charged at dispatch is an
 * estimate: `adjust` moves the finish tag by the difference, up or down, so that a flow pays what it used.
 *
 * Invariants: a node with waiting requests is in its parent's heap, any other is not. A node's state is dropped only when
 * nothing of it waits or runs and its finish ≤ V of its parent: an idle flow keeps its debt and hoards no credit. A sweep hand
 * looks at two idle nodes per submission, so keys seen once leave nothing behind.
 *
 * Nodes and requests are small integers; all state is in typed arrays of this file. Cost per dispatch: Σ log(children).
 */
import type { Cost } from "../model/units.ts";
import type { FlowPath } from "./flow-path.ts";
import type { RequestTable } from "./request-table.ts";

const NONE = -1;
const SWEEP_PER_SUBMIT = 2;

export class FlowTree {
	#capacity = 64;
	#free: number[] = [];
	#size = 0;
	readonly #requests: RequestTable;

	#parent = new Int32Array(this.#capacity);
	#tag = new Float64Array(this.#capacity);
	#order = new Float64Array(this.#capacity);
	#finish = new Float64Array(this.#capacity);
	/** Tag at which its present backlog began: a refund reaches down to it, below V too, but never to credit from before. */
	#floor = new Float64Array(this.#capacity);
	#virtual = new Float64Array(this.#capacity);
	#maxFinish = new Float64Array(this.#capacity);
	#waiting = new Int32Array(this.#capacity);
	#running = new Int32Array(this.#capacity);
	#position = new Int32Array(this.#capacity);
	#head = new Int32Array(this.#capacity);
	#tail = new Int32Array(this.#capacity);
	#children = new Int32Array(this.#capacity);
	#idleNext = new Int32Array(this.#capacity);
	#idlePrevious = new Int32Array(this.#capacity);
	#heap: (number[] | undefined)[] = [];
	#id: string[] = [];
	#index: (Map<string, number> | undefined)[] = [];

	#activations = 0;
	#idleHand = NONE;
	/** Exact operation counts, for tests of growth. */
	heapMoves = 0;

	constructor(requests: RequestTable) {
		this.#requests = requests;
	}

	/** A new queue; its node is the handle for everything below. */
	createRoot(): number {
		const root = this.#allocate();
		this.#parent[root] = NONE;
		this.#index[root] = new Map();
		this.#heap[root] = [];
		return root;
	}

	/** Number of nodes alive, roots included. */
	get nodeCount(): number {
		return this.#size - this.#free.length;
	}

	/** The node above, -1 for a root. */
	parentOf(node: number): number {
		return this.#parent[node]!;
	}

	/** The ids from the root (exclusive) to a node: its flow path. */
	pathOf(node: number): FlowPath {
		const ids: string[] = [];
		for (let at = node; this.#parent[at] !== NONE; at = this.#parent[at]!) ids.unshift(this.#id[at]!);
		return { ids };
	}

	waiting(node: number): number {
		return this.#waiting[node]!;
	}

	/** The leaf of `path` below `root`, made if it is new. */
	leaf(root: number, path: FlowPath): number {
		// Here, not later: a sweep after the look-up could drop the very node that was found.
		this.#sweep(SWEEP_PER_SUBMIT);
		const index = this.#index[root]!;
		const ids = path.ids;
		const known = index.get(ids[ids.length - 1]!);
		if (known !== undefined) return known;
		let node = root;
		for (const id of ids) {
			let child = index.get(id);
			if (child === undefined) {
				child = this.#allocate();
				this.#parent[child] = node;
				this.#id[child] = id;
				this.#children[node] = this.#children[node]! + 1;
				this.#heap[node] ??= [];
				index.set(id, child);
			}
			node = child;
		}
		return node;
	}

	/** Appends a request to its flow. */
	enqueue(leaf: number, request: number): void {
		const { next, previous } = this.#requests;
		const tail = this.#tail[leaf]!;
		next[request] = NONE;
		previous[request] = tail;
		if (tail === NONE) this.#head[leaf] = request;
		else next[tail] = request;
		this.#tail[leaf] = request;
		this.#addWaiting(leaf);
	}

	/** Puts a request that was taken back at the head of its flow. */
	enqueueFirst(leaf: number, request: number): void {
		const { next, previous } = this.#requests;
		const head = this.#head[leaf]!;
		previous[request] = NONE;
		next[request] = head;
		if (head === NONE) this.#tail[leaf] = request;
		else previous[head] = request;
		this.#head[leaf] = request;
		this.#addWaiting(leaf);
	}

	/** The request that fairness would serve next, or -1. */
	peek(root: number): number {
		if (this.#waiting[root] === 0) return NONE;
		let node = root;
		for (;;) {
			const heap = this.#heap[node];
			if (heap === undefined || heap.length === 0) return this.#head[node]!;
			node = heap[0]!;
		}
	}

	/** Takes the request that `peek` named out of its flow and charges its path. */
	dispatch(leaf: number, request: number, cost: Cost, weight: number): void {
		this.#unlink(leaf, request);
		let amount = cost / weight;
		let node = leaf;
		for (let parent = this.#parent[node]!; parent !== NONE; parent = this.#parent[node]!) {
			const start = this.#tag[node]!;
			const finish = start + amount;
			if (start > this.#virtual[parent]!) this.#virtual[parent] = start;
			if (finish > this.#maxFinish[parent]!) this.#maxFinish[parent] = finish;
			this.#finish[node] = finish;
			this.#running[node] = this.#running[node]! + 1;
			const left = this.#waiting[node]! - 1;
			this.#waiting[node] = left;
			if (left > 0) {
				this.#tag[node] = finish;
				this.#order[node] = ++this.#activations;
				this.#siftDown(parent, this.#position[node]!);
			} else {
				this.#heapRemove(parent, node);
			}
			amount = cost;
			node = parent;
		}
		this.#waiting[node] = this.#waiting[node]! - 1;
		this.#running[node] = this.#running[node]! + 1;
	}

	/** Takes a waiting request out of its flow (cancelled, expired, displaced, moved): nothing is charged. */
	remove(leaf: number, request: number): void {
		this.#unlink(leaf, request);
		let node = leaf;
		for (let parent = this.#parent[node]!; parent !== NONE; parent = this.#parent[node]!) {
			const left = this.#waiting[node]! - 1;
			this.#waiting[node] = left;
			if (left === 0) this.#heapRemove(parent, node);
			node = parent;
		}
		this.#waiting[node] = this.#waiting[node]! - 1;
		this.#retire(leaf);
	}

	/** Moves the finish tags of a path by `delta` cost: positive is more use than charged, negative a refund. */
	adjust(leaf: number, delta: Cost, weight: number): void {
		let amount = delta / weight;
		let node = leaf;
		for (let parent = this.#parent[node]!; parent !== NONE; parent = this.#parent[node]!) {
			const finish = this.#finish[node]! + amount;
			this.#finish[node] = finish;
			if (finish > this.#maxFinish[parent]!) this.#maxFinish[parent] = finish;
			if (this.#waiting[node]! > 0) {
				const tag = this.#tag[node]!;
				const start = Math.max(finish, this.#floor[node]!);
				if (start !== tag) {
					this.#tag[node] = start;
					const position = this.#position[node]!;
					if (start < tag) this.#siftUp(parent, position);
					else this.#siftDown(parent, position);
				}
			}
			amount = delta;
			node = parent;
		}
	}

	/** A dispatched request of this flow ended or was taken back. */
	release(leaf: number): void {
		for (let node = leaf; node !== NONE; node = this.#parent[node]!) {
			this.#running[node] = this.#running[node]! - 1;
		}
		this.#retire(leaf);
	}

	#addWaiting(leaf: number): void {
		let node = leaf;
		for (let parent = this.#parent[node]!; parent !== NONE; parent = this.#parent[node]!) {
			const count = this.#waiting[node]!;
			this.#waiting[node] = count + 1;
			if (count === 0) {
				if (this.#idleNext[node] !== NONE) this.#idleRemove(node);
				const start = Math.max(this.#finish[node]!, this.#virtual[parent]!);
				this.#tag[node] = start;
				this.#floor[node] = start;
				this.#order[node] = ++this.#activations;
				const heap = this.#heap[parent]!;
				heap.push(node);
				this.#position[node] = heap.length - 1;
				this.#siftUp(parent, heap.length - 1);
			}
			node = parent;
		}
		this.#waiting[node] = this.#waiting[node]! + 1;
	}

	#unlink(leaf: number, request: number): void {
		const { next, previous } = this.#requests;
		const before = previous[request]!;
		const after = next[request]!;
		if (before === NONE) this.#head[leaf] = after;
		else next[before] = after;
		if (after === NONE) this.#tail[leaf] = before;
		else previous[after] = before;
	}

	/** Ends busy periods along the path of a leaf that may have become idle, and drops or parks idle nodes. */
	#retire(leaf: number): void {
		for (let node = leaf; node !== NONE; ) {
			if (this.#waiting[node]! > 0 || this.#running[node]! > 0) return;
			if (this.#maxFinish[node]! > this.#virtual[node]!) this.#virtual[node] = this.#maxFinish[node]!;
			const parent = this.#parent[node]!;
			if (parent === NONE) return;
			if (!this.#dropIfSettled(node) && this.#idleNext[node] === NONE) this.#idleInsert(node);
			node = parent;
		}
	}

	#dropIfSettled(node: number): boolean {
		const parent = this.#parent[node]!;
		if (this.#children[node]! > 0 || this.#finish[node]! > this.#virtual[parent]!) return false;
		if (this.#idleNext[node] !== NONE) this.#idleRemove(node);
		this.#index[this.#rootOf(parent)]!.delete(this.#id[node]!);
		this.#children[parent] = this.#children[parent]! - 1;
		this.#id[node] = "";
		this.#free.push(node);
		return true;
	}

	#sweep(count: number): void {
		for (let i = 0; i < count && this.#idleHand !== NONE; i++) {
			const node = this.#idleHand;
			this.#idleHand = this.#idleNext[node]!;
			this.#dropIfSettled(node);
		}
	}

	#rootOf(node: number): number {
		let root = node;
		while (this.#parent[root] !== NONE) root = this.#parent[root]!;
		return root;
	}

	// The idle ring: circular, doubly linked; idleNext is NONE outside it.

	#idleInsert(node: number): void {
		const hand = this.#idleHand;
		if (hand === NONE) {
			this.#idleNext[node] = node;
			this.#idlePrevious[node] = node;
			this.#idleHand = node;
			return;
		}
		const last = this.#idlePrevious[hand]!;
		this.#idleNext[node] = hand;
		this.#idlePrevious[node] = last;
		this.#idleNext[last] = node;
		this.#idlePrevious[hand] = node;
	}

	#idleRemove(node: number): void {
		const after = this.#idleNext[node]!;
		if (after === node) {
			this.#idleHand = NONE;
		} else {
			const before = this.#idlePrevious[node]!;
			this.#idleNext[before] = after;
			this.#idlePrevious[after] = before;
			if (this.#idleHand === node) this.#idleHand = after;
		}
		this.#idleNext[node] = NONE;
	}

	// Binary heaps of children by (start tag, order of activation).

	#siftUp(parent: number, from: number): void {
		const heap = this.#heap[parent]!;
		const node = heap[from]!;
		const tag = this.#tag[node]!;
		const order = this.#order[node]!;
		let at = from;
		while (at > 0) {
			const up = (at - 1) >> 1;
			const other = heap[up]!;
			const otherTag = this.#tag[other]!;
			if (otherTag < tag || (otherTag === tag && this.#order[other]! < order)) break;
			heap[at] = other;
			this.#position[other] = at;
			at = up;
			this.heapMoves++;
		}
		heap[at] = node;
		this.#position[node] = at;
	}

	#siftDown(parent: number, from: number): void {
		const heap = this.#heap[parent]!;
		const length = heap.length;
		const node = heap[from]!;
		const tag = this.#tag[node]!;
		const order = this.#order[node]!;
		let at = from;
		for (let child = 2 * at + 1; child < length; child = 2 * at + 1) {
			let best = heap[child]!;
			let bestTag = this.#tag[best]!;
			if (child + 1 < length) {
				const right = heap[child + 1]!;
				const rightTag = this.#tag[right]!;
				if (rightTag < bestTag || (rightTag === bestTag && this.#order[right]! < this.#order[best]!)) {
					best = right;
					bestTag = rightTag;
					child++;
				}
			}
			if (tag < bestTag || (tag === bestTag && order < this.#order[best]!)) break;
			heap[at] = best;
			this.#position[best] = at;
			at = child;
			this.heapMoves++;
		}
		heap[at] = node;
		this.#position[node] = at;
	}

	#heapRemove(parent: number, node: number): void {
		const heap = this.#heap[parent]!;
		const at = this.#position[node]!;
		const last = heap.pop()!;
		if (last !== node) {
			heap[at] = last;
			this.#position[last] = at;
			this.#siftUp(parent, at);
			this.#siftDown(parent, this.#position[last]!);
		}
		this.#position[node] = NONE;
	}

	#allocate(): number {
		const node = this.#free.pop() ?? this.#size++;
		if (node >= this.#capacity) this.#grow();
		this.#tag[node] = 0;
		this.#finish[node] = 0;
		this.#virtual[node] = 0;
		this.#maxFinish[node] = 0;
		this.#waiting[node] = 0;
		this.#running[node] = 0;
		this.#position[node] = NONE;
		this.#head[node] = NONE;
		this.#tail[node] = NONE;
		this.#children[node] = 0;
		this.#idleNext[node] = NONE;
		return node;
	}

	#grow(): void {
		const capacity = this.#capacity * 2;
		const int = (old: Int32Array): Int32Array<ArrayBuffer> => {
			const larger = new Int32Array(capacity);
			larger.set(old);
			return larger;
		};
		const float = (old: Float64Array): Float64Array<ArrayBuffer> => {
			const larger = new Float64Array(capacity);
			larger.set(old);
			return larger;
		};
		this.#parent = int(this.#parent);
		this.#tag = float(this.#tag);
		this.#order = float(this.#order);
		this.#finish = float(this.#finish);
		this.#floor = float(this.#floor);
		this.#virtual = float(this.#virtual);
		this.#maxFinish = float(this.#maxFinish);
		this.#waiting = int(this.#waiting);
		this.#running = int(this.#running);
		this.#position = int(this.#position);
		this.#head = int(this.#head);
		this.#tail = int(this.#tail);
		this.#children = int(this.#children);
		this.#idleNext = int(this.#idleNext);
		this.#idlePrevious = int(this.#idlePrevious);
		this.#capacity = capacity;
	}
}
