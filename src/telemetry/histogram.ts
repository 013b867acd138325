/** A histogram of seconds with fixed bounds, and its samples. */
import type { Labels, MetricsText } from "./metrics-text.ts";

export const LATENCY_BOUNDS_S: readonly number[] = [
	0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
];
/** Of one output token: engines take some milliseconds. */
export const TOKEN_BOUNDS_S: readonly number[] = [
	0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5,
];

export class Histogram {
	readonly #bounds: readonly number[];
	readonly #counts: Float64Array;
	#sum = 0;

	constructor(bounds: readonly number[] = LATENCY_BOUNDS_S) {
		this.#bounds = bounds;
		this.#counts = new Float64Array(bounds.length + 1);
	}

	observe(seconds: number): void {
		this.#sum += seconds;
		let at = 0;
		while (at < this.#bounds.length && seconds > this.#bounds[at]!) at++;
		this.#counts[at] = this.#counts[at]! + 1;
	}

	/** Adds what another of the same bounds has counted. */
	add(other: Histogram): void {
		this.#sum += other.#sum;
		for (let at = 0; at < this.#counts.length; at++) this.#counts[at] = this.#counts[at]! + other.#counts[at]!;
	}

	write(text: MetricsText, name: string, labels: Labels): void {
		let total = 0;
		for (let at = 0; at < this.#counts.length; at++) {
			total += this.#counts[at]!;
			text.sample(`${name}_bucket`, { ...labels, le: at < this.#bounds.length ? this.#bounds[at]! : "+Inf" }, total);
		}
		text.sample(`${name}_sum`, labels, this.#sum);
		text.sample(`${name}_count`, labels, total);
	}
}
