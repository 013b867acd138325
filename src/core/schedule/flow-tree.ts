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
 * Nodes and requests are small integers. A node is 64 bytes, one cache line: eight counters and links, four tags. A heap keeps the
 * keys of its nodes in itself, so that sifting reads neighbours in memory and not a line per node. Cost per dispatch: Σ log(children).
 */
import type { Cost, Tokens } from "../model/units.ts";
import { type FlowPath, flowPathOf } from "./flow-path.ts";
import type { RequestTable } from "./request-table.ts";

const NONE = -1;
const SWEEP_PER_SUBMIT = 2;
const SIBLINGS_SEEN = 256;

/** Width of a node in 32-bit words, a power of two so that its fields are a shift away, and where its links and counters are. */
const LINK_BITS = 4;
const LINKS = 1 << LINK_BITS;
const PARENT = 0;
const WAITING = 1;
const RUNNING = 2;
/** In its parent's heap. */
const POSITION = 3;
/** An idle node is in no heap either. */
const IDLE_PREVIOUS = 3;
/** The request that would be served first: of a leaf its oldest, else that of the first child. */
const HEAD = 4;
const TAIL = 5;
const CHILDREN = 6;
const IDLE_NEXT = 7;

/** The same in doubles: its tags. */
const TAG_BITS = 3;
const FINISH = 4;
/** Tag at which its present backlog began: a refund reaches down to it, below V too, but never to credit from before. */
const FLOOR = 5;
/** V of its children, and the largest finish tag among them. */
const VIRTUAL = 6;
const MAX_FINISH = 7;

/** An entry of a heap: start tag, order of activation, node, nothing. Four children each: half the levels of a binary heap. */
const ENTRY = 4;
const ARITY = 4;

export class FlowTree {
	#capacity = 64;
	#free: number[] = [];
	#size = 0;
	readonly #requests: RequestTable;

