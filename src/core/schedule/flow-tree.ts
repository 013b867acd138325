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
 * Nodes and requests are small integers. A node is 48 bytes of links and counters and 48 of tags, each side by side in one array:
 * what one step needs comes in one or two cache lines. Cost per dispatch: Σ log(children).
 */
import type { Cost } from "../model/units.ts";
import { type FlowPath, flowPathOf } from "./flow-path.ts";
import type { RequestTable } from "./request-table.ts";

const NONE = -1;
const SWEEP_PER_SUBMIT = 2;
/** `peek` has to look again. */
const UNKNOWN = -2;

/** Links and counters of a node. */
const LINKS = 12;
const PARENT = 0;
const WAITING = 1;
const RUNNING = 2;
const POSITION = 3;
const HEAD = 4;
const TAIL = 5;
const CHILDREN = 6;
const IDLE_NEXT = 7;
const IDLE_PREVIOUS = 8;
/** Counts the lives of a node, so that a note of where a flow was found is known to be old. */
const GENERATION = 9;
/** Of a root: the request that `peek` found, while nothing happened since. */
const TOP = 10;

/** Tags of a node. */
const TAGS = 6;
const TAG = 0;
const ORDER = 1;
const FINISH = 2;
/** Tag at which its present backlog began: a refund reaches down to it, below V too, but never to credit from before. */
const FLOOR = 3;
const VIRTUAL = 4;
const MAX_FINISH = 5;

export class FlowTree {
	#capacity = 64;
	#free: number[] = [];
	#size = 0;
	readonly #requests: RequestTable;

