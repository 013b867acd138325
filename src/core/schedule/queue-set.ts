/** A set of queue numbers below 128 as a bitmap: the active queues of a pool. */
export class QueueSet {
	readonly #words = new Int32Array(4);

	has(queue: number): boolean {
		return (this.#words[queue >> 5]! & (1 << (queue & 31))) !== 0;
	}

	add(queue: number): void {
		this.#words[queue >> 5]! |= 1 << (queue & 31);
	}

	delete(queue: number): void {
		this.#words[queue >> 5]! &= ~(1 << (queue & 31));
	}

	/** The smallest member ≥ `from`, or -1: `for (let q = set.next(0); q >= 0; q = set.next(q + 1))`. */
	next(from: number): number {
		let word = from >> 5;
		if (word > 3) return -1;
		let bits = this.#words[word]! & (-1 << (from & 31));
		for (;;) {
			if (bits !== 0) return word * 32 + (31 - Math.clz32(bits & -bits));
			if (++word > 3) return -1;
			bits = this.#words[word]!;
		}
	}
}
