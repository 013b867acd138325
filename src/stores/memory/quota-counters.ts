/** Quota counters of a gateway that is alone: in this process, so that each step is atomic by itself and none waits. */
import { type CounterState, EMPTY_COUNTER, mayReserve } from "../../core/quota/counter.ts";
import type {
	CommitCharge,
	CounterKey,
	QuotaCounters,
	ReserveAnswer,
	ReserveCharge,
} from "../../ports/quota-counters.ts";

const RESERVED: ReserveAnswer = { ok: true };
/** Ids of commits that a repeated one is told by. */
const REMEMBERED_COMMITS = 10_000;

interface Counter {
	used: number;
	reserved: number;
	adjusted: number;
}

export class MemoryQuotaCounters implements QuotaCounters {
	readonly #counters = new Map<CounterKey, Counter>();
	/** With the counters themselves: one that is forgotten and begun anew owes nothing to who reserved before. */
	readonly #reservations = new Map<string, readonly (readonly [Counter, number])[]>();
	readonly #committed = new Set<string>();
	/** The same ids in order, as a ring: a set that loses its oldest one at a time gets slow. */
	readonly #order: string[] = [];
	#oldest = 0;

	get held(): number {
		return this.#reservations.size;
	}

	reserve(reservationId: string, charges: readonly ReserveCharge[]): ReserveAnswer {
		if (this.#reservations.has(reservationId)) return RESERVED;
		for (let index = 0; index < charges.length; index++) {
			const charge = charges[index]!;
			const state = this.#counters.get(charge.key) ?? EMPTY_COUNTER;
			if (!mayReserve(charge, state, charge.amount)) return { ok: false, index, state: { ...state } };
		}
		const taken = charges.map(({ key, amount }) => [this.#counter(key), amount] as const);
		for (const [counter, amount] of taken) counter.reserved += amount;
		this.#reservations.set(reservationId, taken);
		return RESERVED;
	}

	commit(reservationId: string, charges: readonly CommitCharge[]): readonly CounterState[] | undefined {
		if (this.#committed.has(reservationId)) return undefined;
		this.#remember(reservationId);
		this.release(reservationId);
		for (const { key, amount } of charges) this.#counter(key).used += amount;
		return charges.map(({ key }) => this.#counter(key));
	}

	release(reservationId: string): void {
		const taken = this.#reservations.get(reservationId);
		if (taken === undefined) return;
		this.#reservations.delete(reservationId);
		for (const [counter, amount] of taken) counter.reserved -= amount;
	}

	add(
		key: CounterKey,
		{ used = 0, adjusted = 0 }: { readonly used?: number; readonly adjusted?: number },
	): CounterState {
		const counter = this.#counter(key);
		counter.used += used;
		counter.adjusted += adjusted;
		return { ...counter };
	}

	lastSeen(key: CounterKey): CounterState | undefined {
		return this.#counters.get(key);
	}

	forget(key: CounterKey): void {
		this.#counters.delete(key);
	}

	#remember(reservationId: string): void {
		this.#committed.add(reservationId);
		if (this.#order.length < REMEMBERED_COMMITS) {
			this.#order.push(reservationId);
			return;
		}
		this.#committed.delete(this.#order[this.#oldest]!);
		this.#order[this.#oldest] = reservationId;
		this.#oldest = (this.#oldest + 1) % REMEMBERED_COMMITS;
	}

	#counter(key: CounterKey): Counter {
		let counter = this.#counters.get(key);
		if (counter === undefined) {
			counter = { used: 0, reserved: 0, adjusted: 0 };
			this.#counters.set(key, counter);
		}
		return counter;
	}
}
