/**
 * The benchmark's report in the form that `capacity_from`, `scheduler configure`, `migrate-to-bucket-scheduler` and `--apply` read
 * (design 06 §5), and what a person reads. Safe values are 85 % of what was measured.
 *
 * The maximum is what the server completed while it was kept busy, when a step at nine tenths of it kept within the limits of latency
 * and errors; else what the best step within the limits completed. Of a replay at one rate it is what was completed. Latencies are
 * those of that step.
 */
import type { BenchmarkMix } from "./benchmark-mix.ts";
import type { BenchmarkTally, Percentiles, StepTally } from "./benchmark-tally.ts";

export interface StepReport {
	readonly phase: string;
	readonly start_sec: number;
	readonly duration_sec: number;
	readonly offered_rps: number;
	readonly sent: number;
	readonly succeeded: number;
	readonly rps: number;
	readonly tps: number;
	readonly avg_in_flight: number;
	readonly error_rate: number;
	readonly throttle_rate: number;
	readonly latency_ms: Percentiles;
	readonly ttft_ms: Percentiles;
	readonly within_limits: boolean;
}

export interface BenchmarkReport {
	readonly version: 1;
	readonly endpoint: string;
	readonly model: string;
	readonly started_at: string;
	readonly duration_sec: number;
	readonly workload_profile: string;
	readonly results: {
		readonly max_rps: number;
		readonly max_tps: number;
		readonly avg_latency_ms: number;
		readonly p50_latency_ms: number;
		readonly p95_latency_ms: number;
		readonly p99_latency_ms: number;
		readonly ttft_ms: Percentiles;
		readonly tpot_ms: Percentiles;
		readonly avg_tokens_per_request: number;
		readonly error_rate: number;
		readonly throttle_rate: number;
		readonly recommended_safe_rps: number;
		readonly recommended_safe_tps: number;
		readonly recommended_max_concurrent: number;
	};
	readonly workload_distribution: {
		readonly avg_prompt_tokens: number;
		readonly avg_completion_tokens: number;
		readonly streaming_ratio: number;
		readonly tool_call_ratio: number;
	};
	readonly steps: readonly StepReport[];
}

export interface ReportInput {
	readonly endpoint: string;
	readonly model: string;
	readonly startedAt: Date;
	readonly elapsedMs: number;
	readonly mix: BenchmarkMix;
	readonly tally: BenchmarkTally;
	readonly ttftLimitMs: number;
	readonly failureLimit: number;
}

const SAFE_PART = 0.85;
/** The start of a hold still shows the ramp before it. */
const SETTLING_PART = 0.1;

export function benchmarkReport(input: ReportInput): BenchmarkReport {
	const { tally, mix } = input;
	const steps = tally.steps.map((step) => stepReport(step, input));
	const sums = sumOf(tally.steps);
	const tokensPerRequest = sums.succeeded === 0 ? 0 : sums.tokens / sums.succeeded;
	const { step, tps } = knee(tally.steps, steps);
	const rps = tokensPerRequest === 0 ? 0 : tps / tokensPerRequest;
	const shown = step === undefined ? undefined : tally.steps[step];
	const report = step === undefined ? undefined : steps[step];
	const concurrent = tps === 0 ? 0 : Math.max(1, Math.round(concurrency(tally.steps, report, shown, rps)));
	const none = { p50: 0, p95: 0, p99: 0 };
	return {
		version: 1,
		endpoint: input.endpoint,
		model: input.model,
		started_at: input.startedAt.toISOString(),
		duration_sec: figure(input.elapsedMs / 1000),
		workload_profile: mix.name,
		results: {
			max_rps: figure(rps),
			max_tps: figure(tps),
			avg_latency_ms: shown?.latency.mean ?? 0,
			p50_latency_ms: shown?.latency.percentile(50) ?? 0,
			p95_latency_ms: shown?.latency.percentile(95) ?? 0,
			p99_latency_ms: shown?.latency.percentile(99) ?? 0,
			ttft_ms: shown?.ttft.percentiles() ?? none,
			tpot_ms: shown?.tpot.percentiles() ?? none,
			avg_tokens_per_request: figure(tokensPerRequest),
			error_rate: ratio(sums.errors, sums.returned),
			throttle_rate: ratio(sums.throttled, sums.returned),
			recommended_safe_rps: figure(rps * SAFE_PART),
			recommended_safe_tps: figure(tps * SAFE_PART),
			recommended_max_concurrent: concurrent,
		},
		workload_distribution: {
			avg_prompt_tokens: figure(sums.succeeded === 0 ? 0 : sums.promptTokens / sums.succeeded),
			avg_completion_tokens: figure(sums.succeeded === 0 ? 0 : (sums.tokens - sums.promptTokens) / sums.succeeded),
			streaming_ratio: mix.streamingRatio,
			tool_call_ratio: mix.toolCallRatio,
		},
		steps,
	};
}

