/**
 * Weighted fair queuing between queues, as start-time fair queuing (Goyal, Vin, Cheng, SIGCOMM 1996): the smallest start tag
 * `max(V, finish)` goes first, V is the start tag last served. A queue that was idle or at a rate ceiling starts at V, one that only the
 * prefill window keeps back for a moment keeps its tag; while it stays backlogged a refund takes it below V again, or wrong estimates of what runs side by side would cost it its share. When the pool has
 * nothing left to do, V becomes the largest finish tag (the end of a busy period in the paper), so that the next one starts even.
 * Deviation from the fluid share between two backlogged queues i, j over any interval: ≤ Lmax_i / w_i + Lmax_j / w_j.
 */
import type { Cost } from "../model/units.ts";
import { QueueSet } from "./queue-set.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

/** Queues to a block: the pick looks at the smallest tag of each block, and only into blocks that can hold the best. */
const BLOCK_BITS = 4;
const BLOCK = 1 << BLOCK_BITS;
const NEVER = Number.POSITIVE_INFINITY;
/** Of a block whose smallest tag went up: the next pick looks into it. */
const UNKNOWN = Number.NEGATIVE_INFINITY;

export class WeightedFair implements Scheduler {
	readonly #view: QueueView;
	readonly #finish: Float64Array;
	/** Tag at which the present backlog of a queue began; of those in `#backlogged` only. */
	readonly #floor: Float64Array;
	/** Start tags; `NEVER` for queues outside `#backlogged`. */
	readonly #start: Float64Array;
	/** Smallest start tag of each block of queues, or `UNKNOWN`. */
	readonly #least: Float64Array;
	readonly #backlogged = new QueueSet();
	readonly ignoresOrder = true;
	#virtual = 0;
	/** The last pick, -1 when a tag changed since. */
	#best = -1;
	/** `active.changes` when `#backlogged` was last made equal to it, -1 when it no longer is. */
	#changes = -1;

	constructor(view: QueueView) {
		this.#view = view;
		this.#finish = new Float64Array(view.count);
		this.#floor = new Float64Array(view.count);
		this.#start = new Float64Array(view.count).fill(NEVER);
		this.#least = new Float64Array(Math.ceil(view.count / BLOCK)).fill(NEVER);
	}

	pick(): number {
		const { active } = this.#view;
		if (active.changes !== this.#changes) this.#follow(active);
		// Asked again with nothing changed, as it is after every submission to a full pool.
		else if (this.#best >= 0 && !this.#view.anyGated) return this.#best;
		const starts = this.#start;
		const least = this.#least;
		let best = -1;
		let bestStart = NEVER;
		for (let block = 0; block < least.length; block++) {
			if (least[block]! >= bestStart) continue;
			const end = Math.min((block + 1) * BLOCK, starts.length);
			let smallest = NEVER;
			for (let queue = block * BLOCK; queue < end; queue++) {
				const start = starts[queue]!;
				if (start < bestStart) {
					if (this.#view.ready(queue)) {
						best = queue;
						bestStart = start;
					} else if (!this.#view.hasRate(queue)) {
						this.#end(queue);
						continue;
					}
				}
				if (start < smallest) smallest = start;
			}
			least[block] = smallest;
		}
		this.#best = best;
		if (best < 0 && this.#view.isIdle) {
			for (const finish of this.#finish) if (finish > this.#virtual) this.#virtual = finish;
		}
		return best;
	}

	charge(queue: number, amount: Cost, atDispatch: boolean): void {
		const finish = this.#finish;
		const share = amount / this.#view.weights[queue]!;
		if (atDispatch) {
			if (this.#start[queue] === NEVER) this.#begin(queue);
			const start = this.#start[queue]!;
			if (start > this.#virtual) this.#virtual = start;
			finish[queue] = start + share;
		} else {
			finish[queue] = finish[queue]! + share;
		}
		if (this.#start[queue] !== NEVER) this.#setStart(queue, Math.max(finish[queue]!, this.#floor[queue]!));
	}

	/** Backlogs end and begin as queues become idle and active. */
	#follow(active: QueueSet): void {
		const backlogged = this.#backlogged;
		for (let queue = backlogged.nextMissing(active, 0); queue >= 0; queue = backlogged.nextMissing(active, queue + 1)) {
			this.#end(queue);
		}
		for (let queue = active.nextMissing(backlogged, 0); queue >= 0; queue = active.nextMissing(backlogged, queue + 1)) {
			this.#begin(queue);
		}
		this.#changes = active.changes;
	}

	/** A backlog of `queue` begins, at V or where its debt ends. */
	#begin(queue: number): void {
		const start = Math.max(this.#finish[queue]!, this.#virtual);
		this.#floor[queue] = start;
		this.#setStart(queue, start);
		this.#backlogged.add(queue);
		this.#changes = -1;
	}

	/** Its backlog is over, or it was passed over: it begins anew. */
	#end(queue: number): void {
		this.#setStart(queue, NEVER);
		this.#backlogged.delete(queue);
		this.#changes = -1;
	}

	#setStart(queue: number, start: number): void {
		const starts = this.#start;
		const block = queue >> BLOCK_BITS;
		const least = this.#least[block]!;
		if (start < least) this.#least[block] = start;
		else if (starts[queue] === least) this.#least[block] = UNKNOWN;
		starts[queue] = start;
		this.#best = -1;
	}
}
