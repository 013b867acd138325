/** Reserved rates of queues on the engine model: reachable at once, lent while idle, given back, kept where they are not lent. */
import { describe, expect, test } from "vitest";
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { SCHEDULERS, type SchedulerKind } from "../../src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { Random } from "../../src/simulate/random.ts";
import { type SimulatedRequest, simulate } from "../../src/simulate/simulation.ts";

interface Reserved {
	readonly queue: number;
	readonly reservedTps: number;
	readonly lendable?: boolean;
}

function settings(scheduler: SchedulerKind, reserved: readonly Reserved[], slots: number, tps: number) {
	return coreSettings({
		scheduler,
		maxWaiting: 1e6,
		queues: priorityQueues({ levels: 5, defaultPriority: 4 }).map((queue, index) => {
			const own = reserved.find((one) => one.queue === index);
			return {
				...queue,
				maxDepth: 1e6,
				...(own === undefined ? {} : { reservedTps: own.reservedTps, lendable: own.lendable ?? true }),
			};
		}),
		pools: [
			{
				name: "default",
				endpoints: 1,
				capacity: {
					...DEFAULT_CAPACITY,
					maxConcurrent: slots,
					maxTokensPerSec: tps,
					burstSeconds: 2,
					headroom: 0,
					maxPrefillTokens: Number.POSITIVE_INFINITY,
				},
			},
		],
	});
}

const request = (queue: number) =>
	submitRequest({ queue, flow: flowPath([`f${queue}`]), promptTokens: 50, completionTokens: 50 });
const USED = { promptTokens: 50, completionTokens: 50, cachedTokens: 0 };

function dispatched(core: SchedulingCore): number[] {
	const queues: number[] = [];
	for (let decision = core.next(); decision !== undefined; decision = core.next()) {
		if (decision.kind === "dispatch") queues.push(decision.queue);
	}
	return queues;
}

describe.each(SCHEDULERS)("under %s", (scheduler) => {
	test("a reservation lent to others is back with the first slot that frees", () => {
		const core = new SchedulingCore(settings(scheduler, [{ queue: 3, reservedTps: 1000 }], 8, 1e6));
		const running = Array.from({ length: 20 }, () => core.submit(request(0), 0));
		expect(dispatched(core)).toEqual(Array(8).fill(0));
		core.submit(request(3), 1);
		expect(dispatched(core)).toEqual([]);
		core.finish(running[0]!, USED, 2);
		expect(dispatched(core)).toEqual([3]);
	});

	test("what is not lent stays free, and is used in the very event", () => {
		const core = new SchedulingCore(settings(scheduler, [{ queue: 4, reservedTps: 250, lendable: false }], 8, 1000));
		for (let i = 0; i < 20; i++) core.submit(request(0), 0);
		expect(dispatched(core)).toEqual(Array(6).fill(0));
		core.submit(request(4), 0);
		expect(dispatched(core)).toEqual([4]);
	});

	test("the reserved queue gets its rate under a flood of level 0, and the flood the rest", () => {
		const random = new Random(3);
		const requests: SimulatedRequest[] = [];
		for (let i = 0; i < 6000; i++) {
			for (const queue of [0, 4]) {
				const outputTokens = random.integer(20, 180);
				requests.push({
					arrivalMs: 0,
					queue,
					flow: flowPath([`f${queue}`]),
					promptTokens: 300,
					outputTokens,
					expectedOutputTokens: outputTokens,
				});
			}
		}
		const done = new Map<number, number>();
		simulate({
			core: settings(scheduler, [{ queue: 4, reservedTps: 3000 }], 64, 1e9),
			engines: [[ENGINE_PROFILES["a100-8b"]]],
			requests,
			untilMs: 60_000,
			onEnd: ({ queue, finishedMs, outputTokens }) => {
				if (finishedMs! >= 10_000) done.set(queue, (done.get(queue) ?? 0) + 300 + outputTokens);
			},
		});
		const rate = (queue: number) => (done.get(queue) ?? 0) / 50;
		expect(rate(4)).toBeGreaterThan(0.9 * 3000);
		if (scheduler === "strict" || scheduler === "hybrid") expect(rate(4)).toBeLessThan(1.1 * 3000);
		expect(rate(0)).toBeGreaterThan(rate(4));
	});
});

test("reservations of a pool that shrank are cut in proportion, and a change holds for what waits", () => {
	const core = new SchedulingCore(settings("strict", [{ queue: 4, reservedTps: 500, lendable: false }], 8, 1000));
	for (let i = 0; i < 20; i++) core.submit(request(0), 0);
	expect(dispatched(core)).toHaveLength(4);
	core.configureQueue(0, 4, { reservedTps: 0 }, 0);
	expect(dispatched(core)).toHaveLength(4);
});