/** Which step's latencies count, and the highest rate of tokens that the server sustains. */
function knee(tallies: readonly StepTally[], steps: readonly StepReport[]): { step: number | undefined; tps: number } {
	const replay = steps.findIndex(({ phase }) => phase === "replay");
	if (replay >= 0) return { step: replay, tps: steps[replay]!.tps };
	const held = (phase: string) => steps.findLastIndex((step) => step.phase === phase && step.within_limits);
	const verified = held("verify");
	const hold = steps.findIndex(({ phase }) => phase === "hold");
	const first = steps.find(({ phase }) => phase === "verify");
	if (verified >= 0) {
		const tps = steps[verified] === first && hold >= 0 ? steps[hold]!.tps : steps[verified]!.tps;
		return { step: verified, tps };
	}
	// Without a verified step (interrupted, too short) the hold stands if it kept within the limits, else the best step that did.
	if (hold >= 0 && first === undefined && tallies[hold]!.succeeded > 0) return { step: hold, tps: steps[hold]!.tps };
	let best: number | undefined;
	for (const [index, step] of steps.entries())
		if (step.within_limits && step.succeeded > 0 && step.tps > (best === undefined ? 0 : steps[best]!.tps))
			best = index;
	return { step: best, tps: best === undefined ? 0 : steps[best]!.tps };
}

/** Little's law over the time in which an answer is produced, as it was when the server was busiest; waiting takes no slot. */
function concurrency(
	steps: readonly StepTally[],
	report: StepReport | undefined,
	shown: StepTally | undefined,
	rps: number,
): number {
	const busiest = steps.find(({ plan, tpot }) => plan.phase === "hold" && tpot.count > 0) ?? shown;
	if (busiest === undefined || report === undefined) return 0;
	if (busiest.tpot.count === 0) return report.avg_in_flight;
	const producingMs = (busiest.tpot.mean * busiest.completionTokens) / busiest.succeeded;
	return (rps * producingMs) / 1000;
}

function stepReport(step: StepTally, { tally, ttftLimitMs, failureLimit }: ReportInput): StepReport {
	const { plan, succeeded, errors, throttled } = step;
	const lengthMs = plan.endMs - plan.startMs;
	const returned = succeeded + errors + throttled;
	const settledMs = plan.startMs + (plan.phase === "hold" ? SETTLING_PART * lengthMs : 0);
	const ttft = step.ttft.percentiles();
	const failed = returned === 0 ? 0 : (errors + throttled) / returned;
	return {
		phase: plan.phase,
		start_sec: figure(plan.startMs / 1000),
		duration_sec: figure(lengthMs / 1000),
		offered_rps: figure(lengthMs === 0 ? 0 : ((step.sent + step.notSent) / lengthMs) * 1000),
		sent: step.sent,
		succeeded,
		rps: figure((step.completedDuring - step.failedDuring) / (lengthMs / 1000)),
		tps: figure(tally.tokensPerSecond(settledMs, plan.endMs)),
		avg_in_flight: figure(lengthMs === 0 ? 0 : step.inFlightMs / lengthMs),
		error_rate: ratio(errors, returned),
		throttle_rate: ratio(throttled, returned),
		latency_ms: step.latency.percentiles(),
		ttft_ms: ttft,
		within_limits: step.notSent === 0 && failed <= failureLimit && ttft.p95 <= ttftLimitMs,
	};
}

function sumOf(steps: readonly StepTally[]) {
	const sums = { succeeded: 0, errors: 0, throttled: 0, returned: 0, promptTokens: 0, tokens: 0 };
	for (const { succeeded, errors, throttled, promptTokens, completionTokens } of steps) {
		sums.succeeded += succeeded;
		sums.errors += errors;
		sums.throttled += throttled;
		sums.returned += succeeded + errors + throttled;
		sums.promptTokens += promptTokens;
		sums.tokens += promptTokens + completionTokens;
	}
	return sums;
}

function ratio(part: number, whole: number): number {
	return whole === 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000;
}

function figure(value: number): number {
	return Math.round(value * 100) / 100;
}

/** The table that a person reads. */
export function benchmarkTable({ results: r, steps, workload_profile: profile }: BenchmarkReport): string {
	const row = (cells: readonly (string | number)[]) => cells.map((cell) => String(cell).padStart(10)).join("");
	return [
		row(["phase", "offered/s", "done/s", "tokens/s", "in flight", "ttft p50", "ttft p95", "errors"]),
		...steps.map((s) =>
			row([s.phase, s.offered_rps, s.rps, s.tps, s.avg_in_flight, s.ttft_ms.p50, s.ttft_ms.p95, s.error_rate]),
		),
		"",
		`profile ${profile}: at most ${r.max_rps} requests/s, ${r.max_tps} tokens/s (prompt and answer)`,
		`safe (85 %): ${r.recommended_safe_rps} requests/s, ${r.recommended_safe_tps} tokens/s, ${r.recommended_max_concurrent} at once`,
		`latency p50 ${r.p50_latency_ms} ms, p95 ${r.p95_latency_ms} ms, p99 ${r.p99_latency_ms} ms; first token p50 ${r.ttft_ms.p50} ms, p99 ${r.ttft_ms.p99} ms; per token p50 ${r.tpot_ms.p50} ms`,
		`errors ${(r.error_rate * 100).toFixed(2)} %, refused ${(r.throttle_rate * 100).toFixed(2)} %`,
	].join("\n");
}
