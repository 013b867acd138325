/**
 * Adaptive capacity: the number of sequences that keeps an engine full and its own queue empty.
 *
 * Ancestors: TCP Vegas (keep about one packet queued), Netflix Gradient2. The signal is the engine's queue itself: counted where the
 * engine says it, else estimated from overdue first tokens (`engine-backlog.ts`).
 *
 * - Queue above `HIGH`: the limit becomes what the engine really runs plus one. That is no step downwards but the answer, so
 *   repeating it changes nothing, and a halved engine is followed as soon as it is noticed.
 * - Queue below `LOW` while the limit is what holds requests back: it grows; by a quarter per round trip until it first met a queue or
 *   after a long calm, else by one.
 *
 * Pure: events and `tick(now)` in, a limit out. Counted in sequences per pool.
 */
import type { Millis } from "../model/units.ts";
import { EngineBacklog } from "./engine-backlog.ts";

const LOW = 0.5;
const HIGH = 1.2;
/** Sequences that may wait in the engine, so that it never waits for us. */
const SPARE = 0.5;
/** How far above what runs a limit stays that does not bind. */
const FOLLOW_DISTANCE = 0.02;
const FOLLOW_SHARE = 0.2;
/** Answers in time between two steps of growth. */
const STREAK = 4;
/** Part of a limit that counts as near it. */
const NEAR = 0.9;
/** After so many steps near it without a queue it was a false alarm. */
const CAREFUL_STEPS = 5;
const SHORTEST_MEMORY_MS: Millis = 400;
const LONGEST_MEMORY_MS: Millis = 8000;
/** Answers that a mean is made of. */
const ANSWERS = 8;

/** Part of what runs whose first tokens are seen, from which on they say what the engine runs. */
const SEEING = 0.5;
/** How long a word of the engine counts, and how much a new one weighs. */
const REPORT_LASTS_MS: Millis = 10_000;
const REPORT_SHARE = 0.5;
const CACHE_FULL = 0.97;

/** The start value is reached by doubling from here: what a small engine was sent too much of cannot be taken back. */
const FIRST = 8;

export interface ControllerSettings {
	readonly initial: number;
	readonly min: number;
	readonly max: number;
}

export class ConcurrencyController {
	readonly backlog = new EngineBacklog();
	#settings: ControllerSettings;
	#limit: number;
	#tickedAt: Millis = Number.NaN;
	#queue = 0;
	/** Queue as told by late answers alone. */
	#estimate = 0;
	#correction = 0;
	#reportedAt: Millis = Number.NEGATIVE_INFINITY;
	#cacheFull = false;
	#inFlight = 0;
	#answersPerMs = 0;
	/** Sequences to grow by next; doubles while no queue is seen. Without bound until one was. */
	/** Limit at which the engine was last found full. */
	#full = Number.POSITIVE_INFINITY;
	#incrementBefore = 1;
	/** Steps made near it since. */
	#careful = 0;
	#increment = Number.POSITIVE_INFINITY;

	constructor(settings: ControllerSettings) {
		this.#settings = settings;
		this.#limit = clamp(Math.min(settings.initial, FIRST), settings.min, settings.max);
	}

