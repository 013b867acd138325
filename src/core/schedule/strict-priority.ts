/** Strict priority: the best queue that may run. Starves by definition. Waits: Cobham, Operations Research 2 (1954). */
import type { QueueView, Scheduler } from "./scheduler.ts";

export class StrictPriority implements Scheduler {
	readonly #view: QueueView;
	readonly ignoresOrder = false;

	constructor(view: QueueView) {
		this.#view = view;
	}

	pick(): number {
		const { active } = this.#view;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			if (this.#view.ready(queue)) return queue;
		}
		return -1;
	}

	charge(): void {}
}
