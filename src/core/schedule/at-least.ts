/**
 * `atleast`: a floor for everybody, the surplus in order.
 *
 * Over levels: a waiting level whose in-flight space is below its floor goes first, best such level first; else the best
 * waiting level. Over buckets: the best waiting bucket that can pay runs; it pays itself, or, when its own capacity is used up,
 * the best better bucket that is idle at this moment pays (late binding: requests wait in their own bucket, so a better request
 * that arrives later never stands behind an upgraded one). The bucket form also serves `hybrid`: there a request's mode says
 * whether it may be upgraded.
 */
import type { UpgradeSettings } from "./core-settings.ts";
import type { QueueView, Scheduler } from "./scheduler.ts";

export class AtLeastLevels implements Scheduler {
	readonly #view: QueueView;
	readonly ignoresOrder = true;

	constructor(view: QueueView) {
		this.#view = view;
	}

	pick(): number {
		const { active } = this.#view;
		let best = -1;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			if (!this.#view.ready(queue)) continue;
			if (this.#view.shareInFlight(queue) < this.#view.floor(queue)) return queue;
			if (best < 0) best = queue;
		}
		return best;
	}

	charge(): void {}
}

export class AtLeastBuckets implements Scheduler {
	readonly #view: QueueView;
	readonly #settings: UpgradeSettings;
	readonly ignoresOrder = false;
	payer = -1;

	constructor(view: QueueView, settings: UpgradeSettings) {
		this.#view = view;
		this.#settings = settings;
	}

	pick(): number {
		const { active } = this.#view;
		for (let queue = active.next(0); queue >= 0; queue = active.next(queue + 1)) {
			if (!this.#view.open(queue)) continue;
			// Its own traffic is back: what runs on its capacity from other buckets gives way first.
			if (this.#view.hasRate(queue) || (this.#view.upgradedIn(queue) > 0 && this.#view.reclaim(queue))) {
				this.payer = queue;
				return queue;
			}
			const lender = this.#view.headMayUpgrade(queue) ? this.#idleLender(queue) : -1;
			if (lender >= 0) {
				this.payer = lender;
				return queue;
			}
		}
		return -1;
	}

	charge(): void {}

	#idleLender(queue: number): number {
		const { maxDistance, quotas } = this.#settings;
		for (let lender = Math.max(0, queue - maxDistance); lender < queue; lender++) {
			if (this.#view.waiting(lender) > 0 || !this.#view.hasRate(lender)) continue;
			const quota = quotas[Math.min(lender, quotas.length - 1)] ?? 0;
			if (this.#view.upgradedIn(lender) < quota) return lender;
		}
		return -1;
	}
}
