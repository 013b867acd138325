/** Budgets, rates, the guard and time windows of a simulation: what they promise must hold in its report. */
import { expect, test } from "vitest";
import { loadConfig } from "../config/load.ts";
import type { TimeWindow } from "../core/allocate/time-window.ts";
import type { Quota } from "../core/quota/quota.ts";
import { ENGINE_PROFILES } from "./engine-profiles.ts";
import type { SimulatedPolicy } from "./entrance.ts";
import { type SimulationInput, simulateConfig } from "./report.ts";
import { readScenario, scenarioArrivals } from "./scenario.ts";
import type { SimulatedRequest } from "./simulation.ts";
import type { SimulatedArrival } from "./workload.ts";

const HOUR = 3_600_000;
const NOTHING: SimulatedPolicy = { accounts: [], windows: [], quotas: [] };

function run(
	tiers: readonly object[],
	policy: Partial<SimulatedPolicy>,
	more: Partial<SimulationInput> & { ini?: string } = {},
) {
	const { ini = "", ...rest } = more;
	const loaded = loadConfig({ path: "test.ini", text: ini, env: {} });
	if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join());
	const ended: { readonly arrival: SimulatedArrival; readonly request: SimulatedRequest }[] = [];
	const report = simulateConfig({
		name: "test",
		config: loaded.config,
		profile: ENGINE_PROFILES["a100-8b"],
		arrivals: scenarioArrivals(readScenario({ duration: "60s", seed: 3, tiers }), 1),
		policy: { ...NOTHING, ...policy },
		onEnd: (arrival, request) => ended.push({ arrival, request }),
		...rest,
	});
	return { report, ended };
}

const acme = { name: "acme", tier: "external", rate: 4, prompt: 100, output: 50 };

const quota = (more: Partial<Quota>): Quota => ({
	id: "q",
	accountId: "acme",
	node: "account:acme",
	quotaType: "hard",
	limitDimension: "tokens_per_day",
	limitValue: 6000,
	allowBorrow: true,
	lend: true,
	...more,
});

const window = (more: Partial<TimeWindow>): TimeWindow => ({
	id: "w",
	name: "w",
	enabled: true,
	order: 1,
	scheduleType: "one_time",
	scheduleExpr: "2026-01-05T00:00:20Z",
	durationMs: 20_000,
	timezone: "UTC",
	rules: [{ targetType: "tier", targetValue: "external", adjustments: { priorityOverride: 0 } }],
	...more,
});

/** Nothing beyond the budget of so many days, and less than one estimate left of each. */
function expectSpent(served: number, days: number): void {
	expect(served * 150).toBeLessThanOrEqual(6000 * days);
	expect(served * 150).toBeGreaterThan((6000 - (100 + 256)) * days);
}

test("a hard budget serves what it has room for, refuses the rest, and everybody is accounted for once", () => {
	const { report, ended } = run([acme], { quotas: [quota({})] });
	const { total, promises, queues, tenants } = report;
	expectSpent(total.served, 1);
	expect(total.refused).toEqual({ quota_exceeded: total.requests - total.served });
	expect(ended.length).toBe(total.requests);
	for (const groups of [queues, tenants])
		expect(groups.reduce((sum, { requests }) => sum + requests, 0)).toBe(total.requests);
	expect(promises.budgets).toMatchObject([
		{ quota_id: "q", used_value: total.served * 150, refused: total.requests - total.served },
	]);
});

test("a budget begins anew at its midnight, and [quotas] enabled = false lifts it", () => {
	const startAt = Date.UTC(2026, 0, 5, 23, 59, 30);
	const { report } = run([acme], { quotas: [quota({})] }, { startAt });
	expectSpent(report.total.served, 2);
	const lifted = run([acme], { quotas: [quota({})] }, { ini: "[quotas]\nenabled = false\n" }).report;
	expect(lifted.total.served).toBe(lifted.total.requests);
	expect(lifted.promises.budgets).toEqual([]);
});

test("an organisation's budget counts all its accounts; others do not notice", () => {
	const others = { ...acme, name: "other" };
	const account = { id: "acme", accountType: "external" as const, organisation: "corp" };
	const sister = { ...acme, name: "sister" };
	const accounts = [account, { ...account, id: "sister" }];
	const { report } = run([acme, others, sister], { accounts, quotas: [quota({ node: "organisation:corp" })] });
	const of = (name: string) => report.tenants.find((tenant) => tenant.name === name)!;
	expectSpent(of("acme").served + of("sister").served, 1);
	expect(of("other").served).toBe(of("other").requests);
});

test("a burstable rate lets no more through than its ceiling and its burst, and the others wait before their queue", () => {
	const rate = quota({ quotaType: "burstable", limitDimension: "tps", limitValue: 200, allowBorrow: false });
	const { report, ended } = run([acme], { quotas: [rate] });
	const { total, promises } = report;
	expect(total.held.rate_quota).toBeGreaterThan(10);
	expect(promises.rates).toMatchObject([
		{ quota_id: "q", assured_tps: 200, ceiling_tps: 200, held: total.held.rate_quota },
	]);
	const starts = ended.flatMap(({ request }) => request.dispatchedMs ?? []).sort((a, b) => a - b);
	for (const from of starts) {
		const until = from + 10_000;
		const tokens = 150 * starts.filter((at) => at >= from && at < until).length;
		// Rate, burst of two seconds, one request, and the first estimates, which expect more than comes.
		expect(tokens).toBeLessThanOrEqual(200 * 10 + 400 + 150 + 2 * 256);
	}
	expect(total.wait_ms.p99).toBeGreaterThan(1000);
});

