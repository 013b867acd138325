/** A binary heap of numbers that each carry an index, smallest first; equal ones in the order they came. For event lists of the tests. */
export class NumberHeap {
	readonly #key: number[] = [];
	readonly #order: number[] = [];
	readonly #index: number[] = [];
	#pushed = 0;

	get size(): number {
		return this.#key.length;
	}

	/** The smallest number. There must be one. */
	get first(): number {
		return this.#key[0]!;
	}

	push(key: number, index: number): void {
		this.#key.push(key);
		this.#order.push(this.#pushed++);
		this.#index.push(index);
		let child = this.#key.length - 1;
		while (child > 0) {
			const parent = (child - 1) >> 1;
			if (!this.#before(child, parent)) break;
			this.#swap(parent, child);
			child = parent;
		}
	}

	/** Takes the smallest number out and returns its index. */
	pop(): number {
		const index = this.#index[0]!;
		const last = this.#key.length - 1;
		this.#swap(0, last);
		this.#key.pop();
		this.#order.pop();
		this.#index.pop();
		let parent = 0;
		for (let child = 1; child < last; child = 2 * parent + 1) {
			if (child + 1 < last && this.#before(child + 1, child)) child++;
			if (!this.#before(child, parent)) break;
			this.#swap(parent, child);
			parent = child;
		}
		return index;
	}

	#before(a: number, b: number): boolean {
		const difference = this.#key[a]! - this.#key[b]!;
		return difference < 0 || (difference === 0 && this.#order[a]! < this.#order[b]!);
	}

	#swap(a: number, b: number): void {
		for (const list of [this.#key, this.#order, this.#index]) [list[a], list[b]] = [list[b]!, list[a]!];
	}
}
