/**
 * Weighted fair queuing between queues, as start-time fair queuing (Goyal, Vin, Cheng, SIGCOMM 1996): the smallest start tag
 * `max(V, finish)` goes first, V is the start tag last served. A queue that was idle or passed over starts at V; while it stays
 * backlogged a refund takes it below V again, or wrong estimates of what runs side by side would cost it its share. When the pool has
 * nothing left to do, V becomes the largest finish tag (the end of a busy period in the paper), so that the next one starts even.
 * Deviation from the fluid share between two backlogged queues i, j over any interval: ≤ Lmax_i / w_i + Lmax_j / w_j.
 */
import type { Cost } from "../model/units.ts";
import { QueueSet } from "./queue-set.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

export class WeightedFair implements Scheduler {
	readonly #view: QueueView;
	readonly #finish: Float64Array;
	/** Tag at which the present backlog of a queue began; of those in `#backlogged` only. */
	readonly #floor: Float64Array;
	/** Start tags, `Infinity` for queues outside `#backlogged`: the pick is the smallest of a dense array. */
	readonly #start: Float64Array;
	readonly #backlogged = new QueueSet();
	readonly ignoresOrder = true;
	#virtual = 0;

	constructor(view: QueueView) {
		this.#view = view;
		this.#finish = new Float64Array(view.count);
		this.#floor = new Float64Array(view.count);
		this.#start = new Float64Array(view.count).fill(Number.POSITIVE_INFINITY);
	}

	pick(): number {
		const { active } = this.#view;
		const backlogged = this.#backlogged;
		for (let queue = backlogged.nextMissing(active, 0); queue >= 0; queue = backlogged.nextMissing(active, queue + 1)) {
			this.#end(queue);
		}
		if (this.#view.isIdle) {
			for (const finish of this.#finish) if (finish > this.#virtual) this.#virtual = finish;
			return -1;
		}
		for (let queue = active.nextMissing(backlogged, 0); queue >= 0; queue = active.nextMissing(backlogged, queue + 1)) {
			this.#begin(queue);
		}
		const starts = this.#start;
		let best = -1;
		let bestStart = Number.POSITIVE_INFINITY;
		for (let queue = 0; queue < starts.length; queue++) {
			const start = starts[queue]!;
			if (start >= bestStart) continue;
			if (this.#view.ready(queue)) {
				best = queue;
				bestStart = start;
			} else {
				this.#end(queue);
			}
		}
		return best;
	}

	charge(queue: number, amount: Cost, atDispatch: boolean): void {
		const finish = this.#finish;
		const share = amount / this.#view.weights[queue]!;
		if (atDispatch) {
			if (!this.#backlogged.has(queue)) this.#begin(queue);
			const start = this.#start[queue]!;
			if (start > this.#virtual) this.#virtual = start;
			finish[queue] = start + share;
		} else {
			finish[queue] = finish[queue]! + share;
		}
		if (this.#backlogged.has(queue)) this.#start[queue] = Math.max(finish[queue]!, this.#floor[queue]!);
	}

	/** A backlog of `queue` begins, at V or where its debt ends. */
	#begin(queue: number): void {
		const start = Math.max(this.#finish[queue]!, this.#virtual);
		this.#floor[queue] = start;
		this.#start[queue] = start;
		this.#backlogged.add(queue);
	}

	#end(queue: number): void {
		this.#start[queue] = Number.POSITIVE_INFINITY;
		this.#backlogged.delete(queue);
	}
}