test("a window moves requests while it holds, to the instant", () => {
	const { report, ended } = run([acme], { windows: [window({})] });
	for (const { arrival, request } of ended) {
		const holds = arrival.arrivalMs >= 20_000 && arrival.arrivalMs < 40_000;
		expect(request.queue, `at ${arrival.arrivalMs}`).toBe(holds ? 0 : 3);
	}
	expect(report.promises.windows).toEqual([{ name: "w", applied: 1, held_ms: 20_000, spans_ms: [[20_000, 40_000]] }]);
	const off = run([acme], { windows: [window({})] }, { ini: "[time_windows]\nenabled = false\n" }).report;
	expect(off.queues[0]!.requests).toBe(0);
});

test("windows follow the zone's clock from the instant of the start", () => {
	const nightly = window({ scheduleType: "cron", scheduleExpr: "0 22 * * *", timezone: "X", durationMs: 8 * HOUR });
	const { report } = run(
		[acme],
		{ windows: [nightly] },
		{ startAt: Date.UTC(2026, 5, 1, 19, 59, 30), offset: () => 2 * HOUR },
	);
	expect(report.promises.windows[0]!.spans_ms[0]![0]).toBe(30_000);
});

test("a window on capacity makes room for less, and gives it back", () => {
	const half = window({ rules: [{ targetType: "all", adjustments: { capacityMultiplier: 0.25 } }] });
	const ini = "[capacity]\nmax_concurrent = 8\nheadroom = 0\n";
	const busy = { ...acme, rate: 12, output: 200 };
	const { ended } = run([busy], { windows: [half] }, { ini });
	const running = (at: number) =>
		ended.filter(({ request }) => request.dispatchedMs! <= at && request.finishedMs! > at).length;
	expect(running(19_000)).toBe(8);
	expect(running(39_000)).toBe(2);
	expect(running(55_000)).toBe(8);
});

const GUARD = "[capacity_guard]\nenabled = true\nmax_tps = 1000\n";
const burst = { name: "prod", tier: "internal", environment: "production", rate: 8, prompt: 100, output: 100 };

test("the guard refuses external work while internal work needs the capacity", () => {
	const { report } = run([{ ...burst, from: "20s" }, acme], {}, { ini: GUARD });
	const { total, promises, queues } = report;
	expect(total.refused["capacity_guard"]).toBeGreaterThan(20);
	expect(queues[3]!.refused["capacity_guard"]).toBe(total.refused["capacity_guard"]);
	expect(promises.guard).toMatchObject({ closed: 1, refused: total.refused["capacity_guard"], held: 0 });
	const [from, to] = promises.guard!.spans_ms[0]!;
	expect(from).toBeGreaterThan(20_000);
	expect(to).toBe(report.simulated_ms);
});

test("with action = queue they are held, and served when it opens", () => {
	const { report, ended } = run([{ ...burst, until: "20s" }, acme], {}, { ini: `${GUARD}action = queue\n` });
	const { total, promises } = report;
	expect(total.refused).toEqual({});
	expect(total.served).toBe(total.requests);
	expect(total.held.capacity_guard).toBe(promises.guard!.held);
	expect(total.held.capacity_guard).toBeGreaterThan(20);
	const [from, to] = promises.guard!.spans_ms[0]!;
	expect(to - from).toBeGreaterThanOrEqual(60_000);
	const started = ended.filter(
		({ arrival, request }) =>
			arrival.metadata.tier === "external" && request.dispatchedMs! > from && request.dispatchedMs! < to,
	);
	// Who had passed before it closed.
	expect(started.length).toBeLessThanOrEqual(1);
});

test("a reservation is met, what lies beyond it is counted as borrowed", () => {
	const ini =
		"[request_scheduler]\nscheduler = strict\n[capacity]\nmax_concurrent = 8\nheadroom = 0\nmax_tokens_per_sec = 2000\n[allocator.priority.level.3]\nreserved_tps = 400\n";
	const flood = { ...burst, rate: 30, output: 200 };
	const { report } = run([flood, acme], {}, { ini });
	const low = report.queues[3]!;
	expect(low.served).toBe(low.requests);
	expect(low.borrowed).toBeGreaterThan(0);
	const without = run([flood, acme], {}, { ini: ini.slice(0, ini.indexOf("[allocator")) }).report;
	expect(low.wait_ms.p99).toBeLessThan(without.queues[3]!.wait_ms.p99 / 2);
	expect(without.total.borrowed).toBe(0);
});

test("without policy and guard nothing is different from a run that has none of it", () => {
	const { report } = run([acme, burst], {});
	const { promises, ...plain } = report;
	expect(promises).toEqual({ starts_at: "2026-01-05T00:00:00.000Z", windows: [], budgets: [], rates: [] });
	expect(plain.total.held).toEqual({ rate_quota: 0, capacity_guard: 0 });
});

test("a window gives a tier a share under the guard: it gets that on average, others do not notice", () => {
	const share = window({
		durationMs: 40_000,
		rules: [{ targetType: "tier", targetValue: "external", adjustments: { capacityMultiplier: 0.2 } }],
	});
	const { report, ended } = run([acme, { ...burst, rate: 1 }], { windows: [share] }, { ini: GUARD });
	const within = ended.filter(
		({ arrival, request }) => arrival.metadata.tier === "external" && (request.dispatchedMs ?? 0) >= 25_000,
	);
	const tps = (150 * within.filter(({ request }) => request.finishedMs! < 60_000).length) / 35;
	expect(tps).toBeGreaterThan(150);
	expect(tps).toBeLessThan(250);
	expect(report.total.refused["capacity_guard"]).toBeGreaterThan(20);
	expect(report.queues[0]!.served).toBe(report.queues[0]!.requests);
});
