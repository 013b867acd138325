/** S12: a large request is not starved by smaller ones that would fit, and lets go of the room when it leaves. */
import { expect, test } from "vitest";
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";

function setUp() {
	const core = new SchedulingCore(
		coreSettings({
			scheduler: "strict",
			queues: priorityQueues({ levels: 5, defaultPriority: 4 }),
			pools: [
				{
					name: "default",
					endpoints: 1,
					capacity: {
						...DEFAULT_CAPACITY,
						maxConcurrent: 1000,
						maxInflightTokens: 32_000,
						headroom: 0,
						maxPrefillTokens: Number.POSITIVE_INFINITY,
					},
				},
			],
		}),
	);
	const dispatched: number[] = [];
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") dispatched.push(decision.ticket);
		}
	};
	const submit = (queue: number, tokens: number, now: number) => {
		const ticket = core.submit(
			submitRequest({ flow: flowPath([`q${queue}`]), queue, promptTokens: tokens, completionTokens: 0 }),
			now,
		);
		drain();
		return ticket;
	};
	const finish = (ticket: number, now: number) => {
		core.finish(ticket, { promptTokens: 500, completionTokens: 0, cachedTokens: 0 }, now);
		drain();
	};
	return { core, dispatched, drain, submit, finish };
}

test("a 30k request against a 32k budget starts when what ran at its arrival is done, whatever smaller work comes", () => {
	const { dispatched, submit, finish } = setUp();
	const running: number[] = [];
	for (let i = 0; i < 64; i++) running.push(submit(4, 500, 0));
	expect(dispatched).toHaveLength(64);
	const large = submit(2, 30_000, 1);
	let now = 1;
	for (const [done, ticket] of running.entries()) {
		now++;
		submit(4, 500, now);
		finish(ticket, now);
		// 60 of the 64 must be gone before 30,000 fit beside the rest.
		expect(dispatched.includes(large)).toBe(done + 1 >= 60);
		if (dispatched.includes(large)) break;
	}
	expect(dispatched[64]).toBe(large);
});

test("cancelled while it holds the room, the next starts in that event", () => {
	const { core, dispatched, drain, submit, finish } = setUp();
	const first = submit(4, 20_000, 0);
	const large = submit(2, 30_000, 1);
	const small = submit(4, 500, 2);
	expect(dispatched).toEqual([first]);
	core.cancel(large, 3);
	drain();
	expect(dispatched).toEqual([first, small]);
	finish(first, 4);
	finish(small, 5);
	expect(core.requestCount).toBe(0);
});
