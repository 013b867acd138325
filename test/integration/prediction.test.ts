/**
 * A slice of `bench/prediction.ts`: a burst through the real gateway and through the simulator. Whatever the machine is busy with, each request gets its
 * place in the order that the simulator says; how long that takes is compared by the bench, over 20,000 requests.
 */
import { expect, test } from "vitest";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { comparePrediction, type RealRequest } from "./prediction-run.ts";

const tier = (name: string, more: object) => ({
	name,
	...more,
	rate: 300,
	tenants: 2,
	stream: false,
	prompt: { min: 10, max: 100, mean: 40 },
	output: { min: 10, max: 60, mean: 25 },
});

test("a burst waits in the gateway as the simulator says, tier by tier, relative to the longest wait", async () => {
	let real: readonly RealRequest[] = [];
	const result = await comparePrediction({
		profile: ENGINE_PROFILES["a100-8b"],
		speed: 4,
		clock: "real",
		ini: "[request_scheduler]\nscheduler = wfq\n[capacity]\nmax_concurrent = 2\n",
		scenario: {
			duration: "0.2s",
			seed: 2,
			tiers: [
				tier("production", { tier: "internal", environment: "production" }),
				tier("standard", { tier: "external" }),
				tier("batch", { tier: "internal", workload: "batch" }),
			],
		},
		onReal: (requests) => {
			real = requests;
		},
	});
	expect(real.every((request) => request !== null)).toBe(true);
	expect(result.map(({ refused }) => refused)).toEqual(result.map(() => ({ real: 0, simulated: 0 })));
	const longest = (pick: (one: (typeof result)[number]) => number) => Math.max(...result.map(pick));
	const [realLongest, simulatedLongest] = [longest(({ p99 }) => p99.real), longest(({ p99 }) => p99.simulated)];
	expect(simulatedLongest).toBeGreaterThan(500);
	for (const { tier: name, p50, p99 } of result)
		for (const { real: one, simulated: other } of [p50, p99])
			expect(Math.abs(one / realLongest - other / simulatedLongest), name).toBeLessThan(0.15);
});
