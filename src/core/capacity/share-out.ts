/**
 * Shares a capacity out in proportion to targets, each share kept between a lower and an upper bound: `share_i = clamp(f · target_i, lower_i, upper_i)` with
 * one factor `f` for all, so that the shares sum to the capacity. It is the max-min fair answer: no share can grow but at the cost of one
 * that is not larger for its target.
 *
 * Source: the concurrency allocation of Kubernetes API Priority and Fairness (KEP-1040, borrowing between priority levels). Exact: the sum is
 * piecewise linear in `f`, and the piece that reaches the capacity is solved.
 */
import { InvariantError } from "../model/invariant-error.ts";

export interface Claim {
	readonly target: number;
	readonly lower: number;
	readonly upper: number;
}

/** Where the bounds leave no answer (they sum to more, or less), the lower or the upper bounds themselves. */
export function shareOut(capacity: number, claims: readonly Claim[]): readonly number[] {
	for (const { target, lower, upper } of claims) {
		if (!(target >= 0 && lower >= 0 && upper >= lower)) {
			throw new InvariantError(`cannot share out to target ${target} within ${lower} to ${upper}`);
		}
	}
	const at = (factor: number) => claims.map((claim) => shareAt(claim, factor));
	const breakpoints = claims
		.flatMap(({ target, lower, upper }) => (target > 0 ? [lower / target, upper / target] : []))
		.filter(Number.isFinite)
		.sort((a, b) => a - b);
	let before = 0;
	for (const next of [...breakpoints, Number.POSITIVE_INFINITY]) {
		if (Number.isFinite(next) && sum(at(next)) < capacity) {
			before = next;
			continue;
		}
		const base = sum(at(before));
		if (base >= capacity) return at(before);
		// Between two breakpoints the sum grows by the targets of the shares that are at no bound.
		const growing = claims.filter((claim) => isFree(claim, before, next));
		const slope = growing.reduce((total, { target }) => total + target, 0);
		return at(slope === 0 ? before : before + (capacity - base) / slope);
	}
	return at(before);
}

function shareAt({ target, lower, upper }: Claim, factor: number): number {
	return Math.max(lower, Math.min(upper, target * factor));
}

function isFree({ target, lower, upper }: Claim, from: number, to: number): boolean {
	return target > 0 && lower / target <= from && upper / target >= to;
}

function sum(values: readonly number[]): number {
	return values.reduce((total, value) => total + value, 0);
}
