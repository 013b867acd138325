/** Time windows end to end: made over the admin API, felt by requests, gone with their window. */
import { afterEach, expect, test } from "vitest";
import { readAdminToken } from "../../src/app/admin-files.ts";
import type { RoutingMetadata } from "../../src/core/model/routing.ts";
import { readRequestFacts } from "../../src/protocol/request-facts.ts";
import { OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

let bed: TestBed | undefined;
afterEach(async () => {
	await bed?.close();
	bed = undefined;
});

async function open(ini = OPEN, mock: Parameters<typeof openTestBed>[1] = {}): Promise<TestBed> {
	bed = await openTestBed(ini, mock);
	return bed;
}

// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
const jsonOf = (response: Response): Promise<any> => response.json();

async function admin({ gateway, folder }: TestBed, method: string, path: string, body?: unknown) {
	const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
		method,
		headers: { authorization: `Bearer ${readAdminToken(folder, undefined, {})}` },
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
	});
	return { status: response.status, body: await jsonOf(response) };
}

/** Holds now, whatever the time. */
const always = (name: string, rules: readonly object[], more: object = {}) => ({
	name,
	schedule_type: "cron",
	schedule_expr: "* * * * *",
	duration_sec: 3600,
	rules,
	...more,
});

const all = (adjustments: object) => ({ target_type: "all", adjustments });

function ask({ gateway }: TestBed, headers: Record<string, string> = {}, more: object = {}) {
	return fetch(`${gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify({ model: "mock", max_tokens: 20, messages: [{ role: "user", content: "hi" }], ...more }),
	});
}

test("a window moves requests of its target, from the moment it is acknowledged until it is gone", async () => {
	const bed = await open();
	const queue = async (headers = {}) => (await ask(bed, headers)).headers.get("x-tgw-queue");
	expect(await queue()).toBe("P4");
	const rules = [
		all({ priority_delta: -1 }),
		{ target_type: "workload", target_value: "batch", adjustments: { priority_override: 2 } },
	];
	const made = await admin(bed, "POST", "/time-windows", always("Day", rules));
	expect(made).toMatchObject({ status: 201, body: { message: expect.stringContaining("holds now") } });
	expect(await queue()).toBe("P3");
	const batch = await ask(bed, { "x-request-class": "batch" });
	await batch.text();
	expect(batch.headers.get("x-tgw-queue")).toBe("P1");
	const decision = await admin(bed, "GET", `/decisions/${batch.headers.get("x-request-id")}`);
	expect(decision.body).toMatchObject({ queue: "P1", via: "window:Day", windows: ["Day"] });
	const explained = await admin(bed, "POST", "/explain", {
		tier: "default",
		account_id: "default",
		model: "mock",
		prompt_tokens: 5,
	});
	expect(explained.body.steps).toContainEqual({ step: "window", result: "Day (all): priority_delta -1" });
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toContain('tokligence_time_window_active{window="Day"} 1');
	expect(metrics).toContain('tokligence_time_window_applied_total{window="Day"} 1');
	await admin(bed, "PATCH", `/time-windows/${made.body.window_id}`, { enabled: false });
	expect(await queue()).toBe("P4");
	await admin(bed, "PATCH", `/time-windows/${made.body.window_id}`, {
		enabled: true,
		rules: [all({ priority_delta: -4 })],
	});
	expect(await queue()).toBe("P0");
	await admin(bed, "DELETE", `/time-windows/${made.body.window_id}`);
	expect(await queue()).toBe("P4");
});

test("capacity_multiplier scales the pools while the window holds", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 10\nmax_inflight_tokens = 5000\n`);
	const { core } = bed.gateway.plane.engine;
	const space = () => core.pools[0]!.endpoints.map(({ sequencesMax, tokensMax }) => [sequencesMax, tokensMax])[0];
	expect(space()).toEqual([10, 5000]);
	await admin(bed, "POST", "/time-windows", always("Half", [all({ capacity_multiplier: 0.5 })]));
	expect(space()).toEqual([5, 2500]);
	const second = await admin(bed, "POST", "/time-windows", always("Less", [all({ capacity_multiplier: 0.1 })]));
	expect(space()).toEqual([1, 250]);
	await admin(bed, "DELETE", `/time-windows/${second.body.window_id}`);
	expect(space()).toEqual([5, 2500]);
});

