/**
 * A benchmark run: an open loop of requests whose rate follows the search for the knee, all in one stream, so that every step starts
 * from the load of the step before. The whole run keeps to `durationMs`, plus a short grace for what is still being answered.
 *
 * Ends early, with what was measured, when `signal` is aborted. Units: milliseconds.
 */
import { performance } from "node:perf_hooks";
import type { Millis } from "../core/model/units.ts";
import type { BenchmarkMix } from "./benchmark-mix.ts";
import { type BenchmarkReport, benchmarkReport } from "./benchmark-report.ts";
import { KneeSearch, type LoadPlan, Replay, type StepPlan } from "./benchmark-search.ts";
import { BenchmarkTally } from "./benchmark-tally.ts";
import { type BenchmarkTarget, BenchmarkWorkload, STREAMED } from "./benchmark-workload.ts";
import { generateLoad, type LoadRequest, type LoadResult } from "./load-generator.ts";

export interface BenchmarkOptions {
	readonly endpoint: string;
	readonly target: BenchmarkTarget;
	readonly model: string;
	readonly mix: BenchmarkMix;
	/** So many requests at one rate instead of the search, or as many as the duration holds. */
	readonly replay?: { readonly ratePerSecond: number; readonly requests: number };
	readonly durationMs: Millis;
	readonly seed: number;
	readonly headers?: Readonly<Record<string, string>>;
	/** P95 of the time to first token that still counts as sustained. */
	readonly ttftLimitMs: Millis;
	/** Share of errors and refusals that does. */
	readonly failureLimit: number;
	readonly maxInFlight?: number;
	readonly signal?: AbortSignal;
	readonly onStep?: (plan: StepPlan) => void;
}

export type BenchmarkOutcome =
	| {
			readonly kind: "measured";
			readonly report: BenchmarkReport;
			readonly interrupted: boolean;
			/** False: the run ended before the server was at its limit, which may be higher. */
			readonly saturated: boolean;
	  }
	/** The very first request was not answered. */
	| { readonly kind: "unanswered"; readonly status: number; readonly code: string };

const DEFAULT_MAX_IN_FLIGHT = 2000;
/** Of the duration: how long the first request may take, and what is still in flight at the end. */
const PROBE_PART = 0.2;
const GRACE_PART = 0.15;
/** A replay is about the answers to all of its requests. */
const REPLAY_GRACE_MS = 30_000;

export async function runBenchmark(options: BenchmarkOptions): Promise<BenchmarkOutcome> {
	const startedAt = new Date();
	const origin = performance.now();
	const requests = new BenchmarkWorkload(
		options.mix,
		options.model,
		options.target.path,
		options.seed,
		options.headers,
	);
	const first = await probe(options, requests);
	if (first.errorCode !== undefined && !(first.aborted && first.totalMs >= options.durationMs * PROBE_PART))
		return { kind: "unanswered", status: first.status, code: first.errorCode };
	const tally = new BenchmarkTally();
	const saturated = await new Run(options, requests, tally, origin, first.totalMs).finished();
	const report = benchmarkReport({
		endpoint: options.endpoint,
		model: options.model,
		startedAt,
		elapsedMs: performance.now() - origin,
		mix: options.mix,
		tally,
		ttftLimitMs: options.ttftLimitMs,
		failureLimit: options.failureLimit,
	});
	return { kind: "measured", report, interrupted: options.signal?.aborted === true, saturated };
}

/** One request on the idle server: whether it answers at all, and how long that takes. */
async function probe(options: BenchmarkOptions, requests: BenchmarkWorkload): Promise<LoadResult> {
	let seen: LoadResult | undefined;
	await generateLoad({
		baseUrl: options.target.baseUrl,
		requests: [{ ...requests.request(0), abortAfterMs: options.durationMs * PROBE_PART }],
		onResult: (result) => {
			seen = result;
		},
		...(options.signal === undefined ? {} : { signal: options.signal }),
	});
	return seen!;
}