	#links = new Int32Array(this.#capacity * LINKS);
	#tags = new Float64Array(this.#capacity * TAGS);
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
		this.#links[root * LINKS + PARENT] = NONE;
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
		return this.#links[node * LINKS + PARENT]!;
	}

	/** The ids from the root (exclusive) to a node: its flow path. */
	pathOf(node: number): FlowPath {
		const ids: string[] = [];
		for (let at = node; this.parentOf(at) !== NONE; at = this.parentOf(at)) ids.unshift(this.#id[at]!);
		return flowPathOf(ids);
	}

	waiting(node: number): number {
		return this.#links[node * LINKS + WAITING]!;
	}

	/** The leaf of `path` below `root`, made if it is new. */
	leaf(root: number, path: FlowPath): number {
		// Here, not later: a sweep after the look-up could drop the very node that was found.
		if (this.#idleHand !== NONE) this.#sweep(SWEEP_PER_SUBMIT);
		if (
			path.foundRoot === root &&
			path.foundIn === this &&
			this.#links[path.foundLeaf * LINKS + GENERATION] === path.foundGeneration
		) {
			return path.foundLeaf;
		}
		const leaf = this.#lookUp(root, path.ids);
		path.foundIn = this;
		path.foundRoot = root;
		path.foundLeaf = leaf;
		path.foundGeneration = this.#links[leaf * LINKS + GENERATION]!;
		return leaf;
	}

	/** Appends a request to its flow. */
	enqueue(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const tail = links[leaf * LINKS + TAIL]!;
		requests.setNext(request, NONE);
		requests.setPrevious(request, tail);
		if (tail === NONE) links[leaf * LINKS + HEAD] = request;
		else requests.setNext(tail, request);
		links[leaf * LINKS + TAIL] = request;
		this.#addWaiting(leaf);
	}

	/** Puts a request that was taken back at the head of its flow. */
	enqueueFirst(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const head = links[leaf * LINKS + HEAD]!;
		requests.setNext(request, head);
		if (head === NONE) links[leaf * LINKS + TAIL] = request;
		else requests.setPrevious(head, request);
		links[leaf * LINKS + HEAD] = request;
		links[this.#addWaiting(leaf) * LINKS + TOP] = UNKNOWN;
	}

	/** The request that fairness would serve next, or -1. */
	peek(root: number): number {
		const links = this.#links;
		const known = links[root * LINKS + TOP]!;
		if (known !== UNKNOWN) return known;
		let top = NONE;
		if (links[root * LINKS + WAITING] !== 0) {
			let node = root;
			for (let heap = this.#heap[node]; heap !== undefined && heap.length > 0; heap = this.#heap[node]) node = heap[0]!;
			top = links[node * LINKS + HEAD]!;
		}
		links[root * LINKS + TOP] = top;
		return top;
	}

	/** Takes the request that `peek` named out of its flow and charges its path. */
	dispatch(leaf: number, request: number, cost: Cost, weight: number): void {
		this.#unlink(leaf, request);
		const links = this.#links;
		const tags = this.#tags;
		let amount = cost / weight;
		let node = leaf;
		for (let parent = links[node * LINKS + PARENT]!; parent !== NONE; parent = links[node * LINKS + PARENT]!) {
			const tag = node * TAGS;
			const above = parent * TAGS;
			const start = tags[tag + TAG]!;
			const finish = start + amount;
			if (start > tags[above + VIRTUAL]!) tags[above + VIRTUAL] = start;
			if (finish > tags[above + MAX_FINISH]!) tags[above + MAX_FINISH] = finish;
			tags[tag + FINISH] = finish;
			links[node * LINKS + RUNNING]!++;
			const left = links[node * LINKS + WAITING]! - 1;
			links[node * LINKS + WAITING] = left;
			if (left > 0) {
				tags[tag + TAG] = finish;
				tags[tag + ORDER] = ++this.#activations;
				this.#siftDown(parent, links[node * LINKS + POSITION]!);
			} else {
				this.#heapRemove(parent, node);
			}
			amount = cost;
			node = parent;
		}
		links[node * LINKS + WAITING]!--;
		links[node * LINKS + RUNNING]!++;
		links[node * LINKS + TOP] = UNKNOWN;
	}

	/** Takes a waiting request out of its flow (cancelled, expired, displaced, moved): nothing is charged. */
	remove(leaf: number, request: number): void {
		this.#unlink(leaf, request);
		const links = this.#links;
		let node = leaf;
		for (let parent = links[node * LINKS + PARENT]!; parent !== NONE; parent = links[node * LINKS + PARENT]!) {
			const left = links[node * LINKS + WAITING]! - 1;
			links[node * LINKS + WAITING] = left;
			if (left === 0) this.#heapRemove(parent, node);
			node = parent;
		}
		links[node * LINKS + WAITING]!--;
		links[node * LINKS + TOP] = UNKNOWN;
		this.#retire(leaf);
	}

	/** Moves the finish tags of a path by `delta` cost: positive is more use than charged, negative a refund. */
	adjust(leaf: number, delta: Cost, weight: number): void {
		const links = this.#links;
		const tags = this.#tags;
		let amount = delta / weight;
		let node = leaf;
		for (let parent = links[node * LINKS + PARENT]!; parent !== NONE; parent = links[node * LINKS + PARENT]!) {
			const at = node * TAGS;
			const finish = tags[at + FINISH]! + amount;
			tags[at + FINISH] = finish;
			if (finish > tags[parent * TAGS + MAX_FINISH]!) tags[parent * TAGS + MAX_FINISH] = finish;
			if (links[node * LINKS + WAITING]! > 0) {
				const tag = tags[at + TAG]!;
				const start = Math.max(finish, tags[at + FLOOR]!);
				if (start !== tag) {
					tags[at + TAG] = start;
					const position = links[node * LINKS + POSITION]!;
					if (start < tag) this.#siftUp(parent, position);
					else this.#siftDown(parent, position);
				}
			}
			amount = delta;
			node = parent;
		}
		links[node * LINKS + TOP] = UNKNOWN;
	}

	/** A dispatched request of this flow ended or was taken back. */
	release(leaf: number): void {
		const links = this.#links;
		for (let node = leaf; node !== NONE; node = links[node * LINKS + PARENT]!) links[node * LINKS + RUNNING]!--;
		if (links[leaf * LINKS + WAITING] === 0) this.#retire(leaf);
	}

	#lookUp(root: number, ids: readonly string[]): number {
		const index = this.#index[root]!;
		const known = index.get(ids[ids.length - 1]!);
		if (known !== undefined) return known;
		let node = root;
		for (const id of ids) {
			let child = index.get(id);
			if (child === undefined) {
				child = this.#allocate();
				this.#links[child * LINKS + PARENT] = node;
				this.#id[child] = id;
				this.#links[node * LINKS + CHILDREN]!++;
				this.#heap[node] ??= [];
				index.set(id, child);
			}
			node = child;
		}
		return node;
	}

	/** One more waits in a leaf; returns its root. */
	#addWaiting(leaf: number): number {
		const links = this.#links;
		const tags = this.#tags;
		let node = leaf;
		let changed = false;
		for (let parent = links[node * LINKS + PARENT]!; parent !== NONE; parent = links[node * LINKS + PARENT]!) {
			const count = links[node * LINKS + WAITING]!;
			links[node * LINKS + WAITING] = count + 1;
			if (count === 0) {
				changed = true;
				if (links[node * LINKS + IDLE_NEXT] !== NONE) this.#idleRemove(node);
				const start = Math.max(tags[node * TAGS + FINISH]!, tags[parent * TAGS + VIRTUAL]!);
				tags[node * TAGS + TAG] = start;
				tags[node * TAGS + FLOOR] = start;
				tags[node * TAGS + ORDER] = ++this.#activations;
				const heap = this.#heap[parent]!;
				heap.push(node);
				this.#siftUp(parent, heap.length - 1);
			}
			node = parent;
		}
		links[node * LINKS + WAITING]!++;
		if (changed) links[node * LINKS + TOP] = UNKNOWN;
		return node;
	}

	#unlink(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const after = requests.next(request);
		if (links[leaf * LINKS + HEAD] === request) {
			// The new head keeps what it knows of the one before it: nobody asks, and its row is cold.
			links[leaf * LINKS + HEAD] = after;
			if (after === NONE) links[leaf * LINKS + TAIL] = NONE;
			return;
		}
		const before = requests.previous(request);
		requests.setNext(before, after);
		if (after === NONE) links[leaf * LINKS + TAIL] = before;
		else requests.setPrevious(after, before);
	}

	/** Ends busy periods along the path of a leaf that may have become idle, and drops or parks idle nodes. */
	#retire(leaf: number): void {
		const links = this.#links;
		const tags = this.#tags;
		for (let node = leaf; node !== NONE; ) {
			if (links[node * LINKS + WAITING]! > 0 || links[node * LINKS + RUNNING]! > 0) return;
			const at = node * TAGS;
			if (tags[at + MAX_FINISH]! > tags[at + VIRTUAL]!) tags[at + VIRTUAL] = tags[at + MAX_FINISH]!;
			const parent = links[node * LINKS + PARENT]!;
			if (parent === NONE) return;
			if (!this.#dropIfSettled(node) && links[node * LINKS + IDLE_NEXT] === NONE) this.#idleInsert(node);
			node = parent;
		}
	}

	#dropIfSettled(node: number): boolean {
		const links = this.#links;
		const at = node * LINKS;
		const parent = links[at + PARENT]!;
		if (links[at + CHILDREN]! > 0 || this.#tags[node * TAGS + FINISH]! > this.#tags[parent * TAGS + VIRTUAL]!) {
			return false;
		}
		if (links[at + IDLE_NEXT] !== NONE) this.#idleRemove(node);
		this.#index[this.#rootOf(parent)]!.delete(this.#id[node]!);
		links[parent * LINKS + CHILDREN]!--;
		links[at + GENERATION]!++;
		this.#id[node] = "";
		this.#free.push(node);
		return true;
	}

	#sweep(count: number): void {
		for (let i = 0; i < count && this.#idleHand !== NONE; i++) {
			const node = this.#idleHand;
			this.#idleHand = this.#links[node * LINKS + IDLE_NEXT]!;
			this.#dropIfSettled(node);
		}
	}

	#rootOf(node: number): number {
		let root = node;
		while (this.parentOf(root) !== NONE) root = this.parentOf(root);
		return root;
	}

	// The idle ring: circular, doubly linked; IDLE_NEXT is NONE outside it.

	#idleInsert(node: number): void {
		const links = this.#links;
		const hand = this.#idleHand;
		if (hand === NONE) {
			links[node * LINKS + IDLE_NEXT] = node;
			links[node * LINKS + IDLE_PREVIOUS] = node;
			this.#idleHand = node;
			return;
		}
		const last = links[hand * LINKS + IDLE_PREVIOUS]!;
		links[node * LINKS + IDLE_NEXT] = hand;
		links[node * LINKS + IDLE_PREVIOUS] = last;
		links[last * LINKS + IDLE_NEXT] = node;
		links[hand * LINKS + IDLE_PREVIOUS] = node;
	}

	#idleRemove(node: number): void {
		const links = this.#links;
		const after = links[node * LINKS + IDLE_NEXT]!;
		if (after === node) {
			this.#idleHand = NONE;
		} else {
			const before = links[node * LINKS + IDLE_PREVIOUS]!;
			links[before * LINKS + IDLE_NEXT] = after;
			links[after * LINKS + IDLE_PREVIOUS] = before;
			if (this.#idleHand === node) this.#idleHand = after;
		}
		links[node * LINKS + IDLE_NEXT] = NONE;
	}

	// Binary heaps of children by (start tag, order of activation).

	#siftUp(parent: number, from: number): void {
		const links = this.#links;
		const tags = this.#tags;
		const heap = this.#heap[parent]!;
		const node = heap[from]!;
		const tag = tags[node * TAGS + TAG]!;
		const order = tags[node * TAGS + ORDER]!;
		let at = from;
		while (at > 0) {
			const up = (at - 1) >> 1;
			const other = heap[up]!;
			const otherTag = tags[other * TAGS + TAG]!;
			if (otherTag < tag || (otherTag === tag && tags[other * TAGS + ORDER]! < order)) break;
			heap[at] = other;
			links[other * LINKS + POSITION] = at;
			at = up;
			this.heapMoves++;
		}
		heap[at] = node;
		links[node * LINKS + POSITION] = at;
	}

	#siftDown(parent: number, from: number): void {
		const links = this.#links;
		const tags = this.#tags;
		const heap = this.#heap[parent]!;
		const length = heap.length;
		const node = heap[from]!;
		const tag = tags[node * TAGS + TAG]!;
		const order = tags[node * TAGS + ORDER]!;
		let at = from;
		let moves = 0;
		for (let child = 2 * at + 1; child < length; child = 2 * at + 1) {
			let best = heap[child]!;
			let bestTag = tags[best * TAGS + TAG]!;
			if (child + 1 < length) {
				const right = heap[child + 1]!;
				const rightTag = tags[right * TAGS + TAG]!;
				if (rightTag < bestTag || (rightTag === bestTag && tags[right * TAGS + ORDER]! < tags[best * TAGS + ORDER]!)) {
					best = right;
					bestTag = rightTag;
					child++;
				}
			}
			if (tag < bestTag || (tag === bestTag && order < tags[best * TAGS + ORDER]!)) break;
			heap[at] = best;
			links[best * LINKS + POSITION] = at;
			at = child;
			moves++;
		}
		heap[at] = node;
		links[node * LINKS + POSITION] = at;
		this.heapMoves += moves;
	}

	#heapRemove(parent: number, node: number): void {
		const links = this.#links;
		const heap = this.#heap[parent]!;
		const at = links[node * LINKS + POSITION]!;
		const last = heap.pop()!;
		if (last !== node) {
			heap[at] = last;
			links[last * LINKS + POSITION] = at;
			this.#siftUp(parent, at);
			this.#siftDown(parent, links[last * LINKS + POSITION]!);
		}
		links[node * LINKS + POSITION] = NONE;
	}

	#allocate(): number {
		const node = this.#free.pop() ?? this.#size++;
		if (node >= this.#capacity) this.#grow();
		const links = this.#links;
		const at = node * LINKS;
		// All but the generation, which goes on.
		links.fill(0, at, at + GENERATION);
		links[at + POSITION] = NONE;
		links[at + HEAD] = NONE;
		links[at + TAIL] = NONE;
		links[at + IDLE_NEXT] = NONE;
		links[at + TOP] = UNKNOWN;
		this.#tags.fill(0, node * TAGS, node * TAGS + TAGS);
		return node;
	}

	#grow(): void {
		const capacity = this.#capacity + Math.max(64, this.#capacity >> 2);
		const links = new Int32Array(capacity * LINKS);
		links.set(this.#links);
		this.#links = links;
		const tags = new Float64Array(capacity * TAGS);
		tags.set(this.#tags);
		this.#tags = tags;
		this.#capacity = capacity;
	}
}
