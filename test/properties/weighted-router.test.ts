/**
 * The exam of a core with two halves (weighted router), under every scheduler: random histories with shares that change while requests wait and
 * run, checked after every event.
 *
 * Must hold: every request ends exactly once; both halves together never dispatch beyond the whole of an endpoint, whatever the shares were
 * before; a half whose shares stand dispatches within its own; whoever waits does so in the half of its account; FIFO within an account;
 * deadlines are kept across halves; nothing is left at the end; what was recorded replays to the same.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { accountPoint, sharesOf } from "../../src/core/allocate/weighted-router.ts";
import { SCHEDULERS, type SchedulerKind } from "../../src/core/model/policy.ts";
import { type CoreSettings, coreSettings } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { halfAt, splitCapacity } from "../../src/core/schedule/halves.ts";
import { RecordingCore, replay } from "../../src/core/schedule/recording.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { PLAIN_CAPACITY, queuesOf } from "./core-fixtures.ts";

const SLOTS = 10;
const TOKENS = 4000;
const LEVELS = 5;
const BUCKETS = 8;
const POOLS = 2;
const WEIGHTS = [
	[100, 0],
	[90, 10],
	[50, 50],
	[10, 90],
	[0, 100],
] as const;

function halvesOf(scheduler: SchedulerKind, first: number, second: number): NonNullable<CoreSettings["halves"]> {
	const [levels, buckets] = sharesOf(first, second);
	return [
		{ allocator: "priority", queues: queuesOf({ allocator: "priority", scheduler }, LEVELS), share: levels },
		{ allocator: "bucket", queues: queuesOf({ allocator: "bucket", scheduler }, BUCKETS, 1e6), share: buckets },
	];
}

function settingsOf(scheduler: SchedulerKind): CoreSettings {
	const capacity = { ...PLAIN_CAPACITY, maxConcurrent: SLOTS, maxInflightTokens: TOKENS };
	const halves = halvesOf(scheduler, 90, 10);
	return coreSettings({
		scheduler,
		queues: halves[0]!.queues,
		halves,
		pools: [
			{ name: "a", endpoints: 2, capacity },
			{ name: "b", endpoints: 1, capacity },
		],
	});
}

const operation = fc.oneof(
	{
		weight: 8,
		arbitrary: fc.record({
			kind: fc.constant("submit" as const),
			account: fc.nat(11),
			level: fc.nat(LEVELS - 1),
			bucket: fc.nat(BUCKETS - 1),
			tokens: fc.constantFrom(1, 50, 300, 1500, 2500),
			sequences: fc.constantFrom(1, 1, 1, 3, 7),
			timeoutMs: fc.constantFrom(Number.POSITIVE_INFINITY, 50, 500),
			pools: fc.constantFrom([0], [0, 1], [1, 0]),
		}),
	},
	{ weight: 6, arbitrary: fc.record({ kind: fc.constant("finish" as const), pick: fc.nat() }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const), pick: fc.nat() }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constant("takeBack" as const), pick: fc.nat() }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("advance" as const), by: fc.nat(100) }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("shares" as const), weights: fc.constantFrom(...WEIGHTS) }) },
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant("slots" as const), slots: fc.integer({ min: 1, max: SLOTS }) }),
	},
	{ weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("down" as const, "up" as const), pool: fc.nat(1) }) },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

interface Known {
	readonly account: string;
	readonly order: number;
	readonly timeoutAt: number;
	readonly sequences: number;
	/** Of the first half. */
	readonly pools: readonly number[];
	state: "waiting" | "running";
	/** Its place in its account's line means nothing any more. */
	moved: boolean;
	pool: number;
}

