import { describe, expect, test } from "vitest";
import { priorityQueues } from "../core/allocate/priority-allocator.ts";
import { coreSettings, DEFAULT_CAPACITY, type PreemptionSettings } from "../core/schedule/core-settings.ts";
import { flowPath } from "../core/schedule/flow-path.ts";
import { ENGINE_PROFILES, type EngineProfile } from "./engine-profiles.ts";
import { type NetworkDelay, type SimulatedRequest, simulate } from "./simulation.ts";

/** Every step lasts 10 ms. */
const STEADY: EngineProfile = {
	...ENGINE_PROFILES["a100-8b"],
	stepBaseMs: 10,
	stepMsPerSequence: 0,
	stepMsPerContextToken: 0,
	prefillMsPerToken: 0,
};

const PREEMPTION: PreemptionSettings = {
	victims: [1],
	preemptorMax: 0,
	maxPerRequest: 1,
	flowing: false,
	maxAgeMs: 5000,
};

const request = (arrivalMs: number, outputTokens: number, queue = 0): SimulatedRequest => ({
	arrivalMs,
	queue,
	flow: flowPath(["tenant"]),
	promptTokens: 10,
	outputTokens,
	expectedOutputTokens: outputTokens,
});

function play(
	requests: readonly SimulatedRequest[],
	maxConcurrent: number,
	network?: NetworkDelay,
	preemption?: PreemptionSettings,
) {
	const settings = coreSettings({
		scheduler: "strict",
		queues: priorityQueues({ levels: 2, defaultPriority: 1 }),
		pools: [{ name: "main", endpoints: 1, capacity: { ...DEFAULT_CAPACITY, maxConcurrent, headroom: 0 } }],
		...(preemption && { preemption }),
	});
	return simulate({ core: settings, engines: [[STEADY]], requests, ...(network && { network }) });
}

describe("a network delay", () => {
	/** One runs all the time; another one ends at 30 ms and leaves its place to the third. */
	const three = () => [request(0, 100), request(0, 3), request(5, 2)];

	test("without it, a request joins the step in which another one leaves", () => {
		const requests = three();
		play(requests, 2);
		expect(requests[2]).toMatchObject({ dispatchedMs: 30, firstTokenMs: 40, finishedMs: 50 });
	});

	test("with it, everything is heard late, and the request misses that step", () => {
		const requests = three();
		play(requests, 2, { requestMs: 1, responseMs: 2 });
		// The first two reach the engine at 1 and see their tokens at 11, 21, …
		expect(requests[1]).toMatchObject({ dispatchedMs: 0, firstTokenMs: 13, finishedMs: 33 });
		expect(requests[2]).toMatchObject({ dispatchedMs: 33, firstTokenMs: 53, finishedMs: 63 });
	});

	test("a request that is taken back leaves the engine late, whether it had reached it or not, and runs again", () => {
		for (const arrivalMs of [0.5, 15]) {
			const batch: SimulatedRequest = { ...request(0, 50, 1), buffered: true };
			const better = request(arrivalMs, 2);
			const { preemptions, engines } = play([batch, better], 1, { requestMs: 1, responseMs: 2 }, PREEMPTION);
			expect(preemptions).toBe(1);
			expect(batch).toMatchObject({ preempted: 1 });
			expect(better.finishedMs).toBeLessThan(60);
			expect(batch.finishedMs).toBeGreaterThan(500);
			expect(engines[0]![0]).toMatchObject({ running: 0, waiting: 0, kvUsed: 0 });
		}
	});
});
