/** Whom a better request takes back, when, and whom it spares. */
import { expect, test } from "vitest";
import { priorityQueues } from "../allocate/priority-allocator.ts";
import { type CapacitySettings, coreSettings, DEFAULT_CAPACITY, type PreemptionSettings } from "./core-settings.ts";
import { flowPath } from "./flow-path.ts";
import { SchedulingCore } from "./scheduling-core.ts";
import { type SubmitRequest, submitRequest } from "./submit-request.ts";

const PLAIN: CapacitySettings = { ...DEFAULT_CAPACITY, headroom: 0, maxPrefillTokens: Number.POSITIVE_INFINITY };
const preemption: PreemptionSettings = {
	victims: [4],
	preemptorMax: 0,
	maxPerRequest: 9,
	flowing: true,
	maxAgeMs: 5000,
};

function coreWith(capacity: Partial<CapacitySettings>): SchedulingCore {
	return new SchedulingCore(
		coreSettings({
			scheduler: "strict",
			queues: priorityQueues({ levels: 5, defaultPriority: 4 }),
			pools: [{ name: "default", endpoints: 1, capacity: { ...PLAIN, ...capacity } }],
			preemption,
		}),
	);
}

function request(tokens: number, change: Partial<SubmitRequest> = {}): SubmitRequest {
	return submitRequest({ flow: flowPath(["one"]), promptTokens: tokens, completionTokens: 0, ...change });
}

function drain(core: SchedulingCore): string[] {
	const kinds: string[] = [];
	for (let decision = core.next(); decision !== undefined; decision = core.next()) {
		kinds.push(`${decision.kind} ${decision.ticket} ${decision.reason}`);
	}
	return kinds;
}

test("one that may preempt runs on what others were promised and have not produced, and takes it back only when that is needed", () => {
	const core = coreWith({ maxInflightTokens: 1000 });
	const batch = core.submit(request(500, { queue: 4, completionTokens: 450 }), 0);
	const better = core.submit(request(300, { completionTokens: 100 }), 1);
	expect(drain(core)).toEqual([`dispatch ${batch} none`, `dispatch ${better} none`]);
	core.produced(batch, 150, 2);
	expect(drain(core)).toEqual([]);
	core.produced(batch, 60, 3);
	expect(drain(core)).toEqual([`preempt ${batch} preemption`]);
	core.aborted(batch, 4);
	core.finish(better, { promptTokens: 300, completionTokens: 100, cachedTokens: 0 }, 5);
	expect(drain(core)).toEqual([`requeue ${batch} preemption`, `dispatch ${batch} none`]);
	expect(core.pools[0]!.endpoints[0]!.heldTokens).toBe(500);
});

test("it finds no such room where nobody sees the progress", () => {
	const core = coreWith({ maxInflightTokens: 1000 });
	const batch = core.submit(request(500, { queue: 4, completionTokens: 450, observed: false }), 0);
	core.submit(request(300, { completionTokens: 100 }), 1);
	expect(drain(core)).toContain(`preempt ${batch} preemption`);
});

test("it waits for what is about to end, but not for one that then goes on", () => {
	const core = coreWith({ maxInflightTokens: 1000 });
	const batch = core.submit(request(800, { queue: 4, completionTokens: 100 }), 0);
	core.produced(batch, 95, 1);
	core.submit(request(300, { completionTokens: 100 }), 2);
	expect(drain(core).filter((line) => line.startsWith("preempt"))).toEqual([]);
	core.produced(batch, 5, 3);
	expect(drain(core)).toEqual([]);
	core.produced(batch, 1, 4);
	expect(drain(core)).toEqual([`preempt ${batch} preemption`]);
});

test("it takes back the one that began last where nobody sees progress", () => {
	const core = coreWith({ maxConcurrent: 2 });
	const [, late] = [0, 1].map((at) => core.submit(request(10, { queue: 4, observed: false }), at));
	core.submit(request(10), 2);
	expect(drain(core)).toContain(`preempt ${late} preemption`);
});