test("quota, price, depth and patience are scaled too", async () => {
	const bed = await open(
		`${OPEN}[capacity]\nmax_concurrent = 1\n[pricing.mock]\nprompt_usd_per_million = 1000\ncompletion_usd_per_million = 1000\n`,
		{ speed: 1 },
	);
	await admin(bed, "POST", "/accounts", { id: "acme", email: "a@b.c", name: "A", account_type: "external" });
	const { body } = await admin(bed, "POST", "/tokens", { account_id: "acme", priority_tier: "external" });
	const own = { authorization: `Bearer ${body.token}` };
	const limits = { account_id: "acme", quota_type: "hard", limit_dimension: "requests_per_day", limit_value: 1 };
	await admin(bed, "POST", "/quotas", limits);
	await (await ask(bed, own)).text();
	expect((await ask(bed, own)).status).toBe(429);
	const rules = [
		{ target_type: "account", target_value: "acme", adjustments: { quota_multiplier: 10, cost_multiplier: 3 } },
		{
			target_type: "tier",
			target_value: "external",
			adjustments: { max_queue_depth_multiplier: 0.001, queue_timeout_multiplier: 0.001 },
		},
	];
	await admin(bed, "POST", "/time-windows", always("Night", rules));
	await (await ask(bed, own)).text();
	const { plane, stores } = bed.gateway;
	await plane.journal.flushed();
	await until("the ledger has both", () => plane.journal.status().unsentRecords === 0);
	const rows = (await stores.ledger.list({ accountId: "acme" }, {})).items.filter((row) => row.completionTokens > 0);
	const [later, earlier] = rows;
	const perToken = (row: (typeof rows)[number]) => row.costNanoDollars / (row.promptTokens + row.completionTokens);
	expect(perToken(later!) / perToken(earlier!)).toBeCloseTo(3, 6);
	// the only place that runs is taken; a depth of 1,000 became 1, a patience of 300 s became 0.3 s
	const away = new AbortController();
	const running = fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		signal: away.signal,
		headers: { "x-mock-output-tokens": "2000" },
		body: JSON.stringify({
			model: "mock",
			max_tokens: 2000,
			stream: true,
			messages: [{ role: "user", content: "hi" }],
		}),
	}).catch(() => undefined);
	await until("it runs", () => plane.exchanges.list().some(({ state }) => state === "running"));
	const waiting = await Promise.all([ask(bed, own), ask(bed, own), ask(bed, own)]);
	const codes = await Promise.all(waiting.map(async (answer) => (await jsonOf(answer)).error.code));
	expect(codes.sort()).toEqual(["queue_full", "queue_full", "queue_timeout"]);
	away.abort();
	await running;
});

test("internal_limit_pct moves the capacity guard's limit while the window holds", async () => {
	const bed = await open(`${OPEN}[capacity_guard]\nenabled = true\nmax_tps = 1000\n[capacity]\nmax_concurrent = 4\n`);
	const made = await admin(bed, "POST", "/time-windows", always("Sale", [all({ internal_limit_pct: 55 })]));
	const shown = await admin(bed, "GET", `/time-windows/${made.body.window_id}`);
	expect(shown.body.rules[0].adjustments).toEqual({ internal_limit_pct: 55 });
	const { lifecycle } = bed.gateway.plane;
	const external: RoutingMetadata = { tier: "external", accountId: "a", routedBy: "token" };
	const facts = readRequestFacts("/v1/chat/completions", {
		model: "mock",
		messages: [{ role: "user", content: "hi" }],
	});
	if (!facts.ok) throw new Error("facts");
	const context = { hints: {}, bodyBytes: 0, startWithinMs: Number.POSITIVE_INFINITY, tokenInUse: 0 };
	const outcome = () => {
		const answer = lifecycle.foresee(external, facts.facts, context, performance.now());
		return answer.kind === "refused" ? answer.refusal.code : answer.kind;
	};
	expect(outcome()).toBe("admitted");
	// 0.6 of max_tps by internal work: more than the window allows, less than the configuration does
	const internal = lifecycle.admit({ ...external, tier: "internal" }, facts.facts, context, performance.now());
	if (internal.kind !== "admitted") throw new Error("not admitted");
	lifecycle.used(internal.arrival, 3000, performance.now());
	expect(outcome()).toBe("capacity_guard");
});

test.each([
	[{ schedule_expr: "0 25 * * *" }, "schedule_expr", "hour"],
	[{ timezone: "Europe/Berln" }, "timezone", "not known"],
	[{ schedule_type: "one_time", schedule_expr: "soon" }, "schedule_expr", "is no instant"],
	[
		{ rules: [{ target_type: "tier", adjustments: { priority_delta: 1 } }] },
		"rules.0.target_value",
		"needs target_value",
	],
	[{ rules: [all({})] }, "rules.0.adjustments", "adjusts nothing"],
	[{ rules: [all({ priority_override: 7 })] }, "rules.0.adjustments.priority_override", "7"],
	[{ duration_sec: 0 }, "duration_sec", "at least 1"],
	[{ rules: [all({ weight_multiplier: 0 })] }, "rules.0.adjustments.weight_multiplier", "more than 0"],
])("refuses %j", async (wrong, param, text) => {
	const bed = await open();
	const { status, body } = await admin(bed, "POST", "/time-windows", {
		...always("W", [all({ priority_delta: 1 })]),
		...wrong,
	});
	expect([status, body.error.param]).toEqual([400, param]);
	expect(body.error.message).toContain(text);
});

test("a preview says what will hold, and lists page", async () => {
	const bed = await open();
	const once = {
		schedule_type: "one_time",
		schedule_expr: "2030-01-01T00:00",
		timezone: "Asia/Tokyo",
		duration_sec: 60,
	};
	await admin(bed, "POST", "/time-windows", { ...always("New year", [all({ priority_delta: 1 })]), ...once });
	const { body } = await admin(bed, "GET", "/time-windows/preview?at=2029-12-31T15:00:30Z");
	expect(body.windows).toMatchObject([
		{
			name: "New year",
			active_since: "2029-12-31T15:00:00.000Z",
			active_until: "2029-12-31T15:01:00.000Z",
			active: true,
		},
	]);
	expect(body.next_change).toBe("2029-12-31T15:01:00.000Z");
	expect((await admin(bed, "GET", "/time-windows?limit=1")).body).toMatchObject({
		count: 1,
		windows: [{ active: false }],
	});
});