	/** Sequences; a whole number. */
	get limit(): number {
		return Math.round(this.#limit);
	}

	/** Estimated requests that wait inside the engine. */
	get queue(): number {
		return this.#queue;
	}

	/** What the engine says: requests that wait in it, and how full its cache is (0 to 1). Corrects the estimate until the next word. */
	reported(waiting: number, cacheUse: number | undefined, now: Millis): void {
		const correction = waiting - this.#estimate;
		const isFresh = now - this.#reportedAt < REPORT_LASTS_MS;
		this.#correction = isFresh ? this.#correction + REPORT_SHARE * (correction - this.#correction) : correction;
		this.#reportedAt = now;
		this.#cacheFull = cacheUse !== undefined && cacheUse > CACHE_FULL;
		if (waiting === 0 && this.backlog.observedShare < SEEING) this.backlog.streak += STREAK;
	}

	/** When something was last learnt: from a first token or a word of the engine; `-Infinity` never. */
	get learntAt(): Millis {
		return Math.max(this.#reportedAt, this.backlog.answeredAt);
	}

	/** There are more or fewer engines: other bounds, and a limit in proportion. */
	rescale(limit: number, min: number, max: number): void {
		this.#settings = { initial: limit, min, max };
		this.#set(limit);
	}

	/** `held`: what requests wait here for. `closed`: sequences of the limit that those who wait may not use (headroom). */
	tick(now: Millis, held: "space" | "window" | "none", closed = 0): void {
		const means = this.backlog.look(now);
		if (Number.isNaN(this.#tickedAt)) this.#tickedAt = now;
		const elapsed = now - this.#tickedAt;
		this.#tickedAt = now;
		const memory = clamp(ANSWERS / Math.max(1e-9, this.#answersPerMs), SHORTEST_MEMORY_MS, LONGEST_MEMORY_MS);
		const share = 1 - Math.exp(-elapsed / memory);
		const drains = this.backlog.inFlight > this.limit;
		if (!drains) this.#answersPerMs += (1 - Math.exp(-elapsed / 2000)) * (means.answersPerMs - this.#answersPerMs);
		const overdue = means.overdue / Math.max(0.1, this.backlog.observedShare);
		this.#estimate += share * (overdue - this.#estimate);
		const reports = now - this.#reportedAt < REPORT_LASTS_MS;
		this.#queue = Math.max(0, this.#estimate + (reports ? this.#correction : 0));
		this.#inFlight += share * (means.inFlight - this.#inFlight);
		this.backlog.calm = this.#queue < LOW;
		if (this.#runs() > this.#limit) this.#resume();
		else if (this.#queue > HIGH || this.backlog.stalled > 0) this.#cut();
		else if (held === "space" && this.#queue < LOW) this.#grow(closed);
		else if (held === "window") this.#follow(share, closed);
	}

	/** The limit becomes what the engine really runs. */
	#cut(): void {
		// Sequences that are seen to be put back need no mean over time.
		const seen = this.backlog.stalled > 0 ? 0 : this.#inFlight - this.#queue;
		const target = Math.max(seen, this.#runs()) + SPARE;
		const increment = this.#increment;
		this.#increment = 1;
		if (target >= this.#limit) return;
		this.#incrementBefore = increment;
		this.#set(target);
		this.#full = this.#limit;
		this.#careful = 0;
	}

	/** Something else holds requests back: a limit above what runs says nothing, and would let a burst through. */
	#follow(share: number, closed: number): void {
		const distance = Math.max(1, FOLLOW_DISTANCE * this.#inFlight);
		const target = this.#inFlight + closed + distance;
		const isSteady = this.backlog.inFlight + closed < target;
		if (isSteady && target < this.#limit) this.#set(this.#limit + FOLLOW_SHARE * share * (target - this.#limit));
	}

	/** The engine runs more than the limit that was thought to fill it: what came late were prompts being read. */
	#resume(): void {
		this.#set(this.#runs() + SPARE);
		this.#full = Number.POSITIVE_INFINITY;
		this.#increment = Math.max(2, this.#incrementBefore);
	}

	/** Sequences that the engine has certainly begun. */
	#runs(): number {
		const { inFlight, owed, stalled, observedShare } = this.backlog;
		return observedShare < SEEING ? 0 : inFlight - (owed + stalled) / observedShare;
	}

	#grow(closed: number): void {
		const { owed, inFlight } = this.backlog;
		const calm = Math.max(2, this.#limit / 16) - owed;
		const isStarting = this.#increment === Number.POSITIVE_INFINITY && this.#limit < this.#settings.initial;
		const most = isStarting && calm >= 1 ? Math.min(this.#limit, this.#settings.initial - this.#limit) : calm;
		if (inFlight < this.limit - closed - 1 || most < 1 || this.#cacheFull) return;
		const answersNeeded = this.#increment === Number.POSITIVE_INFINITY ? 1 : STREAK;
		if (this.backlog.streak < answersNeeded) return;
		this.backlog.streak = 0;
		this.#set(this.#limit + Math.min(most, this.#increment));
		// Where a queue was met before, it is felt for with one more at a time.
		const isNear = this.#limit > NEAR * this.#full && ++this.#careful <= CAREFUL_STEPS;
		if (!isNear) this.#increment *= 2;
	}

	#set(limit: number): void {
		this.#limit = clamp(limit, this.#settings.min, this.#settings.max);
	}
}

function clamp(value: number, min: number, max: number): number {
	return Math.max(min, Math.min(max, value));
}
