/**
 * A bounded map that forgets the least recently used entry. A JavaScript Map keeps insertion order; moving an entry to the
 * end on every read would cost a delete and an insert, so a read only marks it, and eviction gives marked entries a second chance
 * (the CLOCK algorithm, Corbató 1968).
 */
interface Slot<V> {
	value: V;
	used: boolean;
}

export class RecentMap<V> {
	readonly #slots = new Map<string, Slot<V>>();
	readonly #limit: number;

	constructor(limit: number) {
		this.#limit = Math.max(1, limit);
	}

	get size(): number {
		return this.#slots.size;
	}

	isFull(): boolean {
		return this.#slots.size >= this.#limit;
	}

	get(key: string): V | undefined {
		const slot = this.#slots.get(key);
		if (slot === undefined) return undefined;
		slot.used = true;
		return slot.value;
	}

	set(key: string, value: V): void {
		const slot = this.#slots.get(key);
		if (slot !== undefined) {
			slot.value = value;
			slot.used = true;
			return;
		}
		if (this.isFull()) this.#evict();
		this.#slots.set(key, { value, used: false });
	}

	delete(key: string): void {
		this.#slots.delete(key);
	}

	clear(): void {
		this.#slots.clear();
	}

	/** Each marked entry loses its mark and goes to the end once: at most one round. */
	#evict(): void {
		for (const [key, slot] of this.#slots) {
			this.#slots.delete(key);
			if (!slot.used) return;
			slot.used = false;
			this.#slots.set(key, slot);
		}
	}
}
