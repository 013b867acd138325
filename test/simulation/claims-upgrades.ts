/**
 * S10: `atleast` over buckets. Generated traffic on 2 to 100 buckets with room for everything, so that only the buckets' numbers decide;
 * the judge keeps its own balances and shares nothing with the core.
 *
 * Held: a request is upgraded only when its own bucket cannot pay, to a bucket that is better, near enough, idle (none of its own waits,
 * not even in a pause, its balance is positive) and has upgrade places left; who is passed over could not have run; with soft preemption a bucket's own
 * request that waits has no upgraded ones left on its bucket; a request starts no later than without any upgrades + what a balance can
 * be behind at most, (2 · burst + largest request) ÷ rate; without upgrades the log is that of `strict`.
 */
import { bucketQueues } from "../../src/core/allocate/bucket-allocator.ts";
import type { SchedulerKind } from "../../src/core/model/policy.ts";
import { type CoreSettings, coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import type { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { Random } from "../../src/simulate/random.ts";
import type { MakeCore, Outcome, Scale } from "./claim.ts";
import { NumberHeap } from "./number-heap.ts";

interface Setting {
	readonly buckets: number;
	readonly unit: "tps" | "rps";
	readonly maxDistance: number;
	readonly quotas: readonly number[];
	readonly requests: readonly Sent[];
}

interface Sent {
	readonly at: number;
	readonly bucket: number;
	readonly tokens: number;
	readonly serviceMs: number;
	readonly mayUpgrade: boolean;
	/** Queue that is paused, or let go again, just before. */
	readonly pause?: { readonly bucket: number; readonly on: boolean };
}

const BURST_SECONDS = 2;
const LARGEST = 400;
const FLOW = flowPath(["one"]);
/** Below this a balance counts as spent. */
const SPENT = 1e-6;

function setting(seed: number): Setting {
	const random = new Random(seed);
	const buckets = seed % 5 === 0 ? 100 : random.integer(2, 60);
	const unit = random.chance(0.5) ? "tps" : "rps";
	const requests: Sent[] = [];
	let at = 0;
	// Some buckets are idle, some flooded: traffic goes to a few at a time.
	let busy = [0];
	let paused = 0;
	for (let i = 0; i < 300; i++) {
		at += random.exponential(40);
		if (i % 30 === 0) busy = Array.from({ length: 1 + (i % 4) }, () => random.integer(0, buckets - 1));
		if (i % 60 === 20) paused = busy[0]!;
		requests.push({
			at,
			bucket: busy[random.integer(0, busy.length - 1)]!,
			tokens: random.integer(1, LARGEST),
			serviceMs: random.integer(20, 3000),
			mayUpgrade: random.chance(0.8),
			...(i % 60 === 20 || i % 60 === 40 ? { pause: { bucket: paused, on: i % 60 === 20 } } : {}),
		});
	}
	return {
		buckets,
		unit,
		maxDistance: random.integer(1, 12),
		quotas: random.chance(0.5) ? [2, 5, 10, 20] : [1, 2],
		requests,
	};
}

function settingsOf(
	{ buckets, unit, maxDistance, quotas }: Setting,
	scheduler: SchedulerKind,
	change: { soft: boolean; slots?: number; maxTimeMs?: number; maxDistance?: number; quotas?: readonly number[] },
): CoreSettings {
	// The last bucket has a twentieth of the first.
	const decayRatio = 0.05 ** (1 / (buckets - 1));
	const queues = bucketQueues({
		buckets: {
			count: buckets,
			...(unit === "tps" ? { baseCapacityTps: 4000 } : { baseCapacityRps: 20 }),
			distribution: "exponential",
			decayRatio,
			basis: "bucket0",
		},
		mappings: [],
		scheduler,
		levels: 5,
	});
	return coreSettings({
		allocator: "bucket",
		scheduler,
		queues: queues.map((queue) => ({ ...queue, maxDepth: 1e6 })),
		upgrades: {
			maxDistance: change.maxDistance ?? maxDistance,
			quotas: change.quotas ?? quotas,
			maxTimeMs: change.maxTimeMs ?? 60_000,
			softPreemption: change.soft,
		},
		pools: [
			{
				name: "main",
				endpoints: 1,
				capacity: {
					...DEFAULT_CAPACITY,
					maxConcurrent: change.slots ?? 1e6,
					maxPrefillTokens: Number.POSITIVE_INFINITY,
					headroom: 0,
					burstSeconds: BURST_SECONDS,
				},
			},
		],
	});
}

interface Observer {
	paused?(bucket: number, on: boolean): void;
	arrived?(index: number, now: number): void;
	dispatched?(index: number, payer: number, now: number): void;
	settled?(core: SchedulingCore, now: number): void;
	finished?(index: number): void;
}

/** Plays the traffic; returns when each request started and the log of decisions (to the nanosecond: looking at a balance rounds it). */
function play(
	requests: readonly Sent[],
	settings: CoreSettings,
	makeCore: MakeCore,
	observer: Observer = {},
	upgrades = true,
): { starts: number[]; log: string[] } {
	const core = makeCore(settings);
	const starts: number[] = [];
	const log: string[] = [];
	const indexOf = new Map<number, number>();
	const ticketOf: number[] = [];
	const ends = new NumberHeap();
	let next = 0;
	let now = 0;
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const index = indexOf.get(decision.ticket) ?? next;
			log.push(`${now.toFixed(6)} ${decision.kind} ${index} ${decision.payer} ${decision.reason}`);
			if (decision.kind !== "dispatch") continue;
			starts[index] = now;
			observer.dispatched?.(index, decision.payer, now);
			ends.push(now + requests[index]!.serviceMs, index);
		}
		observer.settled?.(core, now);
	};
	while (next < requests.length || core.requestCount > 0) {
		const arrival = requests[next]?.at ?? Number.POSITIVE_INFINITY;
		const end = ends.size > 0 ? ends.first : Number.POSITIVE_INFINITY;
		now = Math.max(now, Math.min(arrival, end, core.nextWakeAt()));
		if (now === Number.POSITIVE_INFINITY) throw new Error(`${core.requestCount} requests wait for nothing`);
		if (arrival <= now) {
			const { bucket, tokens, mayUpgrade, pause } = requests[next]!;
			if (pause !== undefined) {
				observer.paused?.(pause.bucket, pause.on);
				if (pause.on) core.pause(0, pause.bucket);
				else core.resume(0, pause.bucket, now);
				drain();
			}
			observer.arrived?.(next, now);
			const ticket = core.submit(
				submitRequest({
					flow: FLOW,
					queue: bucket,
					promptTokens: 0,
					completionTokens: tokens,
					mayUpgrade: mayUpgrade && upgrades,
				}),
				now,
			);
			indexOf.set(ticket, next);
			ticketOf[next] = ticket;
			drain();
			next++;
		} else if (end <= now) {
			const index = ends.pop();
			indexOf.delete(ticketOf[index]!);
			observer.finished?.(index);
			core.finish(
				ticketOf[index]!,
				{ promptTokens: 0, completionTokens: requests[index]!.tokens, cachedTokens: 0 },
				now,
			);
			drain();
		} else {
			core.advance(now);
			drain();
		}
	}
	return { starts, log };
}

