/**
 * Weighted fair queuing between queues, as start-time fair queuing (Goyal, Vin, Cheng, SIGCOMM 1996): the smallest start tag
 * `max(V, finish)` goes first, V is the start tag last served. A queue that was idle or passed over starts at V; while it stays
 * backlogged a refund takes it below V again, or wrong estimates of what runs side by side would cost it its share. Deviation from
 * the fluid share between two backlogged queues i, j over any interval: ≤ Lmax_i / w_i + Lmax_j / w_j.
 */
import type { Cost } from "../model/units.ts";
import { QueueSet } from "./queue-set.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

export class WeightedFair implements Scheduler {
	readonly #view: QueueView;
	readonly #finish: Float64Array;
	/** Tag at which the present backlog of a queue began; of those in `#backlogged` only. */
	readonly #floor: Float64Array;
	readonly #backlogged = new QueueSet();
	readonly ignoresOrder = true;
	#virtual = 0;

	constructor(view: QueueView) {
		this.#view = view;
		this.#finish = new Float64Array(view.count);
		this.#floor = new Float64Array(view.count);
	}

	pick(): number {
		const { active } = this.#view;
		for (let queue = this.#backlogged.next(0); queue >= 0; queue = this.#backlogged.next(queue + 1)) {
			if (!active.has(queue)) this.#backlogged.delete(queue);
		}
		let best = -1;
		let bestStart = Number.POSITIVE_INFINITY;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			const start = this.#start(queue);
			if (start >= bestStart) continue;
			if (this.#view.ready(queue)) {
				best = queue;
				bestStart = start;
			} else {
				this.#backlogged.delete(queue);
			}
		}
		return best;
	}

	charge(queue: number, amount: Cost, atDispatch: boolean): void {
		const finish = this.#finish;
		if (atDispatch) {
			const start = this.#start(queue);
			if (start > this.#virtual) this.#virtual = start;
			finish[queue] = start + amount / this.#view.weights[queue]!;
		} else {
			finish[queue] = finish[queue]! + amount / this.#view.weights[queue]!;
		}
	}
	#start(queue: number): number {
		const finish = this.#finish[queue]!;
		if (this.#backlogged.has(queue)) return Math.max(finish, this.#floor[queue]!);
		const start = Math.max(finish, this.#virtual);
		this.#floor[queue] = start;
		this.#backlogged.add(queue);
		return start;
	}
}
