/**
 * What a benchmark sends and when: the lengths of a balancedWorkload profile at Poisson arrivals, or a trace's rows in their order with the trace's
 * own gaps, stretched to the rate wanted, so that its bursts stay bursts at every rate. A trace that ends begins again.
 *
 * Same seed, same requests. Units: tokens; gaps without a unit, 1 on average; requests per second.
 */
import { Random } from "../simulate/random.ts";
import type { Trace, TraceRequest } from "../simulate/traces.ts";
import { balancedWorkload, type WorkloadProfile, type WorkloadRequest } from "./workload-profiles.ts";

export interface BenchmarkMix {
	/** As the report names it. */
	readonly name: string;
	readonly streamingRatio: number;
	readonly toolCallRatio: number;
	/** Endless. */
	requests(seed: number): Generator<WorkloadRequest, never>;
	/** Endless. */
	gaps(seed: number): Generator<number, never>;
}

export interface TraceMix extends BenchmarkMix {
	readonly rows: number;
	/** Requests per second as recorded; nothing for a trace of lengths only. */
	readonly recordedRate?: number;
}

export function profileMix(profile: WorkloadProfile): BenchmarkMix {
	const { name, streamingRatio, toolCallRatio } = profile;
	return {
		name,
		streamingRatio,
		toolCallRatio,
		requests: (seed) => balancedWorkload(profile, seed),
		gaps: poissonGaps,
	};
}

export function traceMix(trace: Trace, name: string, streamingRatio: number): TraceMix | undefined {
	const rows: TraceRequest[] = [...trace.requests()];
	const first = rows[0];
	if (first === undefined) return undefined;
	const spanMs = rows.at(-1)!.arrivalMs - first.arrivalMs;
	const timed = trace.hasArrivals && spanMs > 0;
	return {
		name,
		rows: rows.length,
		streamingRatio,
		toolCallRatio: 0,
		...(timed && { recordedRate: ((rows.length - 1) / spanMs) * 1000 }),
		*requests(seed) {
			const random = new Random(seed);
			for (let row = 0; ; row = (row + 1) % rows.length) {
				const { promptTokens, outputTokens } = rows[row]!;
				yield {
					promptTokens: Math.max(1, promptTokens),
					completionTokens: Math.max(1, outputTokens),
					streaming: random.chance(streamingRatio),
					tools: false,
				};
			}
		},
		gaps: timed ? () => recordedGaps(rows, spanMs) : poissonGaps,
	};
}

function* poissonGaps(seed: number): Generator<number, never> {
	const random = new Random(`arrivals ${seed}`);
	for (;;) yield random.exponential(1);
}

/** Each row's distance from the row before; a mean gap between the last row and the first. */
function* recordedGaps(rows: readonly TraceRequest[], spanMs: number): Generator<number, never> {
	const meanMs = spanMs / (rows.length - 1);
	for (;;) {
		for (let row = 0; row < rows.length; row++)
			yield row === 0 ? 1 : (rows[row]!.arrivalMs - rows[row - 1]!.arrivalMs) / meanMs;
	}
}
