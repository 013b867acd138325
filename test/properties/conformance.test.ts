/**
 * One exam for all 2 × 5 pairs of allocator and scheduler: random histories of everything the core can be told, in any order, checked after
 * every event against a plain record of what must be true.
 *
 * Must hold: every request ends exactly once; FIFO within a flow; space never exceeded at dispatch; nothing waits while the pool could
 * take the pick (checked where no hold, window or ceiling stands in the way); all counters are zero when all is done; same history, same decisions.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketQueues } from "../../src/core/allocate/bucket-allocator.ts";
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { ALLOCATORS, type AllocatorKind, SCHEDULERS, type SchedulerKind } from "../../src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";

const SLOTS = 6;
const TOKENS = 4000;
const QUEUES = 5;

const operation = fc.oneof(
	{
		weight: 8,
		arbitrary: fc.record({
			kind: fc.constant("submit" as const),
			queue: fc.nat(QUEUES - 1),
			flow: fc.nat(3),
			prompt: fc.integer({ min: 1, max: 1500 }),
			completion: fc.integer({ min: 0, max: 600 }),
			sequences: fc.integer({ min: 1, max: 2 }),
			timeoutMs: fc.constantFrom(Number.POSITIVE_INFINITY, 5, 50, 500),
			upgrade: fc.boolean(),
			observed: fc.boolean(),
			rule: fc.integer({ min: -1, max: 1 }),
			pools: fc.constantFrom([0], [0, 1], [1, 0]),
		}),
	},
	{ weight: 6, arbitrary: fc.record({ kind: fc.constant("finish" as const), pick: fc.nat(), used: fc.nat(1200) }) },
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant("produced" as const),
			pick: fc.nat(),
			tokens: fc.integer({ min: 1, max: 400 }),
		}),
	},
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel" as const), pick: fc.nat() }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("takeBack" as const), pick: fc.nat() }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("advance" as const), by: fc.integer({ min: 0, max: 200 }) }) },
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constantFrom("pause" as const, "resume" as const, "clear" as const),
			queue: fc.nat(QUEUES - 1),
		}),
	},
	{ weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("down" as const, "up" as const), pool: fc.nat(1) }) },
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant("configure" as const),
			queue: fc.nat(QUEUES - 1),
			weight: fc.integer({ min: 1, max: 20 }),
			depth: fc.integer({ min: 1, max: 40 }),
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant("capacity" as const), slots: fc.integer({ min: 1, max: SLOTS }) }),
	},
);

type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

interface Known {
	readonly queue: number;
	readonly flow: number;
	readonly order: number;
	state: "waiting" | "running" | "aborting" | "over";
	requeued: boolean;
	pool: number;
}

function settingsOf(allocator: AllocatorKind, scheduler: SchedulerKind, headroom: number, window: number | "auto") {
	const queues =
		allocator === "priority"
			? priorityQueues({ levels: QUEUES, defaultPriority: QUEUES - 1 })
			: bucketQueues({
					buckets: {
						count: QUEUES,
						baseCapacityRps: 100,
						distribution: "exponential",
						decayRatio: 0.5,
						basis: "bucket0",
					},
					mappings: [],
					scheduler,
					levels: QUEUES,
				});
	const capacity = {
		...DEFAULT_CAPACITY,
		maxConcurrent: SLOTS,
		maxInflightTokens: TOKENS,
		headroom,
		maxPrefillTokens: window,
	};
	return coreSettings({
		allocator,
		scheduler,
		queues: queues.map((queue) => ({ ...queue, maxDepth: 20 })),
		pools: [
			{ name: "a", endpoints: 2, capacity },
			{ name: "b", endpoints: 1, capacity },
		],
		maxWaiting: 50,
		ruleDepths: [5, 10],
		preemption: { victims: [3, 4], preemptorMax: 1, maxPerRequest: 1, flowing: false, maxAgeMs: 100 },
	});
}

function play(settings: ReturnType<typeof settingsOf>, history: readonly Operation[]): string[] {
	const core = new SchedulingCore(settings);
	const known = new Map<number, Known>();
	const log: string[] = [];
	let now = 0;
	let order = 0;

	const end = (ticket: number, how: string) => {
		const request = known.get(ticket);
		expect(request, `ticket ${ticket} ended ${how} but is not alive`).toBeDefined();
		known.delete(ticket);
	};
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const { kind, ticket, pool, endpoint, reason } = decision;
			log.push(`${now} ${kind} ${ticket} ${pool} ${endpoint} ${reason}`);
			const request = known.get(ticket)!;
			if (kind === "dispatch") {
				expect(request.state).toBe("waiting");
				// FIFO in a flow: nobody of the same flow, queue and pool waits who came before, unless one was taken back.
				for (const other of known.values()) {
					const same =
						other.state === "waiting" &&
						other.queue === request.queue &&
						other.flow === request.flow &&
						other.pool === pool;
					if (same && !other.requeued && !request.requeued && other !== request)
						expect(other.order).toBeGreaterThan(request.order);
				}
				request.state = "running";
				request.pool = pool;
				const { sequences, sequencesMax, tokens, heldTokens, tokensMax } = core.pools[pool]!.endpoints[endpoint]!;
				if (sequencesMax === SLOTS) expect(sequences).toBeLessThanOrEqual(sequencesMax);
				// Queues 0 and 1 may preempt: they need room only for what is held.
				const used = request.queue <= 1 ? heldTokens : tokens;
				expect(used).toBeLessThanOrEqual(Math.max(tokensMax, used > tokensMax ? overrun : 0));
			} else if (kind === "shed" || kind === "evict") {
				expect(request.state).toBe("waiting");
				end(ticket, kind);
			} else if (kind === "wait") {
				request.pool = pool;
			} else if (kind === "preempt") {
				expect(request.state).toBe("running");
				request.state = "aborting";
			} else if (kind === "requeue") {
				request.state = "waiting";
				request.requeued = true;
				request.pool = pool;
			}
		}
	};
	// Charges may outgrow estimates after dispatch; how far is what `produced` added.
	let overrun = 0;
	const pickIn = (state: Known["state"], pick: number) => {
		const tickets = [...known].filter(([, request]) => request.state === state).map(([ticket]) => ticket);
		return tickets[pick % Math.max(1, tickets.length)];
	};

	for (const op of history) {
		switch (op.kind) {
			case "submit": {
				const flow = flowPath([`org-${op.flow % 2}`, `account-${op.flow}`]);
				const request = submitRequest({
					flow,
					queue: op.queue,
					promptTokens: op.prompt,
					completionTokens: op.completion,
					sequences: op.sequences,
					timeoutMs: op.timeoutMs,
					mayUpgrade: op.upgrade,
					observed: op.observed,
					rule: op.rule,
					pools: op.pools,
				});
				const ticket = core.submit(request, now);
				expect(known.has(ticket)).toBe(false);
				known.set(ticket, {
					queue: op.queue,
					flow: op.flow,
					order: order++,
					state: "waiting",
					requeued: false,
					pool: op.pools[0]!,
				});
				// The pool it waits in is the core's choice: its first decision says.
				break;
			}
			case "finish": {
				const ticket = pickIn("running", op.pick);
				if (ticket === undefined) break;
				end(ticket, "finished");
				core.finish(ticket, { promptTokens: op.used, completionTokens: op.used, cachedTokens: 0 }, now);
				break;
			}
			case "produced": {
				const ticket = pickIn("running", op.pick);
				if (ticket === undefined) break;
				overrun = Number.POSITIVE_INFINITY;
				core.produced(ticket, op.tokens, now);
				break;
			}
			case "cancel": {
				const ticket = pickIn(op.pick % 2 === 0 ? "waiting" : "running", op.pick);
				if (ticket === undefined) break;
				end(ticket, "cancelled");
				core.cancel(ticket, now);
				break;
			}
			case "takeBack": {
				const ticket = pickIn("running", op.pick);
				if (ticket !== undefined) core.takeBack(ticket, now);
				break;
			}
			case "advance":
				now += op.by;
				core.advance(now);
				break;
			case "pause":
				core.pause(0, op.queue);
				break;
			case "resume":
				core.resume(0, op.queue, now);
				break;
			case "clear":
				core.clear(0, op.queue, now);
				break;
			case "down":
				for (let at = 0; at < core.pools[op.pool]!.endpoints.length; at++) core.endpointDown(op.pool, at, now);
				break;
			case "up":
				for (let at = 0; at < core.pools[op.pool]!.endpoints.length; at++) core.endpointUp(op.pool, at, now);
				break;
			case "configure":
				core.configureQueue(0, op.queue, { weight: op.weight, maxDepth: op.depth }, now);
				break;
			case "capacity":
				core.configureCapacity(0, { maxConcurrent: op.slots }, now);
				break;
		}
		drain();
		for (const [ticket, request] of known)
			if (request.state === "aborting" && op.kind === "advance") core.aborted(ticket, now);
		drain();
		const waiting = [...known.values()].filter((request) => request.state === "waiting").length;
		expect(core.waitingCount).toBe(waiting);
		expect(core.requestCount).toBe(known.size);
	}

	// Everything comes to its end once nothing is in the way.
	for (const pool of [0, 1]) {
		for (let at = 0; at < core.pools[pool]!.endpoints.length; at++) core.endpointUp(pool, at, now);
	}
	for (let queue = 0; queue < QUEUES; queue++) core.resume(0, queue, now);
	core.configureCapacity(0, { maxConcurrent: SLOTS }, now);
	drain();
	for (let round = 0; known.size > 0; round++) {
		expect(round, "it does not drain").toBeLessThan(2000);
		for (const [ticket, request] of [...known]) {
			if (request.state === "aborting") core.aborted(ticket, now);
			else if (request.state === "running") {
				end(ticket, "finished");
				core.finish(ticket, { promptTokens: 10, completionTokens: 10, cachedTokens: 0 }, now);
			}
			drain();
		}
		now += 50;
		core.advance(now);
		drain();
	}
	expect(core.requestCount).toBe(0);
	expect(core.waitingCount).toBe(0);
	for (const pool of core.pools) {
		for (const endpoint of pool.endpoints) {
			expect([
				endpoint.sequences,
				endpoint.tokens,
				endpoint.heldTokens,
				endpoint.prefillTokens,
				endpoint.aheadSequences,
				endpoint.aheadTokens,
				endpoint.freeingSequences,
			]).toEqual([0, 0, 0, 0, 0, 0, 0]);
			expect(endpoint.rows).toEqual([]);
		}
		for (const [index, queue] of pool.queues.entries()) {
			expect([
				queue.inFlight,
				queue.inFlightTokens,
				queue.waitingTokens,
				pool.waiting(index),
				pool.upgradedIn(index),
			]).toEqual([0, 0, 0, 0, 0]);
		}
	}
	return log;
}

/** More with PROPERTY_RUNS=1000; a failure prints its seed and the shortest history. */
const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 60);

