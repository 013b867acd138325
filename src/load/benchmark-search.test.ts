import { describe, expect, test } from "vitest";
import { ENGINE_PROFILE_NAMES, ENGINE_PROFILES } from "../simulate/engine-profiles.ts";
import { profileMix } from "./benchmark-mix.ts";
import { benchmarkReport } from "./benchmark-report.ts";
import { KneeSearch, type StepOutcome } from "./benchmark-search.ts";
import { trueCapacity, virtualBenchmark } from "./virtual-benchmark.ts";
import { WORKLOAD_PROFILES, type WorkloadProfile } from "./workload-profiles.ts";

const LIMITS = { ttftP95Ms: 60_000, seed: 5 };

/** Of the capacity that the engine model really has. */
function found(engine: (typeof ENGINE_PROFILE_NAMES)[number], mix: WorkloadProfile, durationMs: number) {
	const profile = ENGINE_PROFILES[engine];
	const { search, tally } = virtualBenchmark(profile, mix, { ...LIMITS, durationMs });
	const { results } = benchmarkReport({
		endpoint: "",
		model: "",
		startedAt: new Date(0),
		elapsedMs: durationMs,
		mix: profileMix(mix),
		tally,
		ttftLimitMs: LIMITS.ttftP95Ms,
		failureLimit: 0.01,
	});
	expect(search.saturated).toBe(true);
	return results.max_tps / trueCapacity(profile, mix, 77, Math.max(600_000, durationMs));
}

describe.each(ENGINE_PROFILE_NAMES)("%s", (engine) => {
	test("short answers: the capacity is found within 5 % in two minutes of the engine's time", () => {
		expect(Math.abs(found(engine, WORKLOAD_PROFILES.minimal, 120_000) - 1)).toBeLessThan(0.05);
	});

	test("answers of up to a minute: the capacity is found within 5 % in an hour", () => {
		expect(Math.abs(found(engine, WORKLOAD_PROFILES.realistic, 3_600_000) - 1)).toBeLessThan(0.05);
	});

	test("without a stream, where waiting is not seen, the capacity is found within 5 %", () => {
		const whole = { ...WORKLOAD_PROFILES.minimal, streamingRatio: 0 };
		expect(Math.abs(found(engine, whole, 300_000) - 1)).toBeLessThan(0.05);
	});
});

test("the search doubles until requests queue, holds what was completed, and ends in time", () => {
	const capacity = 100;
	const search = new KneeSearch({
		durationMs: 60_000,
		ttftP95Ms: 2000,
		failureRate: 0.01,
		idleLatencyMs: 500,
		startMs: 0,
		streamingRatio: 1,
	});
	let backlog = 0;
	const phases: string[] = [];
	for (let step: ReturnType<KneeSearch["next"]> = search.current; step !== undefined; ) {
		phases.push(step.phase);
		const seconds = (step.endMs - step.startMs) / 1000;
		const sent = search.rateNow(backlog, 0) * seconds;
		const completed = Math.min(sent + backlog, capacity * seconds);
		const left = sent + backlog - completed;
		const outcome: StepOutcome = {
			completed: Math.round(completed),
			inFlight: left,
			ttftP95Ms: 10 + (left / capacity) * 1000,
			waiting: left,
			waitingGrowth: sent === 0 ? 0 : (left - backlog) / sent,
			failureRate: 0,
			overflowed: false,
		};
		backlog = left;
		expect(step.endMs).toBeLessThanOrEqual(60_000);
		step = search.next(outcome);
	}
	expect(phases.slice(-4)).toEqual(["settle", "hold", "drain", "verify"]);
	expect(search.capacity).toBeCloseTo(capacity, 0);
	expect(search.saturated).toBe(true);
});
