import { afterEach, beforeEach, expect, test } from "vitest";
import { runBenchmark } from "./benchmark.ts";
import { profileMix } from "./benchmark-mix.ts";
import { benchmarkTarget } from "./benchmark-workload.ts";
import { type MockLlm, startMockLlm } from "./mock-llm-server.ts";
import { WORKLOAD_PROFILES } from "./workload-profiles.ts";

let mock: MockLlm;
beforeEach(async () => {
	mock = await startMockLlm({ speed: 5 });
});
afterEach(() => mock.close());

const options = (durationMs: number) => ({
	endpoint: mock.url,
	target: benchmarkTarget(mock.url)!,
	model: "mock",
	mix: profileMix(WORKLOAD_PROFILES.minimal),
	durationMs,
	seed: 3,
	// A busy machine delays everything; what is measured here is not how fast it is.
	ttftLimitMs: 60_000,
	failureLimit: 0.01,
	maxInFlight: 500,
});

test("the report counts the tokens that the server counted, never more", async () => {
	const outcome = await runBenchmark(options(3000));
	if (outcome.kind !== "measured") throw new Error(outcome.code);
	const { results, steps, workload_distribution: mix } = outcome.report;
	expect(steps[0]?.phase).toBe("ramp");
	expect(steps.some(({ phase }) => phase === "hold")).toBe(true);
	const succeeded = steps.reduce((sum, step) => sum + step.succeeded, 0);
	const { totals } = mock.ledger();
	expect(succeeded).toBeGreaterThan(0);
	// The first request, which only asks whether the server answers, is not in the report.
	expect(succeeded + 1).toBeLessThanOrEqual(totals.finished);
	const counted = results.avg_tokens_per_request * succeeded;
	expect(counted).toBeGreaterThan(0);
	expect(counted).toBeLessThanOrEqual((totals.prompt_tokens + totals.completion_tokens) * 1.001);
	expect(mix.avg_prompt_tokens + mix.avg_completion_tokens).toBeCloseTo(results.avg_tokens_per_request, 1);
	expect(results.recommended_safe_tps).toBeCloseTo(0.85 * results.max_tps, 1);
	expect(results.recommended_safe_rps).toBeCloseTo(0.85 * results.max_rps, 1);
	expect(results.max_tps).toBeGreaterThan(0);
	expect(results.recommended_max_concurrent).toBeGreaterThan(0);
	expect(results.error_rate).toBe(0);
});

test("a run that is stopped reports what it has", async () => {
	const stop = new AbortController();
	const outcome = await runBenchmark({
		...options(60_000),
		signal: stop.signal,
		onStep: ({ startMs }) => {
			if (startMs > 0) stop.abort();
		},
	});
	expect(outcome.kind === "measured" && outcome.interrupted && outcome.report.steps.length).toBe(2);
});

test("an endpoint that refuses is named, not measured", async () => {
	const target = { baseUrl: mock.url, path: "/nowhere" };
	expect(await runBenchmark({ ...options(1000), target })).toMatchObject({ kind: "unanswered", status: 404 });
});

test.each([
	["http://h:1", "/v1/chat/completions"],
	["http://h:1/v1/", "/v1/chat/completions"],
	["http://h:1/v1/chat/completions", "/v1/chat/completions"],
	["https://h/prefix", "/prefix/v1/chat/completions"],
])("%s is asked at %s", (endpoint, path) => {
	expect(benchmarkTarget(endpoint)?.path).toBe(path);
});

test("no address, no target", () => {
	expect(benchmarkTarget("ftp://h")).toBeUndefined();
	expect(benchmarkTarget("here")).toBeUndefined();
});
