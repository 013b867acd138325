/**
 * Deficit round robin between queues (Shreedhar & Varghese, SIGCOMM 1995): a turn adds quantum × weight to a queue's deficit, and
 * the queue is served while the deficit covers its head. A deficit below zero is debt from true-ups. When no queue can be served
 * in a round, the rounds until one can are added in one step. With known costs a deficit stays below the largest cost, and the
 * service of two backlogged queues differs by at most 2·Max + quantum per weight.
 */
import type { Cost } from "../model/units.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

export class DeficitRoundRobin implements Scheduler {
	readonly #view: QueueView;
	readonly #quantum: Cost;
	readonly #deficit: Float64Array;
	readonly ignoresOrder = true;
	/** Whose turn it is; its quantum has been added. */
	#turn = -1;

	constructor(view: QueueView, quantum: Cost) {
		this.#view = view;
		this.#quantum = quantum;
		this.#deficit = new Float64Array(view.count);
	}

	/** Credit (or debt) of a queue, for tests of the bound. */
	deficitOf(queue: number): Cost {
		return this.#deficit[queue]!;
	}

	pick(): number {
		const { active } = this.#view;
		const turn = this.#turn;
		if (turn >= 0 && active.has(turn) && this.#view.ready(turn) && this.#covers(turn)) return turn;
		let found = this.#round(turn);
		// More than once only when rounding leaves a deficit just short of its head.
		while (found < 0 && this.#skipRounds()) found = this.#round(this.#turn);
		return found;
	}

	charge(queue: number, amount: Cost): void {
		const left = this.#deficit[queue]! - amount;
		this.#deficit[queue] = left > 0 && this.#view.waiting(queue) === 0 ? 0 : left;
	}

	#covers(queue: number): boolean {
		return this.#deficit[queue]! >= this.#view.headCost(queue);
	}

	/** Gives every queue after `last` its turn, once round; stops at the first that can be served. */
	#round(last: number): number {
		const { active, weights } = this.#view;
		let queue = active.next(last + 1);
		for (let wrapped = false; ; queue = active.next(queue + 1)) {
			if (queue < 0 || (wrapped && queue > last)) {
				if (wrapped) return -1;
				wrapped = true;
				queue = active.next(0);
				if (queue < 0 || queue > last) return -1;
			}
			if (!this.#view.ready(queue)) continue;
			this.#deficit[queue] = this.#deficit[queue]! + this.#quantum * weights[queue]!;
			this.#turn = queue;
			if (this.#covers(queue)) return queue;
		}
	}

	/** Adds all rounds but the last that the nearest queue still needs. False when no queue may run. */
	#skipRounds(): boolean {
		const { active, weights } = this.#view;
		let rounds = Number.POSITIVE_INFINITY;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			if (!this.#view.ready(queue)) continue;
			const missing = this.#view.headCost(queue) - this.#deficit[queue]!;
			rounds = Math.min(rounds, Math.ceil(missing / (this.#quantum * weights[queue]!)));
		}
		if (rounds === Number.POSITIVE_INFINITY) return false;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			if (!this.#view.ready(queue)) continue;
			this.#deficit[queue] = this.#deficit[queue]! + Math.max(rounds - 1, 0) * this.#quantum * weights[queue]!;
		}
		return true;
	}
}
