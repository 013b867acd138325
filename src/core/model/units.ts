/**
 * The units of this codebase. A name carries its unit (`waitMs`), a type says it again; the conversions stand here only.
 *
 * Tokens and cost never mix: tokens (raw prompt + completion) fill capacity, budgets, the ledger; cost (weighted tokens) moves
 * virtual times and deficits.
 */

/** Raw tokens, prompt and completion alike. A whole number. */
export type Tokens = number;

/** Weighted tokens: what fairness is counted in. */
export type Cost = number;

/** Milliseconds: an instant on the caller's monotonic clock, or a duration. May be fractional. */
export type Millis = number;

/** Milliseconds since the Unix epoch: an instant that people and other processes agree on. */
export type EpochMillis = number;

/** Money: integer billionths of a US dollar. One token at 1 $ per million tokens costs 1,000. */
export type NanoDollars = number;

export const MILLIS_PER_SECOND = 1000;

export const NANO_DOLLARS_PER_DOLLAR = 1_000_000_000;

/** Weights that turn tokens into cost (`[cost]`); a generated token occupies an engine longer than a read one. */
export interface CostWeights {
	readonly promptWeight: number;
	readonly completionWeight: number;
	/** Of a prompt token that the engine found in its prefix cache. */
	readonly cachedWeight: number;
}

export const DEFAULT_COST_WEIGHTS: CostWeights = { promptWeight: 1, completionWeight: 2, cachedWeight: 0.1 };

/** Cost of `prompt` tokens (of them `cached` from the prefix cache) and `completion` tokens. */
export function costOf(weights: CostWeights, prompt: Tokens, completion: Tokens, cached: Tokens = 0): Cost {
	return (
		(prompt - cached) * weights.promptWeight + cached * weights.cachedWeight + completion * weights.completionWeight
	);
}
