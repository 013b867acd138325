/** Storms: work taken back over and over, a guard that flaps, a budget that ends in mid-stream, engines that come and go. Nothing leaks, nothing is settled twice, and who is refused is told why. */
import { expect, onTestFinished, test } from "vitest";
import { budgetsOff, heldInside, ledgerRows } from "./left-over.ts";
import { type Plan, play, type Seen } from "./mixed-traffic.ts";
import { movableClock } from "./movable-clock.ts";
import { OPEN, until } from "./running-gateway.ts";
import { openStage, type Stage } from "./stage.ts";

const HEADERS = "[classifier.header]\nenabled = true\ntrusted_cidrs = 127.0.0.1/32\nrequire_token = false\n";

async function open(...stage: Parameters<typeof openStage>): Promise<Stage> {
	const opened = await openStage(...stage);
	onTestFinished(() => opened.close());
	return opened;
}

function ask({ gateway }: Stage, headers: Record<string, string>, plan: Partial<Plan> = {}): Promise<Seen> {
	return play(gateway.dataUrl, {
		path: "/v1/chat/completions",
		model: "mock",
		stream: true,
		outputTokens: 20,
		maxTokens: 20,
		fault: undefined,
		leave: { kind: "never" },
		resets: false,
		isSlow: false,
		headers,
		...plan,
	});
}

const BATCH = { "x-tgw-source": "internal", "x-tgw-workload": "batch" };
const PRODUCTION = { "x-tgw-source": "internal", "x-tgw-environment": "production" };
const SPOT = { "x-tgw-source": "spot" };

/** Nothing is held, each request ended once, and each that started has one row; answers the rows. */
async function settled({ gateway, engines, witness }: Stage) {
	await until("all is given back", () => Object.keys(heldInside(gateway)).length === 0).catch(() => {});
	expect(heldInside(gateway)).toEqual({});
	await until("engines work on nothing", () => engines.every(({ running }) => running === 0));
	const rows = await ledgerRows(gateway);
	expect(rows.map(({ requestId }) => requestId).sort()).toEqual([...new Set(witness.started)].sort());
	expect(witness.started.length).toBe(rows.length);
	expect(new Set(witness.ends.map(({ requestId }) => requestId)).size).toBe(witness.ends.length);
	expect(witness.bugs).toEqual([]);
	expect(budgetsOff(gateway, rows)).toEqual([]);
	return rows;
}

const codesOf = (seen: readonly Seen[]) => [...new Set(seen.flatMap(({ code }) => code ?? []))].sort();

test("a storm of preemptions: batch gives way again and again, some of it leaves meanwhile, all ends once", async () => {
	const stage = await open(
		([url]) =>
			`${OPEN}${HEADERS}[request_scheduler]\nscheduler = strict\n[capacity]\nmax_concurrent = 2\nheadroom = 0\n[provider.default]\nendpoint = ${url}\nengine = ollama\n[preemption]\nenabled = true\nflowing = true\n`,
		1,
		{ speed: 10 },
	);
	const batch = Array.from({ length: 16 }, (_, n) =>
		ask(stage, BATCH, {
			stream: n % 2 === 0,
			outputTokens: 150,
			maxTokens: 150,
			leave: n % 4 === 3 ? { kind: "after", ms: 100 + 40 * n } : { kind: "never" },
		}),
	);
	const { pools } = stage.gateway.plane.engine.core;
	const production: Promise<Seen>[] = [];
	for (let wave = 0; wave < 10; wave++) {
		await until("batch runs", () => pools[0]!.queues.some((queue, at) => at > 1 && queue.inFlight > 0), 5000).catch(
			() => {},
		);
		production.push(ask(stage, PRODUCTION), ask(stage, PRODUCTION, { stream: false }));
		await Promise.all(production);
	}
	const urgent = await Promise.all(production);
	expect(urgent.map(({ status }) => status)).toEqual(urgent.map(() => 200));
	const patient = await Promise.all(batch);
	expect(pools[0]!.preemptions).toBeGreaterThan(5);
	expect(["", "preempted"]).toContain(codesOf(patient).join());
	for (const { plan, whole, code } of patient)
		if (plan.leave.kind === "never") expect(whole || code === "preempted").toBe(true);
	const rows = await settled(stage);
	expect(rows.length).toBeGreaterThanOrEqual(20);
});

