/**
 * When a request that joins now would start: a rough answer, made only when somebody asks (refusals, deadlines, operators).
 *
 * What would be served before it, were everything served at its share from now on, over what the pool served lately. Inside its queue that is
 * the flow tree's fluid view: its own flow's backlog, and of the others as much as they get meanwhile, so a mouse does not wait for
 * the elephant. Of other queues: all that waits in those that are always preferred, a share of those that take turns. Later arrivals
 * are not foreseen; how far such answers were off before is learnt as quantiles of actual ÷ expected from a few requests at a time.
 *
 * O(siblings seen + queues); a request that is not asked about costs nothing.
 */
import { StreamingQuantile } from "../classify/streaming-quantile.ts";
import { costOf, MILLIS_PER_SECOND, type Millis, type Tokens } from "../model/units.ts";
import type { CoreSettings } from "./core-settings.ts";
import type { Ticket } from "./decision.ts";
import type { FlowTree } from "./flow-tree.ts";
import type { Pool } from "./pool.ts";
import type { RequestTable } from "./request-table.ts";
import type { SubmitRequest } from "./submit-request.ts";

export interface StartEstimate {
	/** Half of such requests started by then. */
	readonly p50Ms: Millis;
	readonly p90Ms: Millis;
}

/** Requests whose start is being compared with what was expected. */
const SAMPLES_AT_A_TIME = 16;
/** Of the requests that wait, the first and then every so many: an expectation costs more than a decision. */
const SAMPLE_EVERY = 32;
/** Below this an expectation says nothing about a ratio. */
const SHORTEST_MS = 1;
/** The quantiles follow numbers of some size. */
const SCALE = 1000;
const MOST_OFF = 100;

/** What all pools share of a core. */
export interface Whereabouts {
	readonly settings: CoreSettings;
	readonly tree: FlowTree;
	readonly requests: RequestTable;
}

/** Until a request that joins now would start at the pool's recent rate; 0 when it would start at once. */
export function expectedStartMs(
	pool: Pool,
	{ settings, tree, requests }: Whereabouts,
	request: SubmitRequest,
	now: Millis,
): Millis {
	const { queue, promptTokens, completionTokens, cachedTokens, weight } = request;
	const tokens = promptTokens + completionTokens;
	const state = pool.queues[queue]!;
	const like = { cost: costOf(settings.cost, promptTokens, completionTokens, cachedTokens), tokens, weight };
	const own = tree.aheadOf(state.root, request.flow, like, (row) =>
		costOf(settings.cost, requests.prompt(row), requests.completion(row), requests.cached(row)),
	);
	let before = own.tokens;
	for (let other = pool.active.next(0); other >= 0; other = pool.active.next(other + 1)) {
		if (other !== queue) before += fromOther(pool, settings, queue, other, own.tokens + tokens);
	}
	if (before === 0 && pool.lackFor(queue, request.sequences, promptTokens, tokens, now) === "none") return 0;
	const perSecond = pool.throughput.perSecond(now);
	const byPool = perSecond === 0 ? 0 : ((before + tokens) / perSecond) * MILLIS_PER_SECOND;
	const byCeiling = Math.max(
		underCeiling(state.tokenRate, own.tokens, now),
		underCeiling(state.requestRate, own.requests, now),
	);
	return Math.max(byPool, byCeiling);
}

/** Tokens of another queue that are served before `tokens` of this one. */
function fromOther(pool: Pool, settings: CoreSettings, queue: number, other: number, tokens: Tokens): Tokens {
	const waits = pool.queues[other]!.waitingTokens;
	const inOrder = other < queue ? waits : 0;
	if (!pool.scheduler.ignoresOrder) return inOrder;
	if (settings.scheduler === "hybrid") {
		const first = (at: number) => settings.strictLevels.includes(at);
		if (first(queue)) return first(other) ? inOrder : 0;
		if (first(other)) return waits;
	}
	return Math.min(waits, (tokens * pool.weights[other]!) / pool.weights[queue]!);
}

/** Until a ceiling has let `amount` through. */
function underCeiling(
	bucket: { readonly ratePerSec: number; balance(now: Millis): number } | undefined,
	amount: number,
	now: Millis,
): Millis {
	if (bucket === undefined) return 0;
	return Math.max(0, ((amount - bucket.balance(now)) / bucket.ratePerSec) * MILLIS_PER_SECOND);
}

/** How far expectations were off, learnt from a few waiting requests at a time. */
export class StartHistory {
	readonly #expected = new Map<Ticket, Millis>();
	#untilSample = 0;
	readonly #half = new StreamingQuantile(0.5, SCALE);
	readonly #nine = new StreamingQuantile(0.9, 2 * SCALE);

	estimate(expectedMs: Millis): StartEstimate {
		const p50Ms = (expectedMs * this.#half.value) / SCALE;
		return { p50Ms, p90Ms: Math.max(p50Ms, (expectedMs * this.#nine.value) / SCALE) };
	}

	/** Asked of every request that has to wait; true now and then. */
	get wantsSample(): boolean {
		if (--this.#untilSample > 0) return false;
		this.#untilSample = SAMPLE_EVERY;
		return this.#expected.size < SAMPLES_AT_A_TIME;
	}

	expect(ticket: Ticket, ms: Millis): void {
		if (ms >= SHORTEST_MS) this.#expected.set(ticket, ms);
	}

	started(ticket: Ticket, waitMs: Millis): void {
		const expected = this.#expected.get(ticket);
		if (expected === undefined) return;
		this.#expected.delete(ticket);
		const ratio = SCALE * Math.min(MOST_OFF, Math.max(1 / MOST_OFF, waitMs / expected));
		this.#half.observe(ratio);
		this.#nine.observe(ratio);
	}

	/** It ended without having run, or is another's business now: it teaches nothing. */
	forget(ticket: Ticket): void {
		this.#expected.delete(ticket);
	}
}
