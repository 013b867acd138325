import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadConfig } from "../config/load.ts";
import { ENGINE_PROFILES } from "./engine-profiles.ts";
import { simulateConfig } from "./report.ts";
import { readScenario, scenarioArrivals } from "./scenario.ts";
import { jain, ServiceTracker } from "./service.ts";
import { openTrace } from "./traces.ts";
import { traceArrivals } from "./workload.ts";

const TRACE = fileURLToPath(new URL("../../test/fixtures/traces/azure2023-conv-excerpt.csv", import.meta.url));

function configOf(text: string) {
	const loaded = loadConfig({ path: "test.ini", text, env: {} });
	if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join());
	return loaded.config;
}

const replay = (text: string, speedUp: number) =>
	simulateConfig({
		name: "test.ini",
		config: configOf(text),
		profile: ENGINE_PROFILES["a100-8b"],
		arrivals: traceArrivals(openTrace(TRACE), speedUp),
	});

test("every request of the trace is accounted for once, with its tokens", () => {
	const rows = [...openTrace(TRACE).requests()];
	const report = replay("", 1);
	expect(report.total.requests).toBe(rows.length);
	expect(report.total.served).toBe(rows.length);
	const tokens = rows.reduce((sum, row) => sum + row.promptTokens + Math.max(1, row.outputTokens), 0);
	for (const groups of [[report.total], report.queues, report.tenants]) {
		expect(groups.reduce((sum, group) => sum + group.requests, 0)).toBe(rows.length);
		expect(groups.reduce((sum, group) => sum + group.tokens, 0)).toBe(tokens);
	}
});

test("the same input gives the same JSON", () => {
	expect(JSON.stringify(replay("", 20))).toBe(JSON.stringify(replay("", 20)));
});

test("under load the best level waits less than the worst, and less room means longer waits", () => {
	const config = "[request_scheduler]\nscheduler = strict\n[capacity]\nmax_concurrent = 8\n";
	const { queues, total } = replay(config, 20);
	expect(queues[0]!.requests).toBeGreaterThan(0);
	expect(queues[0]!.wait_ms.p99).toBeLessThan(queues.at(-1)!.wait_ms.p99);
	expect(total.wait_ms.p99).toBeGreaterThan(replay("", 20).total.wait_ms.p99);
});

test("what a full queue refuses is counted with its reason", () => {
	const config =
		"[capacity]\nmax_concurrent = 1\n" +
		[0, 1, 2, 3, 4].map((level) => `[allocator.priority.level.${level}]\nmax_depth = 1\n`).join("");
	const { total } = replay(config, 100);
	expect(total.refused["queue_full"]).toBeGreaterThan(0);
	expect(total.served + Object.values(total.refused).reduce((sum, count) => sum + count, 0)).toBe(total.requests);
});

const SCENARIO = {
	duration: "20s",
	seed: 4,
	tiers: [
		{ name: "chat", tier: "external", rate: 5, tenants: 2, prompt: 300, output: { min: 10, max: 200, mean: 60 } },
		{ name: "flood", tier: "internal", workload: "batch", rate: 10, from: "5s", until: 10, prompt: 900, output: 50 },
	],
};

test("a scenario asks at its rates, in its times, in order, the same with each reading", () => {
	const scenario = readScenario(SCENARIO);
	const arrivals = [...scenarioArrivals(scenario, 1)];
	expect(arrivals).toEqual([...scenarioArrivals(scenario, 1)]);
	expect(arrivals.map(({ arrivalMs }) => arrivalMs)).toEqual(
		arrivals.map(({ arrivalMs }) => arrivalMs).toSorted((a, b) => a - b),
	);
	const flood = arrivals.filter(({ metadata }) => metadata.workload === "batch");
	expect(flood.length).toBeGreaterThan(25);
	expect(flood.every(({ arrivalMs }) => arrivalMs >= 5000 && arrivalMs < 10_000)).toBe(true);
	const chat = arrivals.filter(({ metadata }) => metadata.tier === "external");
	expect(new Set(chat.map(({ metadata }) => metadata.accountId))).toEqual(new Set(["chat-1", "chat-2"]));
	expect(chat.every(({ outputTokens }) => outputTokens >= 10 && outputTokens <= 200)).toBe(true);
});

test.each([
	[{ ...SCENARIO, speed: 1 }, "speed is unknown"],
	[{ ...SCENARIO, duration: "soon" }, "no time"],
	[{ ...SCENARIO, tiers: [] }, "at least one tier"],
	[{ ...SCENARIO, tiers: [{ ...SCENARIO.tiers[0], rate: 0 }] }, "tiers[0].rate"],
	[{ ...SCENARIO, tiers: [{ ...SCENARIO.tiers[0], output: { min: 9, max: 3 } }] }, "tiers[0].output.max"],
])("a wrong scenario names what is wrong (%#)", (scenario, message) => {
	expect(() => readScenario(scenario)).toThrow(message);
});

