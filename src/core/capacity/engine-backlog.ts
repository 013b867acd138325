/**
 * How many requests wait inside an engine, told from outside by what it owes: requests whose first token is later than an engine with
 * a free slot would have sent it.
 *
 * A request is due `MARGIN · (prefill of it and of what is before it + one step)` after its dispatch. The prefill rate and the time of a
 * step are learnt from answers; what counts against the prefill rate is a low quantile, so that waiting does not teach that waiting
 * is normal. The mean number overdue is, by Little's law, the engine's queue, whatever the speed of the engine or the length of
 * answers: unlike a ratio of latencies it does not take a slower engine for a fuller one.
 *
 * Only answers whose first token is seen count (streams); `observedShare` says how much of what runs that is. Counted in
 * sequences. Units: milliseconds, tokens.
 */
import type { Millis, Tokens } from "../model/units.ts";

/** Steps until a prompt that finds room is read: the one under way, half over, and its own. */
const STEPS = 1;
/** Part of its reading time by which an answer may be late, beside a step: engines read in chunks, between steps of decoding. */
const SLACK = 0.5;
/** What the way there and back and a busy gateway may add. */
const JITTER_MS: Millis = 15;
/** Part of a time to first token that is reading, whatever the steps say. */
const SHORTEST_READ = 0.2;
/** Guesses that hold until the first answers. */
const FIRST_MS_PER_TOKEN = 0.1;
const FIRST_STEP_MS: Millis = 50;
/** A stream that is silent for longer, while others go on, was put back by its engine. */
const SHORTEST_STALL_MS: Millis = 1000;
const STALL_STEPS = 10;
/** Longer silences have other reasons. */
const LONGEST_STALL_MS: Millis = 60_000;
const STALLED_SHARE = 0.1;
const SAMPLES = 64;
/** These teach whatever they say. */
const FIRST_SAMPLES = 4;
const BEST_QUANTILE = 0.1;
const USUAL_QUANTILE = 0.4;
const STEP_SHARE = 0.1;

interface Running {
	readonly sequences: number;
	readonly observed: boolean;
	readonly dispatchedAt: Millis;
	readonly own: Tokens;
	/** Prompt tokens that the engine had still to read when it was dispatched. */
	readonly before: Tokens;
	answeredAt: Millis | undefined;
	/** Its lateness up to here is counted. */
	countedTo: Millis;
	lastTokenAt: Millis;
}

export class EngineBacklog {
	readonly #running = new Map<number, Running>();
	/** Rows without a first token, in order of dispatch. */
	readonly #unanswered = new Set<Running>();
	#inFlight = 0;
	#observed = 0;
	#owed = 0;
	/** Prompt tokens that are being read, as far as is known. */
	#reading: Tokens = 0;
	#readingAt: Millis = 0;

	readonly #samples = new Float64Array(SAMPLES);
	#sampleCount = 0;
	#msPerToken = FIRST_MS_PER_TOKEN;
	/** When the engine has nothing else to do. */
	#bestMsPerToken = FIRST_MS_PER_TOKEN;
	#stepMs: Millis = FIRST_STEP_MS;
	#stepKnown = false;

	/** When a first token last came. */
	answeredAt: Millis = Number.NEGATIVE_INFINITY;
	/** Answers in time since the last late one. */
	streak = 0;

	/** Nothing seems to wait in the engine: late answers are how it is, and teach too. */
	calm = true;

	#lastTokenAt: Millis = 0;
	#stalled = 0;

	// Integrals since the last look.
	#lookedAt: Millis = 0;
	#changedAt: Millis = 0;
	#inFlightArea = 0;
	#overdueArea = 0;
	#answers = 0;

	/** Sequences that run. */
	get inFlight(): number {
		return this.#inFlight;
	}

	/** Sequences without a first token that will be seen. */
	get owed(): number {
		return this.#owed;
	}

	/** Part of what runs whose first token is seen, 0 to 1. */
	get observedShare(): number {
		return this.#inFlight === 0 ? 1 : this.#observed / this.#inFlight;
	}

	/** Sequences that began and are silent while others go on. */
	get stalled(): number {
		return this.#stalled;
	}

	/** Time per output token of late. */
	get stepMs(): Millis {
		return this.#stepMs;
	}

	/** Expected time to first token of a prompt in an engine that has room for it. */
	expectedMs(promptTokens: Tokens): Millis {
		return promptTokens * this.#msPerToken + STEPS * this.#stepMs;
	}

	dispatched(row: number, sequences: number, promptTokens: Tokens, observed: boolean, now: Millis): void {
		this.#integrate(now);
		this.#reading = Math.max(0, this.#reading - (now - this.#readingAt) / this.#bestMsPerToken);
		const own = Math.max(1, promptTokens);
		const before = this.#reading;
		this.#reading += own;
		this.#readingAt = now;
		const entry: Running = {
			sequences,
			observed,
			dispatchedAt: now,
			own,
			before,
			answeredAt: undefined,
			countedTo: now,
			lastTokenAt: now,
		};
		this.#running.set(row, entry);
		this.#inFlight += sequences;
		if (!observed) return;
		this.#observed += sequences;
		this.#owed += sequences;
		this.#unanswered.add(entry);
	}

