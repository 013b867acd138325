/**
 * The arithmetic of one budget in one period: reserve by estimate, commit by usage, release. Every implementation of the counters (in this
 * process, as a script of a shared store) passes the same vectors (`test/fixtures/quota-vectors.json`).
 *
 * Invariant: `used + reserved` never passes the ceiling through a reservation; only a commit above its own reservation can.
 */

export interface CounterState {
	/** Settled. */
	readonly used: number;
	/** Held by requests under way, by their estimates. */
	readonly reserved: number;
	/** Added to the limit by hand, for this period. */
	readonly adjusted: number;
}

export const EMPTY_COUNTER: CounterState = { used: 0, reserved: 0, adjusted: 0 };

/** The terms on which a reservation asks. */
export interface CounterTerms {
	/** In the counted unit, before adjustments. */
	readonly limit: number;
	/** 100, or 120 for a soft quota. */
	readonly refusedAbovePct: number;
}

/** The most that may be used and reserved together. */
export function ceilingOf(terms: CounterTerms, state: CounterState): number {
	return Math.floor((Math.max(0, terms.limit + state.adjusted) * terms.refusedAbovePct) / 100);
}

export function mayReserve(terms: CounterTerms, state: CounterState, amount: number): boolean {
	return state.used + state.reserved + amount <= ceilingOf(terms, state);
}

/** What is left of the limit itself, never below 0: the grace of a soft quota is not shown as something to spend. */
export function remainingOf(limit: number, state: CounterState): number {
	return Math.max(0, limit + state.adjusted - state.used - state.reserved);
}

/** 0 to 100 and above; a limit of 0 is used up by anything. */
export function usedPct(limit: number, state: CounterState): number {
	const whole = limit + state.adjusted;
	if (whole <= 0) return state.used > 0 ? 100 : 0;
	return (state.used / whole) * 100;
}

export const ALERT_THRESHOLDS_PCT = [80, 90, 100] as const;

/** Thresholds that are passed and were not told of yet, lowest first. */
export function newAlerts(pct: number, alertedPct: number): readonly number[] {
	return ALERT_THRESHOLDS_PCT.filter((threshold) => threshold > alertedPct && pct >= threshold);
}
