import fc from "fast-check";
import { expect, test } from "vitest";
import { priorityQueues } from "../allocate/priority-allocator.ts";
import { coreSettings, DEFAULT_CAPACITY } from "./core-settings.ts";
import type { Decision, Ticket } from "./decision.ts";
import { flowPath } from "./flow-path.ts";
import { SchedulingCore } from "./scheduling-core.ts";
import { submitRequest } from "./submit-request.ts";

const USAGE = { promptTokens: 1, completionTokens: 1, cachedTokens: 0 };

const step = fc.oneof(
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant("submit" as const),
			queue: fc.integer({ min: 0, max: 4 }),
			tokens: fc.integer({ min: 1, max: 120 }),
			prompt: fc.integer({ min: 1, max: 50 }),
		}),
	},
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("finish" as const), at: fc.nat(50) }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("toggle" as const), queue: fc.integer({ min: 0, max: 4 }) }) },
);

test("under strict priority the outlook is what happens, and looking changes nothing", () => {
	fc.assert(
		fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, withWindow) => {
			const core = new SchedulingCore(
				coreSettings({
					scheduler: "strict",
					queues: priorityQueues({ levels: 5, defaultPriority: 4 }),
					pools: [
						{
							name: "default",
							endpoints: 2,
							capacity: {
								...DEFAULT_CAPACITY,
								maxConcurrent: 8,
								maxInflightTokens: 100,
								maxPrefillTokens: withWindow ? 60 : Number.POSITIVE_INFINITY,
								headroom: 0.1,
							},
						},
					],
				}),
			);
			const running: Ticket[] = [];
			const drain = (ticket?: Ticket) => {
				let own: Decision | undefined;
				for (let decision = core.next(); decision !== undefined; decision = core.next()) {
					if (decision.ticket === ticket) own ??= { ...decision };
					if (decision.kind === "dispatch") running.push(decision.ticket);
				}
				return own;
			};
			let now = 0;
			for (const one of steps) {
				now += 1;
				if (one.kind === "submit") {
					const { queue, tokens, prompt } = one;
					const request = submitRequest({
						queue,
						flow: flowPath(["a"]),
						promptTokens: prompt,
						completionTokens: tokens,
					});
					const before = [core.requestCount, core.waitingCount, core.flowNodeCount];
					const seen = core.outlook(request, now);
					expect([core.requestCount, core.waitingCount, core.flowNodeCount]).toEqual(before);
					expect(core.next()).toBeUndefined();
					const own = drain(core.submit(request, now));
					expect(seen.kind).toBe(own?.kind);
					if (seen.kind === "shed") expect(seen.reason).toBe(own?.reason);
				} else if (one.kind === "finish") {
					const [ticket] = running.splice(one.at % Math.max(1, running.length), 1);
					if (ticket !== undefined) core.finish(ticket, USAGE, now);
					drain();
				} else {
					const { paused } = core.pools[0]!.queues[one.queue]!;
					if (paused) core.resume(0, one.queue, now);
					else core.pause(0, one.queue);
					drain();
				}
			}
		}),
		{ numRuns: 300 },
	);
});
