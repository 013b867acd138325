/**
 * Time as the engine and the adapters need it. Two clocks that never mix: `now` is monotonic (durations, deadlines inside one
 * process), `epochNow` is the wall clock (what people and other processes agree on: expiry, ledger times).
 */
import type { EpochMillis, Millis } from "../core/model/units.ts";

export interface Clock {
	now(): Millis;
	epochNow(): EpochMillis;
}

/** Runs `callback` once after `delayMs`; the returned function takes it back (harmless when it already ran). */
export interface Timers {
	after(delayMs: Millis, callback: () => void): () => void;
}
