import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { loadConfig } from "../config/load.ts";
import { ENGINE_PROFILES } from "./engine-profiles.ts";
import { jain, simulateConfig } from "./report.ts";
import { readScenario, scenarioArrivals } from "./scenario.ts";
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
	expect(arrivals.map(({ atMs }) => atMs)).toEqual(arrivals.map(({ atMs }) => atMs).toSorted((a, b) => a - b));
	const flood = arrivals.filter(({ metadata }) => metadata.workload === "batch");
	expect(flood.length).toBeGreaterThan(25);
	expect(flood.every(({ atMs }) => atMs >= 5000 && atMs < 10_000)).toBe(true);
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