function play(scheduler: SchedulerKind, history: readonly Operation[]): void {
	const settings = settingsOf(scheduler);
	const core = new RecordingCore(settings);
	const known = new Map<number, Known>();
	const decided: string[] = [];
	let shares = settings.halves!;
	let now = 0;
	let order = 0;
	let submitted = 0;
	let ended = 0;
	const end = (ticket: number) => {
		expect(known.delete(ticket), `ticket ${ticket} ends twice`).toBe(true);
		ended++;
	};
	const drain = (sharesStand: boolean) => {
		const touched = new Set<string>();
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			decided.push(JSON.stringify(decision));
			const { kind, ticket, pool, endpoint, reason } = decision;
			const request = known.get(ticket)!;
			if (kind === "dispatch") {
				expect(request.state).toBe("waiting");
				for (const other of known.values()) {
					const same = other.state === "waiting" && other.account === request.account && other.pool === pool;
					if (same && !other.moved && !request.moved && other !== request)
						expect(other.order, "an account's own order").toBeGreaterThan(request.order);
				}
				request.state = "running";
				request.pool = pool;
				touched.add(`${pool}/${endpoint}`);
			} else if (kind === "shed" || kind === "evict") {
				expect(request.state).toBe("waiting");
				if (reason === "queue_timeout") expect(now).toBeGreaterThanOrEqual(request.timeoutAt);
				end(ticket);
			} else if (kind === "wait") request.pool = pool;
			else if (kind === "requeue") {
				request.state = "waiting";
				request.pool = pool;
				request.moved ||= reason !== "rerouted";
			}
		}
		for (const place of touched) {
			const [pool, at] = place.split("/").map(Number) as [number, number];
			const [own, beside] = [
				core.pools[pool]!.endpoints[at]!,
				core.pools[(pool + POOLS) % (2 * POOLS)]!.endpoints[at]!,
			];
			const whole = core.configuredCapacity(pool % POOLS);
			expect(own.sequences + beside.sequences, "slots of an endpoint").toBeLessThanOrEqual(whole.maxConcurrent);
			expect(own.tokens + beside.tokens, "tokens of an endpoint").toBeLessThanOrEqual(whole.maxInflightTokens);
			// One that is larger than its half runs there alone.
			if (!sharesStand || own.rows.length === 1) continue;
			expect(own.sequences, "slots of a half").toBeLessThanOrEqual(own.sequencesMax);
			expect(own.tokens, "tokens of a half").toBeLessThanOrEqual(own.tokensMax);
		}
	};
	const pickIn = (state: Known["state"], pick: number) => {
		const tickets = [...known].filter(([, request]) => request.state === state).map(([ticket]) => ticket);
		return tickets[pick % Math.max(1, tickets.length)];
	};

	for (const op of history) {
		switch (op.kind) {
			case "submit": {
				const account = `account-${op.account}`;
				const point = accountPoint(account);
				const half = halfAt(point, shares);
				const places = [
					{ pools: op.pools, queue: op.level, mayUpgrade: false },
					{ pools: op.pools.map((pool) => POOLS + pool), queue: op.bucket, mayUpgrade: op.bucket % 2 === 0 },
				] as const;
				const request = submitRequest({
					flow: flowPath([account]),
					promptTokens: op.tokens,
					completionTokens: 0,
					sequences: op.sequences,
					timeoutMs: op.timeoutMs,
					...places[half],
					other: { point, ...places[1 - half]! },
				});
				const ticket = core.submit(request, now);
				submitted++;
				const timeoutAt = now + op.timeoutMs;
				// Different sizes and queues of one account may wait in different lines.
				const line = `${account}/${op.level}/${op.bucket}/${op.pools}`;
				const lone = { account: line, order: order++, timeoutAt, pools: op.pools, sequences: op.sequences };
				known.set(ticket, { ...lone, state: "waiting", moved: op.tokens > 300 || op.sequences > 1, pool: -1 });
				break;
			}
			case "finish": {
				const ticket = pickIn("running", op.pick);
				if (ticket === undefined) break;
				end(ticket);
				core.finish(ticket, { promptTokens: 1, completionTokens: 0, cachedTokens: 0 }, now);
				break;
			}
			case "cancel": {
				const ticket = pickIn(op.pick % 2 === 0 ? "waiting" : "running", op.pick);
				if (ticket === undefined) break;
				end(ticket);
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
			case "shares":
				shares = halvesOf(scheduler, op.weights[0], op.weights[1]);
				core.configureHalves(shares, now);
				break;
			case "slots":
				core.configureCapacity(0, { maxConcurrent: op.slots }, now);
				break;
			case "down":
			case "up":
				for (let at = 0; at < core.pools[op.pool]!.endpoints.length; at++)
					if (op.kind === "up") core.endpointUp(op.pool, at, now);
					else core.endpointDown(op.pool, at, now);
				break;
		}
		drain(op.kind === "submit" || op.kind === "finish");
		if (op.kind === "shares") {
			for (const { ticket, state, pool, promptTokens } of core.snapshot().requests) {
				if (state !== "waiting") continue;
				const { account, pools, sequences } = known.get(ticket)!;
				const wanted = halfAt(accountPoint(account.split("/")[0]!), shares);
				if (Math.floor(pool / POOLS) === wanted) continue;
				// What its own half could never run is the only reason to be elsewhere.
				const own = pools.filter((at) => core.pools[wanted * POOLS + at]!.couldRun(sequences, promptTokens));
				expect(own, `${account} waits in pool ${pool}`).toEqual([]);
			}
		}
		expect(core.requestCount).toBe(known.size);
	}

	const again = replay(settings, JSON.parse(JSON.stringify(core.events)));
	expect(again.decisions.map((decision) => JSON.stringify(decision))).toEqual(decided);
	expect(JSON.stringify(again.core.snapshot())).toBe(JSON.stringify(core.snapshot()));

	core.configureCapacity(0, { maxConcurrent: SLOTS }, now);
	for (const pool of [0, 1]) for (let at = 0; at < 2 - pool; at++) core.endpointUp(pool, at, now);
	drain(false);
	for (let round = 0; known.size > 0; round++) {
		expect(round, "it does not drain").toBeLessThan(1000);
		for (const [ticket, { state }] of [...known]) {
			if (state !== "running") continue;
			end(ticket);
			core.finish(ticket, { promptTokens: 1, completionTokens: 0, cachedTokens: 0 }, now);
			drain(false);
		}
		now += 50;
		core.advance(now);
		drain(false);
	}
	expect([ended, core.requestCount, core.waitingCount]).toEqual([submitted, 0, 0]);
	for (const pool of core.pools)
		for (const { sequences, tokens, prefillTokens, rows } of pool.endpoints)
			expect([sequences, tokens, prefillTokens, rows]).toEqual([0, 0, 0, []]);
}

