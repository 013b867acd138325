/**
 * A slice of `bench/prediction.ts`: a burst through the real gateway and through the simulator. The gateway's time stands still while it works, so
 * that the waits themselves can be compared, whatever the machine is busy with.
 */
import { expect, test } from "vitest";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { comparePrediction, networkDelayOf, type RealRequest } from "./prediction-run.ts";

const tier = (name: string, more: object) => ({
	name,
	...more,
	rate: 300,
	tenants: 2,
	stream: false,
	prompt: { min: 10, max: 100, mean: 40 },
	output: { min: 10, max: 60, mean: 25 },
});

test("a burst waits in the gateway as the simulator says, tier by tier", async () => {
	let real: readonly RealRequest[] = [];
	const result = await comparePrediction({
		profile: ENGINE_PROFILES["a100-8b"],
		speed: 1,
		clock: "virtual",
		ini: "[request_scheduler]\nscheduler = wfq\n[capacity]\nmax_concurrent = 4\n",
		network: { requestMs: 1, responseMs: 0.5 },
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
	// Nothing takes time there but timers.
	expect(networkDelayOf(real).requestMs).toBeLessThan(3);
	expect(networkDelayOf(real).responseMs).toBeLessThan(3);
	expect(result.map(({ refused }) => refused)).toEqual(result.map(() => ({ real: 0, simulated: 0 })));
	expect(Math.max(...result.map(({ p99 }) => p99.simulated))).toBeGreaterThan(2000);
	for (const { tier: name, p50, p99 } of result)
		for (const { real: one, simulated: other } of [p50, p99])
			expect(Math.abs(one - other), `${name}: ${one} ms real, ${other} ms simulated`).toBeLessThan(0.1 * one + 30);
}, 180_000);
