/**
 * Rates of nodes as a hierarchical token bucket (Linux HTB: M. Devera, 2002). Below its assured rate a node goes on whatever its parents
 * do; between assured rate and ceiling it borrows what its parent leaves unused; at its ceiling it waits.
 *
 * Buckets are post-paid: work starts while there is balance, by its estimate, and is trued up at its end. Every start is charged to the node
 * and all above it, so a parent's unused rate is what its children leave. Consumption of a node over any τ ≤ ceiling·τ + burst + one request +
 * the error of estimates. Tokens per second; instants on the caller's clock.
 */
import { RateBucket } from "../capacity/rate-bucket.ts";
import { Throughput } from "../capacity/throughput.ts";
import type { Millis, Tokens } from "../model/units.ts";
import type { Quota } from "./quota.ts";

/** What a rate quota says of its node. */
export interface RateTerms {
	/** Assured; 0 for a mere ceiling. */
	readonly assuredTps: number;
	/** `Infinity` for none. */
	readonly ceilingTps: number;
	/** Whether others may use what is left of the assured rate. */
	readonly lend: boolean;
}

/** `reserved`: an assured rate without ceiling. `burstable`: an assured rate, and up to `maxBorrowPct` of it on top. */
export function rateTermsOf(quota: Quota, mostBorrowPct: number): RateTerms {
	const { quotaType, limitValue, allowBorrow, maxBorrowPct, lend } = quota;
	if (quotaType === "reserved") return { assuredTps: limitValue, ceilingTps: Number.POSITIVE_INFINITY, lend };
	const borrow = allowBorrow ? Math.min(maxBorrowPct ?? mostBorrowPct, mostBorrowPct) : 0;
	return { assuredTps: limitValue, ceilingTps: limitValue * (1 + borrow), lend };
}

export class RateNode {
	readonly id: string;
	terms: RateTerms;
	/** Nodes directly below it that were seen: what they keep to themselves is no one else's to borrow. */
	readonly children = new Set<RateNode>();
	readonly throughput = new Throughput();
	/** Tokens that were borrowed, ever. */
	borrowed: Tokens = 0;
	readonly #assured: RateBucket;
	readonly #ceiling: RateBucket;

	constructor(id: string, terms: RateTerms, burstSeconds: number, now: Millis) {
		this.id = id;
		this.terms = terms;
		this.#assured = new RateBucket(terms.assuredTps, burstOf(terms.assuredTps, burstSeconds), now);
		this.#ceiling = new RateBucket(terms.ceilingTps, burstOf(terms.ceilingTps, burstSeconds), now);
	}

	configure(terms: RateTerms, burstSeconds: number, now: Millis): void {
		this.terms = terms;
		this.#assured.configure(terms.assuredTps, burstOf(terms.assuredTps, burstSeconds), now);
		this.#ceiling.configure(terms.ceilingTps, burstOf(terms.ceilingTps, burstSeconds), now);
	}

	get hasCeiling(): boolean {
		return Number.isFinite(this.terms.ceilingTps);
	}

	belowCeiling(now: Millis): boolean {
		return !this.hasCeiling || this.#ceiling.isReady(now);
	}

	belowAssured(now: Millis): boolean {
		return this.terms.assuredTps > 0 && this.#assured.isReady(now);
	}

	/** What it lends `borrower` at the moment: its unused rate without what its other children keep to themselves. */
	lends(borrower: RateNode, now: Millis): boolean {
		let kept = 0;
		for (const child of this.children) {
			if (child !== borrower && !child.terms.lend) kept += Math.max(0, child.#assured.balance(now));
		}
		return this.#assured.balance(now) > kept;
	}

	ceilingReadyAt(now: Millis): Millis {
		return this.hasCeiling ? this.#ceiling.readyAt(now) : now;
	}

	assuredReadyAt(now: Millis): Millis {
		return this.terms.assuredTps > 0 ? this.#assured.readyAt(now) : Number.POSITIVE_INFINITY;
	}

	debit(tokens: Tokens, now: Millis): void {
		if (this.terms.assuredTps > 0) this.#assured.debit(tokens, now);
		if (this.hasCeiling) this.#ceiling.debit(tokens, now);
	}
}

/** The rated nodes of a request, outermost first; never empty. */
export type RateChain = readonly RateNode[];

/** Whether work of this chain may start now. */
export function mayStart(chain: RateChain, now: Millis): boolean {
	return allows(chain, chain.length - 1, now);
}

function allows(chain: RateChain, at: number, now: Millis): boolean {
	const node = chain[at]!;
	if (!node.belowCeiling(now)) return false;
	// What is free above the outermost node is the scheduler's business.
	if (node.belowAssured(now) || at === 0) return true;
	return node.terms.assuredTps === 0 ? allows(chain, at - 1, now) : lendsTo(chain, at - 1, node, now);
}

/** Whether the node at `at` has something unused for a child that is above its own rate, or may borrow it in turn. */
function lendsTo(chain: RateChain, at: number, borrower: RateNode, now: Millis): boolean {
	const node = chain[at]!;
	if (!node.belowCeiling(now)) return false;
	if (node.belowAssured(now)) return node.lends(borrower, now);
	return at === 0 ? node.hasCeiling : lendsTo(chain, at - 1, node, now);
}

/** The first instant at which it may start if nobody else takes anything until then; `now` when it may. */
export function startsAt(chain: RateChain, now: Millis): Millis {
	if (mayStart(chain, now)) return now;
	const candidates = chain.flatMap((node) => [node.ceilingReadyAt(now), node.assuredReadyAt(now)]);
	const later = candidates.filter((at) => at > now && Number.isFinite(at)).sort((a, b) => a - b);
	// Balances only grow until then, so one of these instants is the first at which anything is different.
	return later[0] ?? now + 100;
}

/** Charges a start; answers how much of it was borrowed. */
export function charge(chain: RateChain, tokens: Tokens, now: Millis): Tokens {
	const own = chain[chain.length - 1]!;
	const isBorrowed = own.terms.assuredTps > 0 && !own.belowAssured(now);
	trueUp(chain, tokens, now);
	if (!isBorrowed) return 0;
	own.borrowed += tokens;
	return tokens;
}

/** What was used beyond the estimate (or, negative, was not). */
export function trueUp(chain: RateChain, tokens: Tokens, now: Millis): void {
	for (const node of chain) {
		node.debit(tokens, now);
		if (tokens > 0) node.throughput.record(tokens, now);
	}
}

function burstOf(rate: number, burstSeconds: number): number {
	return Number.isFinite(rate) ? Math.max(1, rate * burstSeconds) : 1;
}