class Run {
	readonly #options: BenchmarkOptions;
	readonly #requests: BenchmarkWorkload;
	readonly #tally: BenchmarkTally;
	readonly #plan: LoadPlan;
	readonly #origin: number;
	readonly #stop = new AbortController();
	#over = false;
	#timer: NodeJS.Timeout | undefined;

	constructor(
		options: BenchmarkOptions,
		requests: BenchmarkWorkload,
		tally: BenchmarkTally,
		startedAt: number,
		idleLatencyMs: Millis,
	) {
		this.#options = options;
		this.#requests = requests;
		this.#tally = tally;
		const spent = performance.now() - startedAt;
		this.#origin = performance.now();
		this.#plan =
			options.replay === undefined
				? new KneeSearch({
						durationMs: Math.max(options.durationMs / 2, options.durationMs - spent),
						ttftP95Ms: options.ttftLimitMs,
						failureRate: options.failureLimit,
						idleLatencyMs,
						startMs: 0,
						streamingRatio: options.mix.streamingRatio,
					})
				: new Replay(options.replay.ratePerSecond, options.durationMs);
	}

	/** Answers whether the server was brought to its limit. */
	async finished(): Promise<boolean> {
		const { signal, target, onStep } = this.#options;
		if (signal?.aborted === true) return false;
		const end = () => this.#stop.abort();
		signal?.addEventListener("abort", end, { once: true });
		const first = this.#plan.current;
		this.#tally.begin(first);
		onStep?.(first);
		this.#timer = setTimeout(this.#stepEnds, first.endMs);
		await generateLoad({
			baseUrl: target.baseUrl,
			requests: this.#arrivals(),
			maxInFlight: this.#options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT,
			onFirstToken: ({ atMs }, ttftMs) => this.#tally.firstToken(atMs, ttftMs),
			onSend: ({ atMs, tier }) => this.#tally.sent(atMs, tier === STREAMED),
			onResult: (result) => {
				if (result.errorCode === "not_sent") this.#tally.notSent(result.atMs);
				else this.#tally.add(result, result.tier === STREAMED, this.#now());
			},
			signal: this.#stop.signal,
		});
		clearTimeout(this.#timer);
		signal?.removeEventListener("abort", end);
		return this.#plan.saturated;
	}

	/** Pulled when the request before has been sent, so the rate is the one in force then. */
	*#arrivals(): Generator<LoadRequest, void> {
		const { replay } = this.#options;
		if (replay !== undefined) {
			yield* this.#replay(replay.ratePerSecond, replay.requests);
			return;
		}
		let at = 0;
		while (!this.#over) {
			const step = this.#plan.current;
			const rate = this.#plan.rateNow(this.#tally.waiting, this.#tally.completedRate(at));
			if (rate === 0) at = Math.max(at, step.endMs) + 1;
			// Never two at one moment: a request is known by when it was due.
			else at += Math.max(1e-6, Math.min(this.#requests.gapMs(rate), step.endMs - step.startMs));
			yield this.#requests.request(at);
		}
	}

	/** Ends by what was due, not by the clock: on a machine that is late, none is left out. */
	*#replay(ratePerSecond: number, requests: number): Generator<LoadRequest, void> {
		const { endMs } = this.#plan.current;
		let at = 0;
		for (let count = 0; count < requests; count++) {
			at += Math.max(1e-6, this.#requests.gapMs(ratePerSecond));
			if (at >= endMs) return;
			yield this.#requests.request(at);
		}
	}

	readonly #stepEnds = (): void => {
		const now = this.#now();
		const step = this.#plan.next(this.#tally.outcome(now));
		if (step === undefined) {
			this.#over = true;
			const { durationMs, replay } = this.#options;
			const graceMs = replay === undefined ? Math.max(1000, GRACE_PART * durationMs) : REPLAY_GRACE_MS + durationMs;
			this.#timer = setTimeout(() => this.#stop.abort(), graceMs);
			return;
		}
		this.#tally.begin(step);
		this.#options.onStep?.(step);
		this.#timer = setTimeout(this.#stepEnds, Math.max(0, step.endMs - now));
	};

	#now(): Millis {
		return performance.now() - this.#origin;
	}
}
