/** Events that once left a request waiting, a counter wrong or a promise unkept: each of these tests failed before it was fixed. */
import { expect, test } from "vitest";
import { priorityQueues } from "../allocate/priority-allocator.ts";
import { RateBucket } from "../capacity/rate-bucket.ts";
import type { QueueSettings } from "../model/policy.ts";
import { type CapacitySettings, type CoreSettings, coreSettings, DEFAULT_CAPACITY } from "./core-settings.ts";
import { DeficitRoundRobin } from "./deficit-round-robin.ts";
import { flowPath } from "./flow-path.ts";
import { QueueSet } from "./queue-set.ts";
import type { QueueView } from "./scheduler.ts";
import { SchedulingCore } from "./scheduling-core.ts";
import { type SubmitRequest, submitRequest } from "./submit-request.ts";

const PLAIN: CapacitySettings = { ...DEFAULT_CAPACITY, headroom: 0, maxPrefillTokens: Number.POSITIVE_INFINITY };

function coreWith(
	capacity: Partial<CapacitySettings>,
	change: Partial<CoreSettings> = {},
	endpoints: readonly number[] = [1],
): SchedulingCore {
	return new SchedulingCore(
		coreSettings({
			scheduler: "strict",
			queues: priorityQueues({ levels: 5, defaultPriority: 4 }),
			pools: endpoints.map((count, index) => ({
				name: `pool-${index}`,
				endpoints: count,
				capacity: { ...PLAIN, ...capacity },
			})),
			...change,
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

test("pausing the queue that room is held for lets the next one start", () => {
	const core = coreWith({ maxInflightTokens: 1000 });
	core.submit(request(600), 0);
	core.submit(request(600, { queue: 1 }), 0);
	const small = core.submit(request(100, { queue: 2 }), 0);
	drain(core);
	core.pause(0, 1);
	expect(drain(core)).toEqual([`dispatch ${small} none`]);
});

test("an endpoint that comes back takes what waits in another pool that is down", () => {
	const core = coreWith({}, {}, [1, 1]);
	core.endpointDown(0, 0, 0);
	core.endpointDown(1, 0, 0);
	const ticket = core.submit(request(10, { pools: [0, 1] }), 1);
	drain(core);
	core.endpointUp(1, 0, 2);
	expect(drain(core)).toEqual([`requeue ${ticket} failover`, `dispatch ${ticket} none`]);
});

test("a dispatch taken back from a pool that went down moves on to the next pool", () => {
	const core = coreWith({}, {}, [1, 1]);
	const ticket = core.submit(request(10, { pools: [0, 1] }), 0);
	core.endpointDown(0, 0, 1);
	drain(core);
	core.takeBack(ticket, 2);
	expect(drain(core)).toEqual([`requeue ${ticket} retry`, `requeue ${ticket} failover`, `dispatch ${ticket} none`]);
});

test("what a victim still produces until its abort is confirmed leaves no room behind", () => {
	const preemption = { victims: [4], preemptorMax: 0, maxPerRequest: 1, flowing: true, maxAgeMs: 5000 };
	const core = coreWith({ maxInflightTokens: 1000 }, { preemption });
	const victim = core.submit(request(900, { queue: 4 }), 0);
	core.submit(request(500), 1);
	drain(core);
	core.produced(victim, 50, 2);
	core.aborted(victim, 3);
	expect(core.pools[0]!.endpoints[0]!.freeingTokens).toBe(0);
});

test("a request taken back keeps its own time limit, extended by the time it ran", () => {
	const core = coreWith({ maxConcurrent: 1 });
	const first = core.submit(request(10, { timeoutMs: 100 }), 0);
	core.pause(0, 0);
	core.takeBack(first, 50);
	drain(core);
	core.advance(149);
	expect(core.isWaiting(first)).toBe(true);
	core.advance(150);
	expect(drain(core)).toEqual([`evict ${first} queue_timeout`]);
	const patient = core.submit(request(10, { queue: 1 }), 200);
	core.pause(0, 1);
	core.takeBack(patient, 210);
	core.advance(10_000_000);
	expect(core.isWaiting(patient)).toBe(true);
});

test("a change of capacity does not refill a rate ceiling", () => {
	const core = coreWith({ maxTokensPerSec: 1000, burstSeconds: 1 });
	core.submit(request(1500), 0);
	const next = core.submit(request(10), 0);
	core.configureCapacity(0, { maxConcurrent: 32 }, 1);
	expect(core.isWaiting(next)).toBe(true);
	core.configureQueue(0, 0, { limitTps: 100 }, 2);
	core.advance(600);
	expect(core.isWaiting(next)).toBe(false);
	core.configureQueue(0, 0, { limitTps: 100 }, 601);
	drain(core);
});

test("a first token on one endpoint opens its window for a pick that another endpoint had no space for", () => {
	const core = coreWith({ maxConcurrent: 2, maxPrefillTokens: 100, headroomFor: [] }, {}, [2]);
	const [first, second, third] = [0, 1, 2].map(() => core.submit(request(100), 0));
	core.produced(first!, 1, 1);
	core.produced(third!, 1, 2);
	// The first endpoint has an open window and no slot, the second a slot and a full window.
	const last = core.submit(request(100), 3);
	expect(core.isWaiting(last)).toBe(true);
	core.produced(second!, 1, 4);
	expect(core.isWaiting(last)).toBe(false);
});

test("capacity that shrinks below a waiting request ends it instead of holding room for ever", () => {
	const core = coreWith({ maxInflightTokens: 1000 });
	core.submit(request(600), 0);
	const large = core.submit(request(900), 0);
	const small = core.submit(request(100, { queue: 1 }), 0);
	drain(core);
	core.configureCapacity(0, { maxInflightTokens: 800 }, 1);
	expect(drain(core)).toEqual([`evict ${large} exceeds_capacity`, `dispatch ${small} none`]);
});

test("capacity that shrinks moves a waiting request to a pool that can run it", () => {
	const core = coreWith({ maxInflightTokens: 1000 }, {}, [1, 1]);
	core.submit(request(600), 0);
	const large = core.submit(request(900, { pools: [0, 1] }), 0);
	drain(core);
	core.configureCapacity(0, { maxInflightTokens: 800 }, 1);
	expect(drain(core)).toEqual([`requeue ${large} failover`, `dispatch ${large} none`]);
});

/** Two buckets; the second has used up its own rate and borrows from the first. */
function lending(change: Partial<CoreSettings> = {}): SchedulingCore {
	const queue = (index: number): QueueSettings => ({
		label: `B${index}`,
		name: `bucket-${index}`,
		maxDepth: 1000,
		timeoutMs: 1000,
		weight: 1,
		limitRps: index === 0 ? 1000 : 1,
	});
	const capacity = { maxConcurrent: 1000, maxPrefillTokens: 1000, headroomFor: [] };
	return coreWith(capacity, { allocator: "bucket", scheduler: "atleast", queues: [queue(0), queue(1)], ...change });
}

test("an upgrade ends after max_upgrade_time, whether or not a first token came before", () => {
	const core = lending();
	const tickets = [0, 1, 2, 3].map(() => core.submit(request(100, { queue: 1, mayUpgrade: true }), 0));
	drain(core);
	expect(core.pools[0]!.upgradedIn(0)).toBe(2);
	for (const ticket of tickets) core.produced(ticket, 1, 10);
	core.advance(59_999);
	expect(core.pools[0]!.upgradedIn(0)).toBe(2);
	core.advance(60_001);
	expect(core.pools[0]!.upgradedIn(0)).toBe(0);
});

test("a lender that is never crowded keeps no history of upgrades", () => {
	const core = lending();
	for (let i = 0; i < 500; i++) {
		const ticket = core.submit(request(100, { queue: 1, mayUpgrade: true }), i);
		drain(core);
		core.finish(ticket, { promptTokens: 100, completionTokens: 0, cachedTokens: 0 }, i);
	}
	let kept = 0;
	core.pools[0]!.upgrades.takeOldest(0, () => ++kept < 0);
	expect(kept).toBeLessThan(20);
});

test("deficit round robin serves although rounding leaves a deficit just short of its head", () => {
	const active = new QueueSet();
	active.add(0);
	for (let weight = 0.01; weight < 3; weight += 0.013) {
		for (const debt of [0.1, 1 / 3, 1234.567, 98_765.4321]) {
			const view = {
				count: 1,
				active,
				weights: Float64Array.of(weight),
				anyGated: false,
				ready: () => true,
				waiting: () => 1,
			};
			// A head that is a whole number of quanta away, so that the last bit decides.
			let head = 0;
			const scheduler = new DeficitRoundRobin({ ...view, headCost: () => head } as unknown as QueueView, 0.1);
			scheduler.charge(0, debt);
			for (let round = 0; round < 7; round++) head += 0.1 * weight;
			expect(scheduler.pick()).toBe(0);
		}
	}
});

test("a rate that is nearly ready wakes later than now, however late it is", () => {
	const now = 1e9;
	const bucket = new RateBucket(1e6, 1000, now);
	bucket.debit(1000, now);
	expect(bucket.isReady(now)).toBe(false);
	expect(bucket.readyAt(now)).toBeGreaterThan(now);
	expect(bucket.isReady(bucket.readyAt(now))).toBe(true);
});

test.each(["strict", "wfq"] as const)("%s: refunds of what runs side by side are not lost", (scheduler) => {
	// Two equal parties, one of them expected to use four times what it uses; in one queue, or in a queue each.
	const apart = scheduler === "wfq";
	const core = coreWith(
		{ maxConcurrent: 8 },
		{ scheduler, queues: priorityQueues({ levels: 2, defaultPriority: 0, weights: [1, 1] }) },
	);
	const used = [0, 0];
	const owners = new Map<number, number>();
	const running: number[] = [];
	const submit = (party: number) => {
		const change = { flow: flowPath([`party-${party}`]), queue: apart ? party : 0, completionTokens: 200 };
		owners.set(core.submit(request(0, change), 0), party);
	};
	for (let i = 0; i < 20; i++) for (const party of [0, 1]) submit(party);
	for (let i = 0; i < 4000; i++) {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") running.push(decision.ticket);
		}
		const ticket = running.shift()!;
		const party = owners.get(ticket)!;
		const completionTokens = party === 0 ? 50 : 200;
		used[party]! += completionTokens;
		submit(party);
		core.finish(ticket, { promptTokens: 0, completionTokens, cachedTokens: 0 }, 0);
	}
	expect(Math.abs(used[0]! / used[1]! - 1)).toBeLessThan(0.02);
});

test("a rule's bound counts what waits under it already when rules are read again, wherever it stands then", () => {
	const core = coreWith({ maxConcurrent: 1 }, { ruleDepths: [2] });
	core.submit(request(10), 0);
	for (let i = 0; i < 2; i++) core.submit(request(10, { rule: 0 }), 0);
	drain(core);
	core.configureRules([Number.POSITIVE_INFINITY, 2], [1]);
	const beyond = core.submit(request(10, { rule: 1 }), 0);
	expect(drain(core)).toEqual([`shed ${beyond} queue_full`]);
	// One that is gone bounds nothing, and nothing is taken off another's count for what waited under it.
	core.configureRules([2], [-1, -1]);
	core.clear(0, 0, 0);
	drain(core);
	for (let i = 0; i < 2; i++) core.submit(request(10, { rule: 0 }), 0);
	const third = core.submit(request(10, { rule: 0 }), 0);
	expect(drain(core).at(-1)).toBe(`shed ${third} queue_full`);
});

test("what an upgrade leaves to its own queue counts in all that this one is held to", () => {
	const core = lending({ buffer: { tokensPerSec: 1000, burstSeconds: 1, keptFor: [0] } });
	for (let i = 0; i < 4; i++)
		core.submit(request(100, { queue: 1, mayUpgrade: true, completionTokens: 50, observed: false }), 0);
	drain(core);
	expect(core.pools[0]!.upgradedIn(0)).toBe(2);
	core.advance(59_000);
	const buffer = core.pools[0]!.queues[1]!.bufferRate!;
	expect(buffer.balance(59_000)).toBe(1000);
	core.advance(60_001);
	expect(core.pools[0]!.upgradedIn(0)).toBe(0);
	expect(buffer.balance(60_001)).toBe(900);
});