const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 60);

describe("two halves keep every promise", () => {
	test.each(SCHEDULERS)("%s", (scheduler) => {
		fc.assert(
			fc.property(fc.array(operation, { maxLength: 120 }), (history) => play(scheduler, history)),
			{ numRuns },
		);
	});
});

test("the parts of a capacity add up, and a half with a share has at least one", () => {
	fc.assert(
		fc.property(fc.integer({ min: 2, max: 1000 }), fc.nat(100), (slots, weight) => {
			const [first, second] = sharesOf(weight, 100 - weight);
			const capacity = { ...PLAIN_CAPACITY, maxConcurrent: slots, maxInflightTokens: 7 * slots, maxTokensPerSec: 100 };
			const [a, b] = splitCapacity(capacity, [{ share: first }, { share: second }]);
			expect([a.maxConcurrent + b.maxConcurrent, a.maxInflightTokens + b.maxInflightTokens]).toEqual([
				slots,
				7 * slots,
			]);
			expect([a.maxConcurrent > 0, b.maxConcurrent > 0]).toEqual([weight > 0, weight < 100]);
			if (weight > 0 && weight < 100) expect(a.maxTokensPerSec + b.maxTokensPerSec).toBeCloseTo(100);
		}),
	);
});

test("accounts and work divide as the weights say, within 1 %, and accounts only move one way", () => {
	const accounts = Array.from({ length: 50_000 }, (_, at) => `acct_${at.toString(36)}`);
	let inBuckets = new Set<string>();
	for (const [priority, bucket] of WEIGHTS) {
		const halves = sharesOf(priority, bucket).map((share) => ({ share }));
		const now = new Set(accounts.filter((account) => halfAt(accountPoint(account), halves) === 1));
		expect(Math.abs(now.size / accounts.length - bucket / 100)).toBeLessThan(0.01);
		for (const account of inBuckets) expect(now.has(account)).toBe(true);
		inBuckets = now;
	}
});