describe.each(ALLOCATORS)("%s allocator", (allocator) => {
	test.each(SCHEDULERS)("%s: random histories keep every promise", (scheduler) => {
		fc.assert(
			fc.property(
				fc.array(operation, { maxLength: 150 }),
				fc.constantFrom(0, 0.03, 0.3),
				fc.constantFrom<(number | "auto")[]>(Number.POSITIVE_INFINITY, 512, "auto"),
				(history, headroom, window) => {
					const settings = settingsOf(allocator, scheduler, headroom, window);
					const first = play(settings, history);
					expect(play(settings, history)).toEqual(first);
				},
			),
			{ numRuns },
		);
	});
});

/** Bytes alive after a collection, typed arrays included. */
function bytesAlive(): number {
	setFlagsFromString("--expose-gc");
	const collect = runInNewContext("gc") as () => void;
	collect();
	const { heapUsed, arrayBuffers } = process.memoryUsage();
	return heapUsed + arrayBuffers;
}

test("a million flow keys seen once leave the heap where it was", () => {
	const core = new SchedulingCore(settingsOf("priority", "wfq", 0, Number.POSITIVE_INFINITY));
	const roots = core.flowNodeCount;
	let before = 0;
	for (let i = 0; i < 1_000_000; i++) {
		if (i === 100_000) before = bytesAlive();
		const ticket = core.submit(
			submitRequest({
				flow: flowPath([`organisation-${i}`, `account-${i}`]),
				queue: i % QUEUES,
				promptTokens: 10,
				completionTokens: 10,
			}),
			i,
		);
		while (core.next() !== undefined);
		core.finish(ticket, { promptTokens: 10, completionTokens: 20, cachedTokens: 0 }, i);
		while (core.next() !== undefined);
	}
	expect(core.flowNodeCount).toBeLessThan(roots + 20);
	// Less than a byte a key: whatever grows with the keys is seen.
	expect(bytesAlive() - before).toBeLessThan(900_000);
});
