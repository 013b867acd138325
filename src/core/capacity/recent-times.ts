/** The last waits or latencies, for a high quantile of the recent past. Milliseconds. */
import type { Millis } from "../model/units.ts";

const KEPT = 512;

export class RecentTimes {
	readonly #values = new Float64Array(KEPT);
	readonly #at = new Float64Array(KEPT);
	#count = 0;

	get count(): number {
		return Math.min(KEPT, this.#count);
	}

	add(value: Millis, now: Millis): void {
		const place = this.#count++ % KEPT;
		this.#values[place] = value;
		this.#at[place] = now;
	}

	clear(): void {
		this.#count = 0;
	}

	/** The quantile of what was added since `from`, or undefined when nothing was. */
	quantile(q: number, from: Millis): Millis | undefined {
		const recent: Millis[] = [];
		for (let place = 0; place < this.count; place++) {
			if (this.#at[place]! >= from) recent.push(this.#values[place]!);
		}
		if (recent.length === 0) return undefined;
		recent.sort((a, b) => a - b);
		return recent[Math.min(recent.length - 1, Math.floor(q * recent.length))];
	}
}
