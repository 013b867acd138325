/** A set of queue numbers below 128 as a bitmap: the active queues of a pool. */
const WORDS = 4;

export class QueueSet {
	readonly #words = new Int32Array(WORDS);
	/** Counts changes: a reader that remembers it knows whether the set is still the same. */
	changes = 0;

	get isEmpty(): boolean {
		return this.next(0) < 0;
	}

	has(queue: number): boolean {
		return (this.#words[queue >> 5]! & (1 << (queue & 31))) !== 0;
	}

	add(queue: number): void {
		const before = this.#words[queue >> 5]!;
		const after = before | (1 << (queue & 31));
		if (after === before) return;
		this.#words[queue >> 5] = after;
		this.changes++;
	}

	delete(queue: number): void {
		const before = this.#words[queue >> 5]!;
		const after = before & ~(1 << (queue & 31));
		if (after === before) return;
		this.#words[queue >> 5] = after;
		this.changes++;
	}

	/** The smallest member ≥ `from`, or -1: `for (let q = set.next(0); q >= 0; q = set.next(q + 1))`. */
	next(from: number): number {
		return nextOf(this.#words, this.#words, from);
	}

	/** The smallest member ≥ `from` that is also in `other`, or -1. */
	nextCommon(other: QueueSet, from: number): number {
		return nextOf(this.#words, other.#words, from);
	}

	/** The smallest member ≥ `from` that is not in `other`, or -1. */
	nextMissing(other: QueueSet, from: number): number {
		for (let word = from >> 5, mask = -1 << (from & 31); word < WORDS; word++, mask = -1) {
			const bits = this.#words[word]! & ~other.#words[word]! & mask;
			if (bits !== 0) return word * 32 + (31 - Math.clz32(bits & -bits));
		}
		return -1;
	}
}

function nextOf(words: Int32Array, others: Int32Array, from: number): number {
	for (let word = from >> 5, mask = -1 << (from & 31); word < WORDS; word++, mask = -1) {
		const bits = words[word]! & others[word]! & mask;
		if (bits !== 0) return word * 32 + (31 - Math.clz32(bits & -bits));
	}
	return -1;
}
