import { describe, expect, test } from "vitest";
import { ENGINE_PROFILES } from "./engine-profiles.ts";
import { readScenario, scenarioArrivals } from "./scenario.ts";

const tier = (more: object) => ({ name: "job", tier: "internal", prompt: 10, output: 20, ...more });
const read = (more: object) => readScenario({ duration: "10s", tiers: [tier({ rate: 1 })], ...more });

describe("an engine of the scenario's own", () => {
	test("is the profile that it is like, but for what it says", () => {
		const { engine } = read({ engine: { name: "mine", like: "h100-70b", slots: 8, step_base_ms: 0, kv_tokens: 1000 } });
		expect(engine).toEqual({
			...ENGINE_PROFILES["h100-70b"],
			name: "mine",
			slots: 8,
			stepBaseMs: 0,
			kvTokens: 1000,
		});
	});

	test.each([
		[{ like: "a100-8b" }, "engine.name: a word is needed"],
		[{ name: "mine", like: "a100" }, 'engine.like: "a100" is no engine profile; known are'],
		[{ name: "mine" }, "engine.like: nothing is no engine profile"],
		[{ name: "mine", like: "a100-8b", slots: 0 }, "engine.slots: 0 is no number from 1"],
		[{ name: "mine", like: "a100-8b", batch: 1 }, "engine: batch is unknown"],
	])("%j: %s", (engine, message) => {
		expect(() => read({ engine })).toThrow(message);
	});
});

test("a tier with a count asks for all of them at once", () => {
	const scenario = read({
		tiers: [tier({ count: 3, from: "2s" }), tier({ name: "other", rate: 1, arrivals: "regular" })],
	});
	const at = [...scenarioArrivals(scenario, 1)].filter(({ metadata }) => metadata.accountId === "job");
	expect(at.map(({ arrivalMs }) => arrivalMs)).toEqual([2000, 2000, 2000]);
	expect(() => read({ tiers: [tier({ count: 3, rate: 1 })] })).toThrow(
		"tiers[0]: a rate or a count is allowed, not both",
	);
	expect(() => read({ tiers: [tier({})] })).toThrow("tiers[0].rate: nothing is no number");
});

test("a network delay is a time", () => {
	expect(read({ network_delay: "5ms" }).networkDelayMs).toBe(5);
	expect(read({}).networkDelayMs).toBeUndefined();
});
