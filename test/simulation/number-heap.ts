/** A binary heap of numbers that each carry an index, smallest first; equal ones in the order they came. For event lists of the tests. */
export class NumberHeap {
	#key = new Float64Array(64);
	#order = new Float64Array(64);
	#index = new Int32Array(64);
	#size = 0;
	#pushed = 0;

	get size(): number {
		return this.#size;
	}

	/** The smallest number. There must be one. */
	get first(): number {
		return this.#key[0]!;
	}

	push(key: number, index: number): void {
		if (this.#size === this.#key.length) this.#grow();
		let place = this.#size++;
		// The newest of equals stays behind the others, so that the key alone decides.
		while (place > 0) {
			const parent = (place - 1) >> 1;
			if (this.#key[parent]! <= key) break;
			this.#move(parent, place);
			place = parent;
		}
		this.#put(place, key, this.#pushed++, index);
	}

	/** Takes the smallest number out and returns its index. */
	pop(): number {
		const index = this.#index[0]!;
		const last = --this.#size;
		const key = this.#key[last]!;
		const order = this.#order[last]!;
		let place = 0;
		for (let child = 1; child < last; child = 2 * place + 1) {
			if (child + 1 < last && this.#before(child + 1, this.#key[child]!, this.#order[child]!)) child++;
			if (!this.#before(child, key, order)) break;
			this.#move(child, place);
			place = child;
		}
		this.#put(place, key, order, this.#index[last]!);
		return index;
	}

	#before(place: number, key: number, order: number): boolean {
		const difference = this.#key[place]! - key;
		return difference < 0 || (difference === 0 && this.#order[place]! < order);
	}

	#move(from: number, to: number): void {
		this.#put(to, this.#key[from]!, this.#order[from]!, this.#index[from]!);
	}

	#put(place: number, key: number, order: number, index: number): void {
		this.#key[place] = key;
		this.#order[place] = order;
		this.#index[place] = index;
	}

	#grow(): void {
		const length = 2 * this.#key.length;
		const [key, order, index] = [this.#key, this.#order, this.#index];
		this.#key = new Float64Array(length);
		this.#order = new Float64Array(length);
		this.#index = new Int32Array(length);
		this.#key.set(key);
		this.#order.set(order);
		this.#index.set(index);
	}
}
