/** Rates on virtual time: greedy senders in front of the gate, what each gets per second is the measure. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Quota } from "../core/quota/quota.ts";
import { RateGate } from "./rate-gate.ts";

/** A clock with timers that fire in order. */
function virtualTime() {
	let now = 0;
	let ids = 0;
	const timers = new Map<number, { at: number; call: () => void }>();
	return {
		now: () => now,
		timers: {
			after(delayMs: number, call: () => void) {
				const id = ids++;
				timers.set(id, { at: now + delayMs, call });
				return () => void timers.delete(id);
			},
		},
		runUntil(end: number) {
			for (;;) {
				const due = [...timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
				if (due === undefined) break;
				timers.delete(due[0]);
				now = Math.max(now, due[1].at);
				due[1].call();
			}
			now = end;
		},
	};
}

function rate(
	id: string,
	node: string,
	type: "reserved" | "burstable",
	limitValue: number,
	more: Partial<Quota> = {},
): Quota {
	return {
		id,
		node,
		accountId: "a",
		quotaType: type,
		limitDimension: "tps",
		limitValue,
		allowBorrow: true,
		lend: true,
		...more,
	};
}

function world(quotas: readonly Quota[], maxWaiting = 1000) {
	const time = virtualTime();
	const gate = new RateGate({ burstSeconds: 1, mostBorrowPct: 0.5, maxWaiting }, time);
	gate.configure(quotas);
	return { time, gate };
}

const of = (accountId: string, more: Partial<RoutingMetadata> = {}): RoutingMetadata => ({
	tier: "external",
	accountId,
	organisation: "org",
	routedBy: "token",
	...more,
});

/** Senders that always have work; each request takes `tokens`, and ends as soon as it starts. Answers tokens per second over the last half. */
function greedy(
	{ time, gate }: ReturnType<typeof world>,
	senders: readonly RoutingMetadata[],
	{ seconds = 60, tokens = 10, idleUntil = [] as readonly number[] } = {},
): number[] {
	const used = senders.map(() => 0);
	let ids = 0;
	const send = (sender: number) => {
		const id = `${sender}-${ids++}`;
		const go = () => {
			if (time.now() >= (seconds * 1000) / 2) used[sender]! += tokens;
			gate.finish(id, tokens);
			time.timers.after(0, () => send(sender));
		};
		const entry = gate.enter(senders[sender]!, {
			id,
			tokens,
			timeoutMs: Number.POSITIVE_INFINITY,
			go,
			expire: () => {},
		});
		if (entry === "goes") go();
		// nothing keeps it back: this is a sender without end
		if (entry === "goes" && ids > 200_000) throw new Error("nothing limits it");
	};
	for (const [sender] of senders.entries()) time.timers.after(idleUntil[sender] ?? 0, () => send(sender));
	time.runUntil(seconds * 1000);
	return used.map((total) => Math.round(total / (seconds / 2)));
}

describe("what greedy senders get", () => {
	it("a burstable node alone gets its rate and what it may borrow", () => {
		expect(greedy(world([rate("q", "account:a", "burstable", 100)]), [of("a")])).toEqual([150]);
		const quarter = [rate("q", "account:a", "burstable", 100, { maxBorrowPct: 0.25 })];
		expect(greedy(world(quarter), [of("a")])).toEqual([125]);
		const none = [rate("q", "account:a", "burstable", 100, { allowBorrow: false })];
		expect(greedy(world(none), [of("a")])).toEqual([100]);
	});

	it("siblings borrow what their parent leaves unused, and no more", () => {
		const quotas = [
			rate("org", "organisation:org", "burstable", 240, { allowBorrow: false }),
			rate("a", "account:a", "burstable", 100),
			rate("b", "account:b", "burstable", 100),
		];
		const [a, b] = greedy(world(quotas), [of("a"), of("b")]) as [number, number];
		expect(a + b).toBeGreaterThan(235);
		expect(a + b).toBeLessThanOrEqual(241);
		expect(Math.min(a, b)).toBeGreaterThanOrEqual(99);
		// alone, one of them reaches its own ceiling
		expect(greedy(world(quotas), [of("a")])).toEqual([150]);
	});

	it("an assured rate is there at once when its owner comes back", () => {
		const quotas = [
			rate("org", "organisation:org", "burstable", 150, { allowBorrow: false }),
			rate("a", "account:a", "burstable", 100),
			rate("b", "account:b", "burstable", 50),
		];
		const [a, b] = greedy(world(quotas), [of("a"), of("b")], { idleUntil: [20_000, 0] }) as [number, number];
		expect(a).toBeGreaterThanOrEqual(97);
		expect(b).toBeGreaterThanOrEqual(48);
		expect(a + b).toBeLessThanOrEqual(151);
	});

	it("lend = false keeps an unused rate from the others", () => {
		const quotas = (lend: boolean) => [
			rate("org", "organisation:org", "burstable", 200, { allowBorrow: false }),
			rate("a", "account:a", "burstable", 150, { lend }),
			rate("b", "account:b", "burstable", 60),
		];
		expect(greedy(world(quotas(true)), [of("b")])).toEqual([90]);
		const [kept] = greedy(world(quotas(false)), [of("a"), of("b")].slice(1)) as [number];
		expect(kept).toBeGreaterThanOrEqual(60);
		const both = world(quotas(false));
		// a is known to the gate once it was seen
		both.gate.waitMs(of("a"));
		const [b] = greedy(both, [of("b")]) as [number];
		expect(b).toBeGreaterThanOrEqual(59);
		expect(b).toBeLessThanOrEqual(90);
	});

	it("quota_tps_limit of a token is a ceiling; other tokens are free", () => {
		const limited = of("a", { tokenId: "t", token: { quotaTpsLimit: 50 } });
		expect(greedy(world([]), [limited])).toEqual([50]);
		const { gate } = world([]);
		expect([gate.concerns(limited), gate.concerns(of("a"))]).toEqual([true, false]);
	});

	it("environments have rates of their own", () => {
		const quotas = [rate("q", "account:a", "burstable", 40, { environment: "staging", allowBorrow: false })];
		expect(greedy(world(quotas), [of("a", { environment: "staging" })])).toEqual([40]);
		expect(world(quotas).gate.concerns(of("a", { environment: "production" }))).toBe(false);
	});

	it("a reserved node is not held back by a rate of its own, and counts against its parent", () => {
		const quotas = [
			rate("org", "organisation:org", "burstable", 100, { allowBorrow: false }),
			rate("a", "account:a", "reserved", 80),
			rate("b", "account:b", "burstable", 20),
		];
		const [a, b] = greedy(world(quotas), [of("a"), of("b")]) as [number, number];
		expect(a).toBeGreaterThanOrEqual(75);
		expect(b).toBeGreaterThanOrEqual(19);
		expect(a + b).toBeLessThanOrEqual(101);
	});
});

describe("the gate", () => {
	const one = [rate("q", "account:a", "burstable", 10, { allowBorrow: false })];
	const enter = (gate: RateGate, id: string, log: string[], timeoutMs = Number.POSITIVE_INFINITY, tokens = 10) =>
		gate.enter(of("a"), {
			id,
			tokens,
			timeoutMs,
			go: (waited) => log.push(`${id} goes after ${Math.round(waited)}`),
			expire: (waited) => log.push(`${id} expires after ${Math.round(waited)}`),
		});

	it("holds in order of arrival, frees places, expires on time", () => {
		const { gate, time } = world(one, 3);
		const log: string[] = [];
		expect(enter(gate, "a", log, 1, 20)).toBe("goes");
		expect(["b", "c", "d"].map((id) => enter(gate, id, log, id === "c" ? 500 : 60_000))).toEqual([
			"waits",
			"waits",
			"waits",
		]);
		expect(enter(gate, "e", log)).toBe("full");
		gate.leave("d");
		time.runUntil(10_000);
		expect(log).toEqual(["c expires after 500", "b goes after 1001"]);
		for (const id of ["a", "b", "c", "d", "e"]) gate.finish(id, 10);
		expect([gate.waiting, gate.running]).toEqual([0, 0]);
	});

	it("what was not used is given back, and lets others go", () => {
		const { gate, time } = world(one);
		const log: string[] = [];
		enter(gate, "a", log, 1, 20);
		enter(gate, "b", log);
		gate.finish("a", 0);
		time.runUntil(5);
		expect(log).toEqual(["b goes after 1"]);
	});

	it("a quota that goes away holds nobody; new terms hold from now on", () => {
		const { gate, time } = world(one);
		const log: string[] = [];
		for (const id of ["a", "b", "c"]) enter(gate, id, log, 60_000, 20);
		gate.configure([rate("q", "account:a", "burstable", 1000, { allowBorrow: false })]);
		time.runUntil(100);
		expect(log).toEqual(["b goes after 11", "c goes after 31"]);
		gate.configure([]);
		expect(gate.waiting).toBe(0);
		expect(gate.concerns(of("a"))).toBe(false);
	});

	it("never lets through more than ceiling, burst and one request, whatever comes when", () => {
		fc.assert(
			fc.property(
				fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 60 })), { maxLength: 60 }),
				(arrivals) => {
					const { gate, time } = world([rate("q", "account:a", "burstable", 50)]);
					const started: { at: number; tokens: number }[] = [];
					for (const [i, [at, tokens]] of arrivals.entries()) {
						time.timers.after(at, () => {
							const go = () => void started.push({ at: time.now(), tokens });
							const request = { id: `${i}`, tokens, timeoutMs: Number.POSITIVE_INFINITY, go, expire: () => {} };
							if (gate.enter(of("a"), request) === "goes") go();
						});
					}
					time.runUntil(200_000);
					expect(started).toHaveLength(arrivals.length);
					for (const first of started) {
						for (const last of started) {
							if (last.at < first.at) continue;
							const between = started.filter(({ at }) => at >= first.at && at <= last.at);
							const total = between.reduce((sum, { tokens }) => sum + tokens, 0);
							expect(total).toBeLessThanOrEqual(75 + (75 * (last.at - first.at)) / 1000 + 60 + 1);
						}
					}
					for (const i of arrivals.keys()) gate.finish(`${i}`, 1);
					expect(gate.running).toBe(0);
				},
			),
			{ numRuns: 60 },
		);
	});
});