	#links = new Int32Array(this.#capacity * LINKS);
	#tags = new Float64Array(this.#links.buffer);
	/** Counts the lives of a node, so that a path's note of where it was found is known to be old. */
	#generations = new Int32Array(this.#capacity);
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
		this.#links[(root << LINK_BITS) | PARENT] = NONE;
		this.#index[root] = new Map();
		this.#heap[root] = emptyHeap();
		return root;
	}

	/** Number of nodes alive, roots included. */
	get nodeCount(): number {
		return this.#size - this.#free.length;
	}

	/** The node above, -1 for a root. */
	parentOf(node: number): number {
		return this.#links[(node << LINK_BITS) | PARENT]!;
	}

	/** The ids from the root (exclusive) to a node: its flow path. */
	pathOf(node: number): FlowPath {
		const ids: string[] = [];
		for (let at = node; this.parentOf(at) !== NONE; at = this.parentOf(at)) ids.unshift(this.#id[at]!);
		return flowPathOf(ids);
	}

	waiting(node: number): number {
		return this.#links[(node << LINK_BITS) | WAITING]!;
	}

	/** The leaf of `path` below `root`, made if it is new. */
	leaf(root: number, path: FlowPath): number {
		// Here, not later: a sweep after the look-up could drop the very node that was found.
		if (this.#idleHand !== NONE) this.#sweep(SWEEP_PER_SUBMIT);
		if (
			path.foundRoot === root &&
			path.foundIn === this &&
			this.#generations[path.foundLeaf] === path.foundGeneration
		) {
			return path.foundLeaf;
		}
		const leaf = this.#lookUp(root, path.ids);
		path.foundIn = this;
		path.foundRoot = root;
		path.foundLeaf = leaf;
		path.foundGeneration = this.#generations[leaf]!;
		return leaf;
	}

	/**
	 * What would be served below this root before a new request of `path`, were everything served at its share from now on: what is
	 * before it in its own flow (taken to be like it), and of each sibling at each step what it gets by then (taken to be like its first).
	 * It looks at `SIBLINGS_SEEN` siblings a step and takes the rest to be like them. Changes nothing.
	 */
	aheadOf(
		root: number,
		path: FlowPath,
		like: { readonly cost: Cost; readonly tokens: Tokens; readonly weight: number },
		costOfRow: (row: number) => Cost,
	): { readonly requests: number; readonly tokens: Tokens } {
		const links = this.#links;
		const tags = this.#tags;
		const index = this.#index[root]!;
		const last = path.ids.length - 1;
		const own = index.get(path.ids[last]!);
		let requests = own === undefined ? 0 : links[(own << LINK_BITS) | WAITING]!;
		let tokens = requests * like.tokens;
		// Cost served in the branch that has been looked at, the new request's included.
		let served = (requests + 1) * like.cost;
		for (let step = last; step >= 0; step--) {
			const parent = step === 0 ? root : index.get(path.ids[step - 1]!);
			const heap = parent === undefined ? undefined : this.#heap[parent];
			if (parent === undefined || heap === undefined) continue;
			const node = index.get(path.ids[step]!) ?? NONE;
			const virtual = tags[(parent << TAG_BITS) | VIRTUAL]!;
			const debt = node === NONE ? 0 : Math.max(0, tags[(node << TAG_BITS) | FINISH]! - virtual);
			const until = debt + served / (step === last ? like.weight : 1);
			const siblings = heap.length / ENTRY - (node !== NONE && links[(node << LINK_BITS) | WAITING]! > 0 ? 1 : 0);
			let seen = 0;
			let theirRequests = 0;
			let theirTokens = 0;
			let theirCost = 0;
			for (let at = 0; at < heap.length && seen < SIBLINGS_SEEN; at += ENTRY) {
				const start = heap[at]!;
				const sibling = heap[at + 2]!;
				if (sibling === node) continue;
				seen++;
				const first = links[(sibling << LINK_BITS) | HEAD]!;
				const cost = costOfRow(first);
				const weight = step === last ? this.#requests.weight(first) : 1;
				const gets = Math.max(0, until - Math.max(0, start - virtual)) * weight;
				const count = Math.min(
					links[(sibling << LINK_BITS) | WAITING]!,
					cost === 0 ? Number.POSITIVE_INFINITY : gets / cost,
				);
				theirRequests += count;
				theirTokens += count * this.#requests.charge(first);
				theirCost += count * cost;
			}
			if (seen === 0) continue;
			const scale = siblings / seen;
			requests += theirRequests * scale;
			tokens += theirTokens * scale;
			served += theirCost * scale;
		}
		return { requests, tokens };
	}

	/** Appends a request to its flow. */
	enqueue(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const tail = links[(leaf << LINK_BITS) | TAIL]!;
		requests.setNext(request, NONE);
		requests.setPrevious(request, tail);
		if (tail === NONE) links[(leaf << LINK_BITS) | HEAD] = request;
		else requests.setNext(tail, request);
		links[(leaf << LINK_BITS) | TAIL] = request;
		this.#addWaiting(leaf, false);
	}

	/** Puts a request that was taken back at the head of its flow. */
	enqueueFirst(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const head = links[(leaf << LINK_BITS) | HEAD]!;
		requests.setNext(request, head);
		if (head === NONE) links[(leaf << LINK_BITS) | TAIL] = request;
		else requests.setPrevious(head, request);
		links[(leaf << LINK_BITS) | HEAD] = request;
		this.#addWaiting(leaf, true);
	}

	/** The request that fairness would serve next, or -1. */
	peek(root: number): number {
		return this.#links[(root << LINK_BITS) | HEAD]!;
	}

	/** Takes the request that `peek` named out of its flow and charges its path. */
	dispatch(leaf: number, request: number, cost: Cost, weight: number): void {
		this.#unlink(leaf, request);
		const links = this.#links;
		const tags = this.#tags;
		let amount = cost / weight;
		let node = leaf;
		for (
			let parent = links[(node << LINK_BITS) | PARENT]!;
			parent !== NONE;
			parent = links[(node << LINK_BITS) | PARENT]!
		) {
			const tag = node << TAG_BITS;
			const above = parent << TAG_BITS;
			const heap = this.#heap[parent]!;
			const position = links[(node << LINK_BITS) | POSITION]!;
			const start = heap[position]!;
			const finish = start + amount;
			if (start > tags[above | VIRTUAL]!) tags[above | VIRTUAL] = start;
			if (finish > tags[above | MAX_FINISH]!) tags[above | MAX_FINISH] = finish;
			tags[tag | FINISH] = finish;
			links[(node << LINK_BITS) | RUNNING]!++;
			const left = links[(node << LINK_BITS) | WAITING]! - 1;
			links[(node << LINK_BITS) | WAITING] = left;
			if (left > 0) this.#siftDown(heap, position, finish, ++this.#activations, node);
			else this.#heapRemove(heap, position, node);
			this.#followFirst(parent, heap);
			amount = cost;
			node = parent;
		}
		links[(node << LINK_BITS) | WAITING]!--;
		links[(node << LINK_BITS) | RUNNING]!++;
	}

	/** Takes a waiting request out of its flow (cancelled, expired, displaced, moved): nothing is charged. */
	remove(leaf: number, request: number): void {
		this.#unlink(leaf, request);
		const links = this.#links;
		let node = leaf;
		for (
			let parent = links[(node << LINK_BITS) | PARENT]!;
			parent !== NONE;
			parent = links[(node << LINK_BITS) | PARENT]!
		) {
			const left = links[(node << LINK_BITS) | WAITING]! - 1;
			links[(node << LINK_BITS) | WAITING] = left;
			const heap = this.#heap[parent]!;
			if (left === 0) this.#heapRemove(heap, links[(node << LINK_BITS) | POSITION]!, node);
			this.#followFirst(parent, heap);
			node = parent;
		}
		links[(node << LINK_BITS) | WAITING]!--;
		this.#retire(leaf);
	}

	/** Moves the finish tags of a path by `delta` cost: positive is more use than charged, negative a refund. */
	adjust(leaf: number, delta: Cost, weight: number): void {
		const links = this.#links;
		let amount = delta / weight;
		let node = leaf;
		for (
			let parent = links[(node << LINK_BITS) | PARENT]!;
			parent !== NONE;
			parent = links[(node << LINK_BITS) | PARENT]!
		) {
			this.#moveFinish(node, parent, amount);
			amount = delta;
			node = parent;
		}
	}

	/** A dispatched request of this flow ended or was taken back; `delta` as in `adjust`. */
	release(leaf: number, delta: Cost, weight: number): void {
		const links = this.#links;
		let amount = delta / weight;
		let node = leaf;
		for (
			let parent = links[(node << LINK_BITS) | PARENT]!;
			parent !== NONE;
			parent = links[(node << LINK_BITS) | PARENT]!
		) {
			links[(node << LINK_BITS) | RUNNING]!--;
			if (amount !== 0) this.#moveFinish(node, parent, amount);
			amount = delta;
			node = parent;
		}
		links[(node << LINK_BITS) | RUNNING]!--;
		if (links[(leaf << LINK_BITS) | WAITING] === 0) this.#retire(leaf);
	}

	#moveFinish(node: number, parent: number, amount: Cost): void {
		const links = this.#links;
		const tags = this.#tags;
		const at = node << TAG_BITS;
		const finish = tags[at | FINISH]! + amount;
		tags[at | FINISH] = finish;
		if (finish > tags[(parent << TAG_BITS) | MAX_FINISH]!) tags[(parent << TAG_BITS) | MAX_FINISH] = finish;
		if (links[(node << LINK_BITS) | WAITING] === 0) return;
		const heap = this.#heap[parent]!;
		const position = links[(node << LINK_BITS) | POSITION]!;
		const tag = heap[position]!;
		const order = heap[position + 1]!;
		const start = Math.max(finish, tags[at | FLOOR]!);
		if (start < tag) this.#siftUp(heap, position, start, order, node);
		else if (start > tag) this.#siftDown(heap, position, start, order, node);
		this.#followFirst(parent, heap);
	}

	/** After a change among the children of `parent`, or of what the first of them would serve first. */
	#followFirst(parent: number, heap: readonly number[]): void {
		const links = this.#links;
		links[(parent << LINK_BITS) | HEAD] = heap.length === 0 ? NONE : links[(heap[2]! << LINK_BITS) | HEAD]!;
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
				this.#links[(child << LINK_BITS) | PARENT] = node;
				this.#id[child] = id;
				this.#links[(node << LINK_BITS) | CHILDREN]!++;
				this.#heap[node] ??= emptyHeap();
				index.set(id, child);
			}
			node = child;
		}
		return node;
	}

	/** One more waits in a leaf, `first` or last of it. */
	#addWaiting(leaf: number, first: boolean): void {
		const links = this.#links;
		const tags = this.#tags;
		let node = leaf;
		let changed = first;
		for (
			let parent = links[(node << LINK_BITS) | PARENT]!;
			parent !== NONE;
			parent = links[(node << LINK_BITS) | PARENT]!
		) {
			const count = links[(node << LINK_BITS) | WAITING]!;
			links[(node << LINK_BITS) | WAITING] = count + 1;
			if (count === 0) {
				changed = true;
				if (links[(node << LINK_BITS) | IDLE_NEXT] !== NONE) this.#idleRemove(node);
				const start = Math.max(tags[(node << TAG_BITS) | FINISH]!, tags[(parent << TAG_BITS) | VIRTUAL]!);
				tags[(node << TAG_BITS) | FLOOR] = start;
				const heap = this.#heap[parent]!;
				const order = ++this.#activations;
				heap.push(start, order, node, 0);
				this.#siftUp(heap, heap.length - ENTRY, start, order, node);
			}
			if (changed) this.#followFirst(parent, this.#heap[parent]!);
			node = parent;
		}
		links[(node << LINK_BITS) | WAITING]!++;
	}

	#unlink(leaf: number, request: number): void {
		const requests = this.#requests;
		const links = this.#links;
		const after = requests.next(request);
		if (links[(leaf << LINK_BITS) | HEAD] === request) {
			// The new head keeps what it knows of the one before it: nobody asks, and its row is cold.
			links[(leaf << LINK_BITS) | HEAD] = after;
			if (after === NONE) links[(leaf << LINK_BITS) | TAIL] = NONE;
			return;
		}
		const before = requests.previous(request);
		requests.setNext(before, after);
		if (after === NONE) links[(leaf << LINK_BITS) | TAIL] = before;
		else requests.setPrevious(after, before);
	}

	/** Ends busy periods along the path of a leaf that may have become idle, and drops or parks idle nodes. */
	#retire(leaf: number): void {
		const links = this.#links;
		const tags = this.#tags;
		for (let node = leaf; node !== NONE; ) {
			if (links[(node << LINK_BITS) | WAITING]! > 0 || links[(node << LINK_BITS) | RUNNING]! > 0) return;
			const at = node << TAG_BITS;
			if (tags[at | MAX_FINISH]! > tags[at | VIRTUAL]!) tags[at | VIRTUAL] = tags[at | MAX_FINISH]!;
			const parent = links[(node << LINK_BITS) | PARENT]!;
			if (parent === NONE) return;
			if (!this.#dropIfSettled(node) && links[(node << LINK_BITS) | IDLE_NEXT] === NONE) this.#idleInsert(node);
			node = parent;
		}
	}

	#dropIfSettled(node: number): boolean {
		const links = this.#links;
		const at = node << LINK_BITS;
		const parent = links[at | PARENT]!;
		if (
			links[at | CHILDREN]! > 0 ||
			this.#tags[(node << TAG_BITS) | FINISH]! > this.#tags[(parent << TAG_BITS) | VIRTUAL]!
		) {
			return false;
		}
		if (links[at | IDLE_NEXT] !== NONE) this.#idleRemove(node);
		this.#index[this.#rootOf(parent)]!.delete(this.#id[node]!);
		links[(parent << LINK_BITS) | CHILDREN]!--;
		this.#generations[node]!++;
		this.#id[node] = "";
		this.#free.push(node);
		return true;
	}

	#sweep(count: number): void {
		for (let i = 0; i < count && this.#idleHand !== NONE; i++) {
			const node = this.#idleHand;
			this.#idleHand = this.#links[(node << LINK_BITS) | IDLE_NEXT]!;
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
			links[(node << LINK_BITS) | IDLE_NEXT] = node;
			links[(node << LINK_BITS) | IDLE_PREVIOUS] = node;
			this.#idleHand = node;
			return;
		}
		const last = links[(hand << LINK_BITS) | IDLE_PREVIOUS]!;
		links[(node << LINK_BITS) | IDLE_NEXT] = hand;
		links[(node << LINK_BITS) | IDLE_PREVIOUS] = last;
		links[(last << LINK_BITS) | IDLE_NEXT] = node;
		links[(hand << LINK_BITS) | IDLE_PREVIOUS] = node;
	}

	#idleRemove(node: number): void {
		const links = this.#links;
		const after = links[(node << LINK_BITS) | IDLE_NEXT]!;
		if (after === node) {
			this.#idleHand = NONE;
		} else {
			const before = links[(node << LINK_BITS) | IDLE_PREVIOUS]!;
			links[(before << LINK_BITS) | IDLE_NEXT] = after;
			links[(after << LINK_BITS) | IDLE_PREVIOUS] = before;
			if (this.#idleHand === node) this.#idleHand = after;
		}
		links[(node << LINK_BITS) | IDLE_NEXT] = NONE;
	}

	// Heaps of children by (start tag, order of activation). Both sifts file a node with that key from a free place on.

	#siftUp(heap: number[], from: number, tag: number, order: number, node: number): void {
		const links = this.#links;
		let at = from;
		while (at > 0) {
			const up = above(at);
			const otherTag = heap[up]!;
			if (otherTag < tag || (otherTag === tag && heap[up + 1]! < order)) break;
			const other = heap[up + 2]!;
			put(heap, at, otherTag, heap[up + 1]!, other);
			links[(other << LINK_BITS) | POSITION] = at;
			at = up;
			this.heapMoves++;
		}
		put(heap, at, tag, order, node);
		links[(node << LINK_BITS) | POSITION] = at;
	}

	#siftDown(heap: number[], from: number, tag: number, order: number, node: number): void {
		const links = this.#links;
		const { length } = heap;
		let at = from;
		let moves = 0;
		for (let first = below(at); first < length; first = below(at)) {
			const end = Math.min(first + ARITY * ENTRY, length);
			let best = first;
			let bestTag = heap[first]!;
			for (let child = first + ENTRY; child < end; child += ENTRY) {
				const childTag = heap[child]!;
				if (childTag < bestTag || (childTag === bestTag && heap[child + 1]! < heap[best + 1]!)) {
					best = child;
					bestTag = childTag;
				}
			}
			if (tag < bestTag || (tag === bestTag && order < heap[best + 1]!)) break;
			const other = heap[best + 2]!;
			put(heap, at, bestTag, heap[best + 1]!, other);
			links[(other << LINK_BITS) | POSITION] = at;
			at = best;
			moves++;
		}
		put(heap, at, tag, order, node);
		links[(node << LINK_BITS) | POSITION] = at;
		this.heapMoves += moves;
	}

	#heapRemove(heap: number[], at: number, node: number): void {
		const end = heap.length - ENTRY;
		const tag = heap[end]!;
		const order = heap[end + 1]!;
		const last = heap[end + 2]!;
		heap.length = end;
		if (last !== node) {
			const up = above(at);
			const rises = at > 0 && (tag < heap[up]! || (tag === heap[up]! && order < heap[up + 1]!));
			if (rises) this.#siftUp(heap, at, tag, order, last);
			else this.#siftDown(heap, at, tag, order, last);
		}
		this.#links[(node << LINK_BITS) | POSITION] = NONE;
	}

	#allocate(): number {
		const node = this.#free.pop() ?? this.#size++;
		if (node >= this.#capacity) this.#grow();
		const links = this.#links;
		const at = node << LINK_BITS;
		links.fill(0, at, at + LINKS);
		links[at | POSITION] = NONE;
		links[at | HEAD] = NONE;
		links[at | TAIL] = NONE;
		links[at | IDLE_NEXT] = NONE;
		return node;
	}

	#grow(): void {
		const capacity = this.#capacity + Math.max(64, this.#capacity >> 2);
		const links = new Int32Array(capacity * LINKS);
		links.set(this.#links);
		const generations = new Int32Array(capacity);
		generations.set(this.#generations);
		this.#links = links;
		this.#tags = new Float64Array(links.buffer);
		this.#generations = generations;
		this.#capacity = capacity;
	}
}

function put(heap: number[], at: number, tag: number, order: number, node: number): void {
	heap[at] = tag;
	heap[at + 1] = order;
	heap[at + 2] = node;
}

/** Place of an entry's parent, and of its first child. */
function above(at: number): number {
	return ((at - ENTRY) >> 4) << 2;
}

function below(at: number): number {
	return (at << 2) + ENTRY;
}

/** An empty list that the engine stores as doubles from the start: lists of both kinds would slow down every access. */
function emptyHeap(): number[] {
	const heap = [0.5];
	heap.length = 0;
	return heap;
}
