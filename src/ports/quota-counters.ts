/**
 * Counters of budgets, one per period, shared by everybody who takes from them: this process alone, or a fleet through a store. The
 * arithmetic is `core/quota/counter.ts`; an implementation keeps it atomic.
 *
 * Answers are values where the counters are in this process and promises where they are not; callers take both.
 */

import type { EpochMillis } from "../core/model/units.ts";
import type { CounterState, CounterTerms } from "../core/quota/counter.ts";

export type MaybePromise<T> = T | Promise<T>;

/** `<quota id>@<window start>`. */
export type CounterKey = string;

export interface ReserveCharge extends CounterTerms {
	readonly key: CounterKey;
	readonly amount: number;
	/** The counter may be forgotten some time after this. */
	readonly windowEnd: EpochMillis;
}

export interface CommitCharge {
	readonly key: CounterKey;
	readonly amount: number;
	readonly windowEnd: EpochMillis;
}

export type ReserveAnswer =
	| { readonly ok: true }
	/** Nothing was taken: the first charge that did not fit, and the state that it met. */
	| { readonly ok: false; readonly index: number; readonly state: CounterState };

export interface QuotaCounters {
	/**
	 * Takes all charges or none, in one step that nobody else sees halves of. A reservation whose process dies is given back without anybody's
	 * doing.
	 */
	reserve(reservationId: string, charges: readonly ReserveCharge[]): MaybePromise<ReserveAnswer>;
	/**
	 * Gives the reservation back (if there is one) and counts what was really used; answers the states after it. A second call for the same id
	 * changes nothing and answers undefined.
	 */
	commit(reservationId: string, charges: readonly CommitCharge[]): MaybePromise<readonly CounterState[] | undefined>;
	/** Gives the reservation back; nothing was used. Harmless when there is none. */
	release(reservationId: string): MaybePromise<void>;
	/** Counts what the ledger already has, and adjustments of the limit. */
	add(
		key: CounterKey,
		amounts: { readonly used?: number; readonly adjusted?: number },
		windowEnd: EpochMillis,
	): MaybePromise<CounterState>;
	/** What this process last saw of a counter: for headers and reports, never for a decision. */
	lastSeen(key: CounterKey): CounterState | undefined;
	/** The period is long over. */
	forget(key: CounterKey): void;
	/** Reservations that this process holds. */
	readonly held: number;
}