test("a guard that flaps: what it holds is let go each time, leaves, or is told, and none is lost", async () => {
	const jump = movableClock();
	const stage = await open(
		([url]) =>
			`${OPEN}${HEADERS}[provider.default]\nendpoint = ${url}\nengine = vllm\n[capacity_guard]\nenabled = true\nmax_tps = 1\nbuffer_pct = 0\naction = queue\n`,
	);
	const { hold, exchanges } = stage.gateway.plane;
	const external: Promise<Seen>[] = [];
	for (let flap = 0; flap < 6; flap++) {
		expect((await ask(stage, PRODUCTION)).status).toBe(200);
		const waits = Array.from({ length: 5 }, () => ask(stage, SPOT));
		await until("they are held", () => hold!.size === 5);
		const impatient = ask(stage, SPOT, { leave: { kind: "after", ms: 10 } });
		await impatient;
		await until("it has left", () => hold!.size === 5);
		exchanges.list()[0]!.cancelByOperator();
		external.push(...waits);
		jump(61_000);
		await until("they go on", () => hold!.size === 0);
		await Promise.all(waits);
	}
	const seen = await Promise.all(external);
	expect(seen.filter(({ status }) => status === 200)).toHaveLength(24);
	expect(codesOf(seen)).toEqual(["cancelled_by_operator"]);
	expect(await settled(stage)).toHaveLength(30);
});

test("a budget that ends in mid-stream: what runs ends whole and is counted, the next one is told", async () => {
	const stage = await open(([url]) => `${OPEN}[provider.default]\nendpoint = ${url}\nengine = vllm\n`);
	const { admin, gateway } = stage;
	await admin("POST", "/accounts", { id: "acme", email: "a@example.com", name: "Acme", account_type: "external" });
	const { token } = await admin("POST", "/tokens", { account_id: "acme", priority_tier: "external" });
	await admin("POST", "/quotas", {
		id: "budget",
		account_id: "acme",
		quota_type: "hard",
		limit_dimension: "tokens_per_day",
		limit_value: 600,
	});
	const headers = { authorization: `Bearer ${token}` };
	// Estimates learn that answers are short; then come four that are long.
	for (let n = 0; n < 4; n++) await ask(stage, headers, { outputTokens: 2, maxTokens: 3000 }).then(() => {});
	const long = await Promise.all(
		Array.from({ length: 4 }, (_, n) => ask(stage, headers, { outputTokens: 400, maxTokens: 3000, stream: n < 3 })),
	);
	const served = long.filter(({ status }) => status === 200);
	expect(served.length).toBeGreaterThan(1);
	expect(served.every(({ whole }) => whole)).toBe(true);
	const [budget] = gateway.plane.quotas!.views();
	expect(budget!.state.used).toBeGreaterThan(600);
	for (const path of ["/v1/chat/completions", "/v1/messages"]) {
		const refused = await ask(stage, headers, { path });
		expect([refused.status, refused.code]).toEqual([429, "quota_exceeded"]);
	}
	await settled(stage);
});

test("engines that come and go under load: clear words for who is hit, service for all once they are back", async () => {
	const stage = await open(
		([a, b]) =>
			`${OPEN}[capacity]\nmax_concurrent = 4\n[provider.default]\nendpoint = ${a}, ${b}\nengine = vllm\nconnect_timeout = 1s\n`,
		2,
		{ speed: 10 },
	);
	const { engines } = stage;
	const seen: Promise<Seen>[] = [];
	for (let round = 0; round < 6; round++) {
		const asked = Array.from({ length: 12 }, (_, n) =>
			ask(stage, {}, { stream: n % 2 === 0, path: n % 3 === 0 ? "/v1/messages" : "/v1/chat/completions" }),
		);
		seen.push(...asked);
		let isOver = false;
		void Promise.all(asked).then(() => {
			isOver = true;
		});
		await until("some run, or none may", () => isOver || engines.some(({ running }) => running > 0));
		const victims = round % 3 === 2 ? engines : [engines[round % 2]!];
		for (const engine of victims) await engine.stop();
		await Promise.race(asked);
		for (const engine of victims) await engine.startAgain();
	}
	const all = await Promise.all(seen);
	expect(all.filter(({ whole, status }) => status === 200 && whole).length).toBeGreaterThan(4);
	const allowed = ["upstream_protocol_error", "upstream_unavailable"];
	for (const { status, code, whole } of all) {
		if (whole && code === undefined) continue;
		expect(allowed, `${status} ${code}`).toContain(code);
	}
	await until("both are well again", () => stage.gateway.plane.engine.core.pools[0]!.endpoints.every(({ up }) => up));
	const after = await Promise.all(Array.from({ length: 8 }, () => ask(stage, {})));
	expect(after.map(({ status, whole }) => [status, whole])).toEqual(after.map(() => [200, true]));
	await settled(stage);
});
