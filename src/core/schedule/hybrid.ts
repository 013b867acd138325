/** Hybrid over levels: the strict levels first, in order, then weighted fair queuing over the rest. */
import type { Cost } from "../model/units.ts";
import { QueueSet } from "./queue-set.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";
import { WeightedFair } from "./weighted-fair.ts";

export class HybridLevels implements Scheduler {
	readonly #view: QueueView;
	readonly #strict = new QueueSet();
	readonly #rest: WeightedFair;
	readonly ignoresOrder = true;

	constructor(view: QueueView, strictLevels: readonly number[]) {
		this.#view = view;
		for (const level of strictLevels) if (level < view.count) this.#strict.add(level);
		this.#rest = new WeightedFair(view);
	}

	pick(): number {
		const { active } = this.#view;
		for (let queue = this.#strict.next(0); queue >= 0; queue = this.#strict.next(queue + 1)) {
			if (active.has(queue) && this.#view.ready(queue)) return queue;
		}
		return this.#rest.pick();
	}

	charge(queue: number, amount: Cost, atDispatch: boolean): void {
		if (!this.#strict.has(queue)) this.#rest.charge(queue, amount, atDispatch);
	}
}