const rateOf = (settings: CoreSettings, bucket: number) =>
	settings.queues[bucket]!.limitTps ?? settings.queues[bucket]!.limitRps!;
const burstOf = (settings: CoreSettings, bucket: number) => Math.max(1, rateOf(settings, bucket) * BURST_SECONDS);

/** Judges every dispatch against balances of its own; nothing is re-charged in this run, so they are exact. */
function limitsHeld(given: Setting, makeCore: MakeCore): { upgrades: number; violations: string[] } {
	const settings = settingsOf(given, "atleast", { soft: false, maxTimeMs: 1e9 });
	const { requests, unit, maxDistance, quotas } = given;
	const balance = settings.queues.map((_, bucket) => burstOf(settings, bucket));
	const upgraded = settings.queues.map(() => 0);
	const waiting: number[][] = settings.queues.map(() => []);
	const payerOf: number[] = [];
	const violations: string[] = [];
	let upgrades = 0;
	let at = 0;
	const refill = (now: number) => {
		for (let bucket = 0; bucket < balance.length; bucket++) {
			const grown = balance[bucket]! + ((now - at) * rateOf(settings, bucket)) / 1000;
			balance[bucket] = Math.min(burstOf(settings, bucket), grown);
		}
		at = now;
	};
	const isIdle = (lender: number) =>
		waiting[lender]!.length === 0 &&
		balance[lender]! > SPENT &&
		upgraded[lender]! < quotas[Math.min(lender, quotas.length - 1)]!;
	const lenderFor = (bucket: number) => {
		for (let lender = Math.max(0, bucket - maxDistance); lender < bucket; lender++) if (isIdle(lender)) return lender;
		return -1;
	};
	const paused = new Set<number>();
	play(requests, settings, makeCore, {
		paused(bucket, on) {
			if (on) paused.add(bucket);
			else paused.delete(bucket);
		},
		arrived(index, now) {
			refill(now);
			waiting[requests[index]!.bucket]!.push(index);
		},
		dispatched(index, payer, now) {
			refill(now);
			const { bucket, tokens, mayUpgrade } = requests[index]!;
			const of = `request ${index} of bucket ${bucket} on ${payer} at ${now}`;
			for (let better = 0; better < bucket; better++) {
				const head = waiting[better]![0];
				if (head === undefined || paused.has(better)) continue;
				if (balance[better]! > SPENT * 2) violations.push(`${of}: bucket ${better} waits and could pay`);
				else if (requests[head]!.mayUpgrade && lenderFor(better) >= 0) {
					violations.push(`${of}: bucket ${better} waits and could be upgraded`);
				}
			}
			if (payer === bucket) {
				if (balance[bucket]! <= 0) violations.push(`${of}: its balance is ${balance[bucket]}`);
			} else {
				upgrades++;
				if (!mayUpgrade) violations.push(`${of}: it must keep to its own bucket`);
				if (balance[bucket]! > SPENT * 2) violations.push(`${of}: its own bucket could pay`);
				if (payer > bucket || bucket - payer > maxDistance) violations.push(`${of}: too far`);
				if (!isIdle(payer)) violations.push(`${of}: the lender is not idle`);
				upgraded[payer] = upgraded[payer]! + 1;
			}
			const line = waiting[bucket]!;
			line.splice(line.indexOf(index), 1);
			payerOf[index] = payer;
			balance[payer] = Math.max(-burstOf(settings, payer), balance[payer]! - (unit === "tps" ? tokens : 1));
		},
		finished(index) {
			const payer = payerOf[index]!;
			if (payer !== requests[index]!.bucket) upgraded[payer] = upgraded[payer]! - 1;
		},
	});
	return { upgrades, violations };
}

