/**
 * A quantile of a stream of positive numbers in two numbers of memory, following slow change.
 *
 * Source: stochastic approximation (Robbins & Monro 1951) on the logarithm, so that one step fits answers of ten tokens and of ten
 * thousand: a sample above raises the value by the factor `e^(step × q)`, one below lowers it by `e^(step × (1−q))`; at
 * the quantile the two balance. The step falls from 2/3 to `MIN_STEP`: quick first answers, then a spread of about 10 %.
 */
const MIN_STEP = 0.03;

export class StreamingQuantile {
	value: number;
	readonly #quantile: number;
	#count = 0;

	constructor(quantile: number, initial: number) {
		this.#quantile = quantile;
		this.value = initial;
	}

	observe(sample: number): void {
		this.#count++;
		const step = Math.max(MIN_STEP, 2 / (this.#count + 2));
		const factor = Math.exp(step * (sample > this.value ? this.#quantile : this.#quantile - 1));
		this.value = Math.max(1, this.value * factor);
	}
}
