/**
 * What a benchmark measured: per load step the latencies of the requests due in it, and over all the run the tokens that the server
 * worked through, in narrow bins of time.
 *
 * Latencies count from when a request was due, so a slow server hides nothing (Tene, "How not to measure latency"). A request's answer
 * is spread over the time in which it was produced (first token to end), so that a window's token rate does not depend on which answers
 * happen to end in it. Memory: bins and histograms, nothing per request. Units: milliseconds, tokens.
 */
import { build, type Histogram } from "hdr-histogram-js";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { StepOutcome, StepPlan } from "./benchmark-search.ts";
import type { LoadResult } from "./load-generator.ts";

/** Histograms hold tenths of milliseconds, up to an hour. */
const SCALE = 10;
const HIGHEST = 3_600_000 * SCALE;
const BIN_MS = 20;
const REFUSED = new Set([429, 503, 529]);

export interface Percentiles {
	readonly p50: Millis;
	readonly p95: Millis;
	readonly p99: Millis;
}

/** Values in milliseconds; `decimals` as the report prints them. */
export class Distribution {
	readonly #histogram: Histogram = build({
		lowestDiscernibleValue: 1,
		highestTrackableValue: HIGHEST,
		numberOfSignificantValueDigits: 3,
		bitBucketSize: 32,
	});

	add(ms: Millis): void {
		if (ms >= 0) this.#histogram.recordValue(Math.min(HIGHEST, Math.round(ms * SCALE)));
	}

	get count(): number {
		return this.#histogram.totalCount;
	}

	get mean(): Millis {
		return this.count === 0 ? 0 : rounded(this.#histogram.mean / SCALE);
	}

	percentile(percent: number): Millis {
		return this.count === 0 ? 0 : rounded(this.#histogram.getValueAtPercentile(percent) / SCALE);
	}

	percentiles(): Percentiles {
		return { p50: this.percentile(50), p95: this.percentile(95), p99: this.percentile(99) };
	}
}

export class StepTally {
	readonly plan: StepPlan;
	readonly latency = new Distribution();
	readonly ttft = new Distribution();
	readonly tpot = new Distribution();
	/** Due in the step. */
	sent = 0;
	notSent = 0;
	succeeded = 0;
	errors = 0;
	throttled = 0;
	promptTokens: Tokens = 0;
	completionTokens: Tokens = 0;
	/** Came back during the step. */
	completedDuring = 0;
	failedDuring = 0;
	/** Σ requests in flight · ms during the step. */
	inFlightMs = 0;
	/** Σ streams without a first token · ms, in the first half of the step and in the second. */
	readonly waitingMs: [number, number] = [0, 0];
	streamsSent = 0;

	constructor(plan: StepPlan) {
		this.plan = plan;
	}
}

export class BenchmarkTally {
	readonly steps: StepTally[] = [];
	#bins = new Float64Array(1024);
	#inFlight = 0;
	#inFlightSince: Millis = 0;
	/** Of streams: what unstreamed answers are spread by. */
	#tpotSum = 0;
	#tpotCount = 0;
	/** When the streams without a first token were due. */
	readonly #waiting = new Set<Millis>();

	get inFlight(): number {
		return this.#inFlight;
	}

	/** Streams without a first token. */
	get waiting(): number {
		return this.#waiting.size;
	}

	/** Requests per second that came back since the step began; 0 in its first fifth, which says little. */
	completedRate(nowMs: Millis): number {
		const step = this.steps.at(-1);
		if (step === undefined) return 0;
		const { startMs, endMs } = step.plan;
		const part = (nowMs - startMs) / (endMs - startMs);
		return part < 0.2 ? 0 : ((step.completedDuring - step.failedDuring) / (nowMs - startMs)) * 1000;
	}

	begin(plan: StepPlan): void {
		this.#integrate(plan.startMs);
		this.steps.push(new StepTally(plan));
	}

	sent(dueMs: Millis, streamed: boolean): void {
		this.#integrate(dueMs);
		this.#inFlight++;
		if (streamed) this.#waiting.add(dueMs);
		const step = this.#stepAt(dueMs);
		if (step === undefined) return;
		step.sent++;
		if (streamed) step.streamsSent++;
	}

	/** Was due but could not be sent. */
	notSent(dueMs: Millis): void {
		const step = this.#stepAt(dueMs);
		if (step !== undefined) step.notSent++;
	}

	firstToken(dueMs: Millis, ttftMs: Millis): void {
		this.#integrate(dueMs + ttftMs);
		if (this.#waiting.delete(dueMs)) this.#stepAt(dueMs)?.ttft.add(ttftMs);
	}

	/** @param streamed whether time to first token is the server's or only the end */
	add(result: LoadResult, streamed: boolean, nowMs: Millis): void {
		this.#integrate(nowMs);
		this.#inFlight--;
		const unanswered = this.#waiting.delete(result.atMs);
		const step = this.#stepAt(result.atMs);
		const current = this.steps.at(-1);
		if (step === undefined || current === undefined) return;
		if (result.aborted) {
			// It waited at least that long: left out, the slowest would be missing.
			if (unanswered) step.ttft.add(result.totalMs);
			return;
		}
		current.completedDuring++;
		if (result.errorCode !== undefined) {
			current.failedDuring++;
			if (REFUSED.has(result.status)) step.throttled++;
			else step.errors++;
			return;
		}
		this.#succeeded(step, result, streamed);
	}

	#succeeded(step: StepTally, result: LoadResult, streamed: boolean): void {
		const { atMs, totalMs, ttftMs, promptTokens, completionTokens } = result;
		step.succeeded++;
		step.promptTokens += promptTokens;
		step.completionTokens += completionTokens;
		step.latency.add(totalMs);
		let producingMs = (completionTokens - 1) * (this.#tpotCount === 0 ? 0 : this.#tpotSum / this.#tpotCount);
		if (streamed) {
			producingMs = totalMs - ttftMs;
			if (completionTokens > 1) {
				const tpot = producingMs / (completionTokens - 1);
				step.tpot.add(tpot);
				this.#tpotSum += tpot;
				this.#tpotCount++;
			}
		}
		const end = atMs + totalMs;
		this.#spread(end - Math.min(producingMs, totalMs), end, promptTokens, completionTokens);
	}

	/** What the step that just ended looks like from here. */
	outcome(nowMs: Millis): StepOutcome {
		const step = this.steps.at(-1)!;
		this.#integrate(nowMs);
		const waits = [...this.#waiting].filter((due) => due >= step.plan.startMs).map((due) => nowMs - due);
		const { ttftP95Ms } = withWaiting(step.ttft, waits);
		return {
			completed: step.completedDuring - step.failedDuring,
			inFlight: this.#inFlight,
			ttftP95Ms,
			waiting: this.#waiting.size,
			waitingGrowth: growthOf(step),
			failureRate: step.completedDuring === 0 ? 0 : step.failedDuring / step.completedDuring,
			overflowed: step.notSent > 0,
		};
	}

	/** Tokens per second, prompt and answer, between two moments. */
	tokensPerSecond(fromMs: Millis, toMs: Millis): number {
		const first = Math.ceil(fromMs / BIN_MS);
		const last = Math.min(Math.floor(toMs / BIN_MS), this.#bins.length);
		let tokens = 0;
		for (let bin = first; bin < last; bin++) tokens += this.#bins[bin]!;
		return last <= first ? 0 : (tokens / ((last - first) * BIN_MS)) * 1000;
	}

	/** All tokens that came back. */
	get tokens(): Tokens {
		return this.steps.reduce((sum, step) => sum + step.promptTokens + step.completionTokens, 0);
	}

	#spread(fromMs: Millis, toMs: Millis, promptTokens: Tokens, completionTokens: Tokens): void {
		const first = Math.max(0, Math.floor(fromMs / BIN_MS));
		const last = Math.max(first, Math.floor(toMs / BIN_MS));
		if (last >= this.#bins.length) {
			const larger = new Float64Array(2 * (last + 1));
			larger.set(this.#bins);
			this.#bins = larger;
		}
		this.#bins[first]! += promptTokens;
		const share = completionTokens / (last - first + 1);
		for (let bin = first; bin <= last; bin++) this.#bins[bin]! += share;
	}

	#integrate(nowMs: Millis): void {
		const step = this.steps.at(-1);
		if (step !== undefined) {
			const until = Math.min(nowMs, step.plan.endMs);
			const since = Math.max(this.#inFlightSince, step.plan.startMs);
			if (until > since) {
				step.inFlightMs += this.#inFlight * (until - since);
				const middle = Math.min(until, Math.max(since, (step.plan.startMs + step.plan.endMs) / 2));
				step.waitingMs[0] += this.#waiting.size * (middle - since);
				step.waitingMs[1] += this.#waiting.size * (until - middle);
			}
		}
		this.#inFlightSince = Math.max(this.#inFlightSince, nowMs);
	}

	#stepAt(dueMs: Millis): StepTally | undefined {
		return this.steps.findLast((step) => step.plan.startMs <= dueMs) ?? this.steps[0];
	}
}

/** Mean number waiting in the second half of the step over that in the first, as a part of the streams sent in half the step. */
function growthOf({ plan, waitingMs, streamsSent }: StepTally): number {
	const halfMs = (plan.endMs - plan.startMs) / 2;
	return streamsSent === 0 ? Number.NaN : (waitingMs[1] - waitingMs[0]) / halfMs / (streamsSent / 2);
}

/** P95 over those that have answered and those that wait still, with the time they have waited. */
function withWaiting(ttft: Distribution, waits: readonly Millis[]): { ttftP95Ms: Millis } {
	const total = ttft.count + waits.length;
	if (total === 0) return { ttftP95Ms: Number.NaN };
	const over = Math.floor(total * 0.05);
	const sorted = waits.toSorted((a, b) => b - a);
	const waiting = sorted[over] ?? 0;
	const answered = ttft.count === 0 ? 0 : ttft.percentile(95);
	return { ttftP95Ms: Math.max(waiting, answered) };
}

function rounded(ms: number): Millis {
	return Math.round(ms * 10) / 10;
}