/** With soft preemption nobody waits for want of rate while upgraded requests run on its bucket. */
function givenWay(given: Setting, slots: number, makeCore: MakeCore): { starts: number[]; violations: string[] } {
	const settings = settingsOf(given, "atleast", { soft: true, slots });
	const { requests } = given;
	const waiting = settings.queues.map(() => 0);
	const violations: string[] = [];
	const paused = new Set<number>();
	const { starts } = play(requests, settings, makeCore, {
		paused(bucket, on) {
			if (on) paused.add(bucket);
			else paused.delete(bucket);
		},
		arrived(index) {
			waiting[requests[index]!.bucket]!++;
		},
		dispatched(index) {
			waiting[requests[index]!.bucket]!--;
		},
		settled(core, now) {
			const [pool] = core.pools;
			for (const [bucket, count] of waiting.entries()) {
				if (count === 0 || paused.has(bucket) || pool!.upgradedIn(bucket) === 0) continue;
				if (pool!.blockedBy === "space" || pool!.rateOpen(bucket, now)) continue;
				violations.push(`bucket ${bucket} waits behind upgraded requests at ${now}`);
			}
		},
	});
	return { starts, violations };
}

/** How much later than without upgrades anything starts, as a part of what is allowed. */
function betterNeverHurt(given: Setting, makeCore: MakeCore): { part: number; violations: string[] } {
	const settings = settingsOf(given, "atleast", { soft: true });
	const { requests, unit } = given;
	const { starts, violations } = givenWay(given, 1e6, makeCore);
	const alone = play(requests, settings, makeCore, {}, false).starts;
	let part = 0;
	for (const [index, { bucket }] of requests.entries()) {
		const largest = unit === "tps" ? LARGEST : 1;
		const allowed = ((2 * burstOf(settings, bucket) + largest) / rateOf(settings, bucket)) * 1000;
		part = Math.max(part, (starts[index]! - alone[index]!) / allowed);
	}
	return { part, violations: [...violations, ...givenWay(given, 12, makeCore).violations] };
}

function offIsStrict(given: Setting, makeCore: MakeCore): boolean {
	const strict = play(given.requests, settingsOf(given, "strict", { soft: true }), makeCore).log.join("\n");
	const same = (change: Parameters<typeof settingsOf>[2], upgrades: boolean) =>
		play(given.requests, settingsOf(given, "atleast", change), makeCore, {}, upgrades).log.join("\n") === strict;
	return (
		same({ soft: true }, false) && same({ soft: true, maxDistance: 0 }, true) && same({ soft: true, quotas: [0] }, true)
	);
}

export function upgradesWithinLimits(makeCore: MakeCore, { long }: Scale): Outcome {
	let upgrades = 0;
	let violations = 0;
	let part = 0;
	let different = 0;
	const count = long ? 1000 : 16;
	for (let seed = 1; seed <= count; seed++) {
		const given = setting(seed);
		const held = limitsHeld(given, makeCore);
		const hurt = betterNeverHurt(given, makeCore);
		upgrades += held.upgrades;
		violations += held.violations.length + hurt.violations.length;
		part = Math.max(part, hurt.part);
		if (!offIsStrict(given, makeCore)) different++;
	}
	return {
		figure: `${violations} violations in ${upgrades} upgrades, later by ≤ ${(100 * part).toFixed(0)} % of what is allowed, ${different} of ${count} logs differ from strict`,
		holds: violations === 0 && part <= 1 && different === 0 && upgrades > count,
	};
}