test("Jain's index is 1 for equal shares and 1/n when one has all", () => {
	expect(jain([3, 3, 3])).toBe(1);
	expect(jain([9, 0, 0, 0])).toBe(0.25);
});

test("service is compared only while both wait: what one got in between is nobody's loss", () => {
	const tracker = new ServiceTracker();
	const serve = (name: string, arrived: number, first: number, end: number) => {
		tracker.served(name, 100, 50, first, end);
		return { name, arrived, first };
	};
	// Both wait from 0 to 10 s; a gets two, b one. Then a alone gets ten more.
	for (let n = 0; n < 12; n++) tracker.arrived("a", 0);
	for (let n = 0; n < 2; n++) tracker.arrived("b", 0);
	for (const { name, first } of [
		serve("a", 0, 1000, 2000),
		serve("a", 0, 3000, 4000),
		serve("b", 0, 5000, 6000),
		serve("b", 0, 10_000, 10_100),
		...Array.from({ length: 10 }, (_, n) => serve("a", 0, 11_000 + n * 1000, 11_500 + n * 1000)),
	])
		tracker.answered(name, first);
	const { max_difference: max, difference, step_ms: stepMs, tenants, jain_index: index } = tracker.report(30_000);
	expect(max).toBe(400);
	expect(difference.slice(Math.ceil(10_500 / stepMs)).every((value) => value === 0)).toBe(true);
	expect(tenants.map(({ service_total }) => service_total.at(-1))).toEqual([2400, 400]);
	expect(index).toBe(jain([400, 200]));
});

test("a scenario's regular arrivals keep their gaps, pause when it says so, and rise as it says", () => {
	const arrivals = (tier: object) => [
		...scenarioArrivals(
			readScenario({
				duration: "100s",
				tiers: [{ tier: "external", arrivals: "regular", prompt: 1, output: 1, ...tier }],
			}),
			1,
		),
	];
	expect(arrivals({ rate: 0.5, from: "10s" }).map(({ arrivalMs }) => arrivalMs / 1000)).toEqual(
		Array.from({ length: 44 }, (_, n) => 12 + 2 * n),
	);
	const paused = arrivals({ rate: 1, on: "10s", off: "20s" }).map(({ arrivalMs }) => arrivalMs / 1000);
	expect(paused.every((second) => second % 30 < 10)).toBe(true);
	expect(paused.length).toBe(39);
	const rising = arrivals({ rate: { from: 1, to: 3 }, until: "99.9s" }).map(({ arrivalMs }) => arrivalMs);
	// The rate at 99.9 s is the last one, so a little more than 2 a second.
	expect(rising.length).toBe(199);
	// 25 s at 1.25 a second on average.
	expect(rising.filter((at) => at <= 25_000).length).toBe(31);
	expect(arrivals({ rate: { from: 1, to: 3 }, arrivals: "poisson" }).length / 200).toBeCloseTo(1, 0);
});

const FLOOD = readScenario({
	duration: "60s",
	seed: 1,
	tiers: [
		{ name: "staff", tier: "internal", environment: "production", rate: 4, prompt: 600, output: 200 },
		{ name: "customers", tier: "external", rate: 12, prompt: 600, output: 200 },
	],
});

const flood = (text: string) =>
	simulateConfig({
		name: "test.ini",
		config: configOf(text),
		profile: ENGINE_PROFILES["a10g-7b"],
		arrivals: scenarioArrivals(FLOOD, 1),
	});

test("adaptive capacity is simulated: a limit far above the engine does not hold, and waiting is here instead of there", () => {
	const fixed = flood("[capacity]\nmax_concurrent = 400\nmax_prefill_tokens = off\n");
	const adaptive = flood("[capacity]\nmode = adaptive\nmax_prefill_tokens = off\n");
	const production = (report: typeof fixed) => report.queues.find(({ name }) => name.startsWith("P0"))!;
	expect(production(adaptive).ttft_ms.p50).toBeLessThan(production(fixed).ttft_ms.p50 / 4);
	expect(adaptive.total.requests).toBe(fixed.total.requests);
});

test("the capacity guard is simulated: external work is refused while internal work needs the capacity", () => {
	const report = flood(
		"[capacity_guard]\nenabled = true\nmax_tps = 1000\ninternal_limit_pct = 0.1\nresume_pct = 0.05\n",
	);
	expect(report.total.refused["capacity_guard"]).toBeGreaterThan(100);
});
