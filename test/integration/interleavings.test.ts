/**
 * Whatever happens in whatever order, all that was taken is given back once: clients of every kind, an engine with every fault, engines that go
 * and come back, operators who change everything meanwhile, the clock that jumps, and an end in the middle of it. Over real sockets, by
 * seed.
 *
 * `TOKLIGENCE_TEST_SEED` plays another mix, `TOKLIGENCE_TEST_REQUESTS` a longer one.
 */
import { expect, onTestFinished, test } from "vitest";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { Random } from "../../src/simulate/random.ts";
import { allRows, budgetsOff, heldInside, heldOutside, impossible, ledgerRows } from "./left-over.ts";
import { type Plan, planOf, play, type Seen } from "./mixed-traffic.ts";
import { movableClock } from "./movable-clock.ts";
import { Operators } from "./operators.ts";
import { OPEN, until } from "./running-gateway.ts";
import { openStage, type Stage } from "./stage.ts";

const SEED = Number(process.env["TOKLIGENCE_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const REQUESTS = Number(process.env["TOKLIGENCE_TEST_REQUESTS"] ?? 300);
const AT_ONCE = 30;
const PER_ACTION = 8;
const PER_WAVE = 150;
/** The guard opens when it was closed for a minute. */
const GUARD_MS = 61_000;
/** So many looks of 10 ms without an end are a standstill. */
const QUIET_LOOKS = 40;

const iniOf =
	({ concurrent, burst, scheduler, mode }: { concurrent: number; burst: number; scheduler: string; mode: string }) =>
	([a, b, c]: readonly string[]) =>
		`${OPEN}[classifier.header]
enabled = true
trusted_cidrs = 127.0.0.1/32
require_token = false
[gateway]
stream_hold = 60ms
drain_timeout = 300ms
[request_scheduler]
scheduler = ${scheduler}
[capacity]
max_concurrent = ${concurrent}
burst_seconds = ${burst}
${mode}
[provider.a]
endpoint = ${a}, ${b}
models = mock
engine = vllm
idle_timeout = 200ms
first_byte_timeout = 250ms
[provider.b]
endpoint = ${c}
models = mock, limited
engine = ollama
idle_timeout = 200ms
first_byte_timeout = 250ms
[preemption]
enabled = true
flowing = true
[capacity_guard]
enabled = true
max_tps = 1
buffer_pct = 0
action = queue
`;

/** Tokens, budgets and rules that bind; answers who may ask, and the rule with limits. */
async function populate({ admin }: Stage) {
	await admin("POST", "/accounts", { id: "acme", email: "a@example.com", name: "Acme", account_type: "external" });
	const token = async (fields: object): Promise<Record<string, string>> => {
		const made = await admin("POST", "/tokens", { account_id: "acme", priority_tier: "external", ...fields });
		return { authorization: `Bearer ${made.token}` };
	};
	const quota = (id: string, limit_dimension: string, limit_value: number, fields: object = {}) =>
		admin("POST", "/quotas", { id, account_id: "acme", quota_type: "hard", limit_dimension, limit_value, ...fields });
	await quota("requests", "requests_per_day", 1e9);
	await quota("tokens", "tokens_per_day", 1e9, { quota_type: "soft" });
	const { rule_id: rule } = await admin("POST", "/routing-rules", {
		rule_name: "limited",
		priority_order: 1,
		match_model: "limited",
		max_tps: 2000,
		max_queue_depth: 4,
	});
	const identities: readonly Record<string, string>[] = [
		await token({}),
		await token({ max_parallel_requests: 2 }),
		await token({ quota_tokens_per_month: 4000 }),
		await token({ quota_tps_limit: 300 }),
		{ "x-tgw-source": "internal", "x-tgw-environment": "production" },
		{ "x-tgw-source": "internal", "x-tgw-workload": "batch" },
		{ "x-tgw-source": "spot" },
		{},
	];
	return { identities, rule: rule as string };
}

/** Plays plans, so many at once, with something between them after every few. */
async function playAll(
	plans: readonly Plan[],
	dataUrl: string,
	between: () => Promise<void>,
): Promise<readonly Seen[]> {
	const seen: Seen[] = [];
	let next = 0;
	let acting = Promise.resolve();
	const worker = async () => {
		for (let plan = plans[next++]; plan !== undefined; plan = plans[next++]) {
			seen.push(await play(dataUrl, plan));
			if (seen.length % PER_ACTION === 0) {
				acting = acting.then(between);
				await acting;
			}
		}
	};
	await Promise.all(Array.from({ length: AT_ONCE }, worker));
	return seen;
}

async function expectRest({ gateway, folder, engines, witness }: Stage): Promise<void> {
	let held: unknown;
	await until("all is given back", () => {
		held = heldInside(gateway);
		return Object.keys(held as object).length === 0;
	}).catch(() => {});
	expect(witness.bugs, `seed ${SEED}`).toEqual([]);
	expect(held, `seed ${SEED}`).toEqual({});
	await until("engines work on nothing", () => engines.every(({ running }) => running === 0)).catch(() => {});
	expect(engines.map(({ running }) => running)).toEqual(engines.map(() => 0));
	expect(await heldOutside(gateway, folder)).toEqual({});
	expect(witness.limitsOff()).toEqual([]);
}

test(`${REQUESTS} requests in any order with all that can happen (seed ${SEED}): everything is given back once`, async () => {
	const random = new Random(SEED);
	const scheduler = ["strict", "wfq", "hybrid"][random.integer(0, 2)]!;
	const kinds = [
		{ concurrent: 3, burst: 2, scheduler, mode: "" },
		{ concurrent: 5, burst: 3, scheduler, mode: "" },
		{ concurrent: 2, burst: 2, scheduler, mode: "mode = adaptive" },
	];
	const jump = movableClock();
	const stage = await openStage(iniOf(kinds[0]!), 3);
	onTestFinished(() => stage.close());
	const { gateway, witness, engines } = stage;
	const urls = engines.map(({ url }) => url);
	const { identities, rule } = await populate(stage);
	const operators = new Operators(
		stage,
		random,
		kinds.map((kind) => iniOf(kind)(urls)),
		rule,
	);

	const seen: Seen[] = [];
	for (let left = REQUESTS; left > 0; left -= PER_WAVE) {
		const plans = Array.from({ length: Math.min(left, PER_WAVE) }, () => planOf(random, identities));
		const playing = playAll(plans, gateway.dataUrl, () => operators.act());
		let isOver = false;
		const played = playing.finally(() => {
			isOver = true;
		});
		// Time goes on when nothing else does: for what the guard holds, and for who waits in queues that are paused.
		for (let quiet = 0, ends = 0; !isOver; quiet++) {
			await Promise.race([played, new Promise((resolve) => setTimeout(resolve, 10))]);
			expect(impossible(gateway), `seed ${SEED}`).toEqual([]);
			if (witness.ends.length > ends && gateway.plane.hold!.size < AT_ONCE / 2) quiet = 0;
			ends = witness.ends.length;
			if (quiet < QUIET_LOOKS) continue;
			quiet = 0;
			await operators.putBack();
			jump(GUARD_MS);
		}
		seen.push(...(await played));
		await operators.putBack();
		await expectRest(stage);
	}
	console.log(`seed ${SEED}: ${JSON.stringify(summaryOf(stage, seen, operators))}`);

	const rows = await ledgerRows(gateway);
	const rowOf = new Map(rows.map((row) => [row.requestId, row]));
	expect(rows.length, "a row each").toBe(rowOf.size);
	expect(new Set(rowOf.keys())).toEqual(new Set(witness.started));
	expect(witness.started.length, "one start each").toBe(rowOf.size);
	expect(new Set(witness.ends.map(({ requestId }) => requestId)).size, "one end each").toBe(witness.ends.length);
	expect(budgetsOff(gateway, rows)).toEqual([]);
	expect(tokensOff(stage, rowOf)).toEqual([]);
	for (const { plan, status, requestId, whole } of seen) {
		if (status !== 200 || !whole || plan.path.endsWith("count_tokens")) continue;
		const row = rowOf.get(requestId!);
		expect(row, `${requestId} ${JSON.stringify(plan)}`).toBeDefined();
		// What an engine reports is what counts.
		if (plan.fault === undefined) expect(row, JSON.stringify(plan)).toMatchObject({ usageSource: "measured" });
	}

	// An end in the middle.
	const last = Array.from({ length: AT_ONCE }, () => planOf(random, identities));
	const playing = Promise.all(last.map((plan) => play(gateway.dataUrl, plan)));
	await until("some run", () => engines.some(({ running }) => running > 0));
	await gateway.close();
	await playing;
	// The place of a run that was cut is free when its engine is, a moment later.
	await until("all is given back", () => Object.keys(heldInside(gateway)).length === 0).catch(() => {});
	expect(heldInside(gateway)).toEqual({});
	expect(witness.bugs).toEqual([]);
	const again = await stage.again();
	try {
		const all = await allRows(again.stores.ledger);
		expect(all.length).toBe(new Set(witness.started).size);
		expect(new Set(all.map(({ requestId }) => requestId))).toEqual(new Set(witness.started));
		expect(all.filter(({ outcome }) => outcome === "unknown")).toEqual([]);
		expect(budgetsOff(again, all)).toEqual([]);
	} finally {
		await again.close();
	}
}, 600_000);

/** Rows that do not say what the engine counted, or that say something of what never reached it. */
function tokensOff({ engines }: Stage, rowOf: ReadonlyMap<string, LedgerRow>): readonly string[] {
	const entries = engines.flatMap((engine) => engine.entries());
	const byId = grouped(entries, (entry) => entry.request_id);
	const off = [...byId.keys()].filter((id) => !rowOf.has(id)).map((id) => `${id} ran without a row`);
	for (const row of rowOf.values()) {
		const runs = byId.get(row.requestId) ?? [];
		const own = `${row.requestId} (${row.operation}, ${row.outcome}, ${row.usageSource}) ${row.promptTokens}+${row.completionTokens}`;
		if (runs.length === 0) {
			// Of one that its client gave up as it went out, only that is known.
			const isUnknown =
				row.outcome === "client_closed" || row.outcome === "cancelled" || row.errorCode === "upstream_timeout";
			if (row.completionTokens > 0 || (row.promptTokens > 0 && !isUnknown)) off.push(`${own}, but no engine saw it`);
		} else if (row.outcome === "completed" && row.usageSource === "measured") {
			const same = runs.some(
				(run) => run.prompt_tokens === row.promptTokens && run.completion_tokens === row.completionTokens,
			);
			if (!same) off.push(`${own}, but engines counted ${JSON.stringify(runs)}`);
		}
	}
	return off;
}

function grouped<T>(items: readonly T[], of: (item: T) => string): Map<string, T[]> {
	const groups = new Map<string, T[]>();
	for (const item of items) {
		const same = groups.get(of(item));
		if (same === undefined) groups.set(of(item), [item]);
		else same.push(item);
	}
	return groups;
}

function summaryOf({ witness }: Stage, seen: readonly Seen[], { done }: Operators) {
	const count = <T>(items: readonly T[], of: (item: T) => string) =>
		Object.fromEntries([...grouped(items, of)].map(([key, all]) => [key, all.length]));
	return {
		outcomes: count(witness.ends, ({ outcome, code }) => (code === undefined ? outcome : `${outcome}/${code}`)),
		statuses: count(seen, ({ status }) => String(status)),
		actions: Object.fromEntries(done),
	};
}
