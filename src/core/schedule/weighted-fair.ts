/**
 * Weighted fair queuing between queues, as start-time fair queuing (Goyal, Vin, Cheng, SIGCOMM 1996): the smallest start tag
 * `max(V, finish)` goes first, V is the start tag last served. A queue that was idle or passed over starts at V. Deviation from
 * the fluid share between two backlogged queues i, j over any interval: ≤ Lmax_i / w_i + Lmax_j / w_j.
 */
import type { Cost } from "../model/units.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

export class WeightedFair implements Scheduler {
	readonly #view: QueueView;
	readonly #finish: Float64Array;
	readonly ignoresOrder = true;
	#virtual = 0;

	constructor(view: QueueView) {
		this.#view = view;
		this.#finish = new Float64Array(view.count);
	}

	pick(): number {
		const { active } = this.#view;
		const finish = this.#finish;
		const virtual = this.#virtual;
		let best = -1;
		let bestStart = Number.POSITIVE_INFINITY;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			const start = Math.max(finish[queue]!, virtual);
			if (start < bestStart && this.#view.ready(queue)) {
				best = queue;
				bestStart = start;
			}
		}
		return best;
	}

	charge(queue: number, amount: Cost, atDispatch: boolean): void {
		const finish = this.#finish;
		if (atDispatch) {
			const start = Math.max(finish[queue]!, this.#virtual);
			if (start > this.#virtual) this.#virtual = start;
			finish[queue] = start + amount / this.#view.weights[queue]!;
		} else {
			finish[queue] = finish[queue]! + amount / this.#view.weights[queue]!;
		}
	}
}