	answered(row: number, elapsedMs: Millis, now: Millis): void {
		const entry = this.#running.get(row);
		if (entry === undefined || entry.answeredAt !== undefined) return;
		entry.answeredAt = now;
		entry.lastTokenAt = now;
		this.#lastTokenAt = now;
		if (!entry.observed) return;
		const late = this.#settle(entry, now);
		this.#answers++;
		this.answeredAt = now;
		this.streak = late ? 0 : this.streak + 1;
		if (!late || this.calm || this.#sampleCount < FIRST_SAMPLES) {
			this.#learn(Math.max(SHORTEST_READ * elapsedMs, elapsedMs - STEPS * this.#stepMs) / (entry.own + entry.before));
		}
	}

	/** More tokens came for a row. */
	produced(row: number, now: Millis): void {
		const entry = this.#running.get(row);
		if (entry === undefined) return;
		entry.lastTokenAt = now;
		this.#lastTokenAt = now;
	}

	ended(row: number, completionTokens: Tokens, now: Millis): void {
		const entry = this.#running.get(row);
		if (entry === undefined) return;
		this.#integrate(now);
		this.#running.delete(row);
		this.#inFlight -= entry.sequences;
		if (!entry.observed) return;
		this.#observed -= entry.sequences;
		if (entry.answeredAt === undefined) {
			this.#settle(entry, now);
			return;
		}
		const perSequence = completionTokens / entry.sequences;
		if (perSequence < 2) return;
		const stepMs = (now - entry.answeredAt) / (perSequence - 1);
		this.#stepMs = this.#stepKnown ? this.#stepMs + STEP_SHARE * (stepMs - this.#stepMs) : stepMs;
		this.#stepKnown = true;
	}

	/** Means since the last look, and starts anew. */
	look(now: Millis): { readonly overdue: number; readonly inFlight: number; readonly answersPerMs: number } {
		this.#integrate(now);
		for (const entry of this.#unanswered) this.#overdueArea += this.#lateness(entry, now);
		const elapsed = Math.max(1e-9, now - this.#lookedAt);
		this.#stalled = this.#countStalled(now);
		const means = {
			overdue: this.#overdueArea / elapsed + this.#stalled,
			inFlight: this.#inFlightArea / elapsed,
			answersPerMs: this.#answers / elapsed,
		};
		this.#lookedAt = now;
		this.#overdueArea = 0;
		this.#inFlightArea = 0;
		this.#answers = 0;
		return means;
	}

	/**
	 * Sequences that began and were put back: silent while others go on. A few may be clients that read slowly; an engine that is
	 * silent as a whole reads a long prompt.
	 */
	#countStalled(now: Millis): number {
		const since = this.#lastTokenAt - Math.max(SHORTEST_STALL_MS, STALL_STEPS * this.#stepMs);
		let stalled = 0;
		for (const entry of this.#running.values()) {
			if (entry.answeredAt === undefined || !entry.observed) continue;
			if (entry.lastTokenAt < since && now - entry.lastTokenAt < LONGEST_STALL_MS) stalled += entry.sequences;
		}
		return stalled > Math.max(1, STALLED_SHARE * this.#observed) ? stalled : 0;
	}

	/** A request is no longer owed an answer. */
	#settle(entry: Running, now: Millis): boolean {
		const lateness = this.#lateness(entry, now);
		this.#overdueArea += lateness;
		this.#owed -= entry.sequences;
		this.#unanswered.delete(entry);
		return lateness > 0;
	}

	/** Sequences · ms by which a request came to be late since this was last asked. */
	#lateness(entry: Running, now: Millis): number {
		const readMs = entry.own * this.#msPerToken + entry.before * this.#bestMsPerToken;
		const expectedMs = STEPS * this.#stepMs + readMs;
		if (now <= entry.dispatchedAt + expectedMs + Math.max(JITTER_MS, SLACK * (this.#stepMs + readMs))) return 0;
		const from = Math.max(entry.countedTo, entry.dispatchedAt + expectedMs);
		entry.countedTo = now;
		return entry.sequences * Math.max(0, now - from);
	}

	#learn(msPerToken: number): void {
		this.#samples[this.#sampleCount++ % SAMPLES] = msPerToken;
		const known = Array.from(this.#samples.subarray(0, Math.min(SAMPLES, this.#sampleCount))).sort((a, b) => a - b);
		this.#bestMsPerToken = known[Math.floor(BEST_QUANTILE * known.length)]!;
		this.#msPerToken = known[Math.floor(USUAL_QUANTILE * known.length)]!;
	}

	#integrate(now: Millis): void {
		this.#inFlightArea += this.#inFlight * (now - this.#changedAt);
		this.#changedAt = now;
	}
}