test.each(SCHEDULERS)("%s: under load each half serves its share of the tokens, within a hundredth", (scheduler) => {
	const settings = settingsOf(scheduler);
	const core = new SchedulingCore(settings);
	const served = [0, 0];
	const running: { ticket: number; pool: number; until: number }[] = [];
	core.configureHalves(halvesOf(scheduler, 70, 30), 0);
	let waiting = 0;
	let account = 0;
	for (let now = 0; now < 20_000; now++) {
		while (waiting < 200) {
			const half = halfAt(accountPoint(`account-${account}`), [{ share: 0.7 }, { share: 0.3 }]);
			core.submit(
				submitRequest({
					flow: flowPath([`account-${account++}`]),
					promptTokens: 10,
					completionTokens: 0,
					pools: [half * POOLS],
					queue: account % LEVELS,
				}),
				now,
			);
			waiting++;
		}
		core.advance(now);
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") {
				waiting--;
				running.push({ ticket: decision.ticket, pool: decision.pool, until: now + 1 + (decision.ticket % 7) });
			} else if (decision.kind !== "wait") waiting--;
		}
		for (let at = running.length - 1; at >= 0; at--) {
			const run = running[at]!;
			if (run.until > now) continue;
			running.splice(at, 1);
			served[Math.floor(run.pool / POOLS)]! += 10;
			core.finish(run.ticket, { promptTokens: 10, completionTokens: 0, cachedTokens: 0 }, now);
		}
	}
	const [levels, buckets] = served as [number, number];
	expect(Math.abs(levels / (levels + buckets) - 0.7)).toBeLessThan(0.01);
});

test("what is larger than either half runs alone in its own, with the room of both, however busy the other half is", () => {
	const core = new SchedulingCore({
		...settingsOf("strict"),
		pools: [{ name: "a", endpoints: 1, capacity: { ...PLAIN_CAPACITY, maxConcurrent: 10, maxInflightTokens: TOKENS } }],
	});
	core.configureHalves(halvesOf("strict", 50, 50), 0);
	const submit = (half: number, tokens: number) =>
		core.submit(
			submitRequest({ flow: flowPath([`half-${half}`]), pools: [half], promptTokens: tokens, completionTokens: 0 }),
			0,
		);
	const started = new Set<number>();
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next())
			if (decision.kind === "dispatch") started.add(decision.ticket);
			else expect(decision.kind).toBe("wait");
	};
	const small = Array.from({ length: 40 }, () => submit(0, 400));
	const large = submit(1, 2400);
	drain();
	let finished = 0;
	while (!started.has(large)) {
		expect(finished, "it starves").toBeLessThan(5);
		core.finish(small[finished++]!, { promptTokens: 400, completionTokens: 0, cachedTokens: 0 }, 0);
		drain();
	}
	core.finish(large, { promptTokens: 2400, completionTokens: 0, cachedTokens: 0 }, 0);
	drain();
	// The other half goes on as soon as it is through.
	expect([...started].filter((ticket) => small.includes(ticket)).length).toBe(finished + 5);
	expect(
		core.outlook(submitRequest({ flow: flowPath(["x"]), promptTokens: 4001, completionTokens: 0 }), 0).reason,
	).toBe("exceeds_capacity");
});
