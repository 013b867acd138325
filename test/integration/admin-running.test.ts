/** Steering a gateway that runs, over HTTP, with requests waiting in it: every change is in force at once, and audited. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { MockLlmOptions } from "../../src/load/mock-llm-server.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const ONE_AT_A_TIME = `${OPEN}[capacity]
max_concurrent = 1
[classifier.header]
trusted_cidrs = 127.0.0.1/32
`;
const LONG = 100_000;

interface Steered extends TestBed {
	/** Calls the admin API. */
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	admin(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: any }>;
	/** Asks for tokens as some tier; `internal/production` is P0, `external` P3. */
	ask(who: string, tokens: number, model?: string): Asked;
}

interface Asked {
	readonly abort: () => void;
	/** `X-Request-ID` and more once it answered. */
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	readonly over: Promise<{ readonly status: number; readonly headers: Headers; readonly body: any }>;
}

async function open(ini: string = ONE_AT_A_TIME, mock: MockLlmOptions = {}): Promise<Steered> {
	const bed = await openTestBed(ini, mock);
	onTestFinished(() => bed.close());
	const token = readFileSync(join(bed.folder, "admin-token"), "utf8").trim();
	return {
		...bed,
		admin: async (method, path, body) => {
			const response = await fetch(`${bed.gateway.adminUrl}/v1/admin${path}`, {
				method,
				headers: { authorization: `Bearer ${token}`, "x-tokligence-actor": "cli:ada" },
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
			});
			return { status: response.status, body: await response.json() };
		},
		ask: (who, tokens, model = "mock") => {
			const [source, environment] = who.split("/");
			const controller = new AbortController();
			const over = fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				signal: controller.signal,
				headers: {
					"x-tgw-source": source!,
					...(environment === undefined ? {} : { "x-tgw-environment": environment }),
					"x-mock-output-tokens": String(tokens),
				},
				body: JSON.stringify({ model, max_tokens: tokens, messages: [{ role: "user", content: "hi" }] }),
			}).then(async (response) => ({
				status: response.status,
				headers: response.headers,
				body: await response.json(),
			}));
			over.catch(() => {});
			return { abort: () => controller.abort(), over };
		},
	};
}

const core = ({ gateway }: TestBed) => gateway.plane.engine.core;
const waiting = (bed: TestBed, count: number) => until(`${count} wait`, () => core(bed).waitingCount === count);
const running = (bed: TestBed) => until("it runs", () => bed.mock.ledger().totals.running === 1);

/** One request that holds the only place until it is aborted. */
async function occupied(bed: Steered): Promise<Asked> {
	const holder = bed.ask("external", LONG);
	await running(bed);
	return holder;
}

describe("queues", () => {
	test("status counts what waits and runs, per queue", async () => {
		const bed = await open();
		const holder = await occupied(bed);
		bed.ask("internal/production", 4);
		bed.ask("external", 4);
		await waiting(bed, 2);
		const { body } = await bed.admin("GET", "/scheduler/status");
		expect(body).toMatchObject({ pool: "default", pools: ["default"], allocator: "priority", scheduler: "hybrid" });
		expect(body.capacity).toMatchObject({
			active_requests: 1,
			max_concurrent: 1,
			utilization_pct: 100,
			endpoints_up: 1,
			mode: "static",
		});
		expect(body.queues[0]).toMatchObject({ label: "P0", current_depth: 1, in_flight: 0, total_enqueued: 1 });
		expect(body.queues[3]).toMatchObject({ label: "P3", current_depth: 1, in_flight: 1, total_dequeued: 1 });
		expect(body.queues[3].waiting_tokens).toBeGreaterThan(0);
		holder.abort();
		await until("all ended", () => atRest(bed));
		const after = (await bed.admin("GET", "/scheduler/status")).body;
		expect(after.queues[3]).toMatchObject({ current_depth: 0, in_flight: 0, total_dequeued: 2 });
		expect(after.queues[3].avg_wait_ms).toBeGreaterThan(0);
	});

	test("pause keeps what waits, resume serves it, clear refuses it", async () => {
		const bed = await open();
		expect((await bed.admin("POST", "/scheduler/queues/P3/pause")).body.paused).toBe(true);
		const paused = bed.ask("external", 4);
		await waiting(bed, 1);
		const passing = await bed.ask("internal/production", 4).over;
		expect(passing.status).toBe(200);
		expect(core(bed).waitingCount).toBe(1);
		await bed.admin("POST", "/scheduler/queues/low/resume");
		expect((await paused.over).status).toBe(200);

		await bed.admin("POST", "/scheduler/queues/3/pause");
		const cleared = bed.ask("external", 4);
		await waiting(bed, 1);
		expect((await bed.admin("POST", "/scheduler/queues/3/clear")).body).toMatchObject({ cleared: 1, paused: true });
		const answer = await cleared.over;
		expect(answer.status).toBe(503);
		expect(answer.body.error.code).toBe("queue_cleared");
		const { body } = await bed.admin("GET", "/audit-log?action=queue.");
		expect(body.entries.map((entry: { action: string }) => entry.action)).toEqual([
			"queue.clear",
			"queue.pause",
			"queue.resume",
			"queue.pause",
		]);
		expect(body.entries[0]).toMatchObject({ actor: "cli:ada", subject: "default/P3" });
	});

	test("depth and timeout hold for the next request, while others wait", async () => {
		const bed = await open();
		const holder = await occupied(bed);
		bed.ask("external", 4);
		await waiting(bed, 1);
		const changed = await bed.admin("PATCH", "/scheduler/queues/P3", { max_depth: 1 });
		expect(changed.body).toMatchObject({ max_depth: 1, current_depth: 1 });
		const refused = await bed.ask("external", 4).over;
		expect(refused.body.error.code).toBe("queue_full");
		// The default rule names a timeout of its own: without it the queue's holds.
		await bed.admin("PATCH", `/routing-rules/${await ruleId(bed, "External Standard")}`, { queue_timeout_sec: null });
		await bed.admin("PATCH", "/scheduler/queues/P3", { max_depth: 9, timeout_sec: 0.05 });
		const late = await bed.ask("external", 4).over;
		expect(late.body.error.code).toBe("queue_timeout");
		expect(core(bed).waitingCount).toBe(1);
		holder.abort();
	});

	test("a weight decides who is next among those that wait already", async () => {
		const bed = await open(
			ONE_AT_A_TIME.replace("[capacity]", "[request_scheduler]\nscheduler = wfq\n[capacity]\nheadroom = 0"),
		);
		const holder = await occupied(bed);
		const order: string[] = [];
		const asked = ["external", "premium"].flatMap((who) =>
			Array.from({ length: 6 }, () => {
				const one = bed.ask(who, 4);
				void one.over.then(
					() => order.push(who),
					() => {},
				);
				return one;
			}),
		);
		await waiting(bed, 12);
		await bed.admin("PATCH", "/scheduler/queues/P3", { weight: 1000 });
		await bed.admin("PATCH", "/scheduler/queues/P2", { weight: 0.001 });
		holder.abort();
		await Promise.all(asked.map(({ over }) => over));
		// Equal at first: what was charged before the change stands.
		expect(order.slice(2, 7).every((who) => who === "external")).toBe(true);
	});

	test("a ceiling keeps a queue back until it is taken away", async () => {
		const bed = await open();
		await bed.admin("PATCH", "/scheduler/queues/P3", { limit_tps: 0.001 });
		expect((await bed.ask("external", 4).over).status).toBe(200);
		const second = bed.ask("external", 4);
		await waiting(bed, 1);
		const { body } = await bed.admin("PATCH", "/scheduler/queues/P3", { limit_tps: null });
		expect(body.limit_tps).toBeNull();
		expect((await second.over).status).toBe(200);
	});

	test("what does not exist is named with what does; bad input changes nothing", async () => {
		const bed = await open();
		const { admin } = bed;
		const pool = await admin("GET", "/scheduler/status?pool=huge");
		expect([pool.status, pool.body.error.message]).toEqual([404, 'pool "huge" does not exist: pools are default']);
		const queue = await admin("POST", "/scheduler/queues/P9/pause");
		expect([queue.status, queue.body.error.param]).toEqual([404, "level"]);
		expect(queue.body.error.message).toContain("P0, P1, P2, P3, P4");
		for (const patch of [
			{},
			{ weight: 0 },
			{ max_depth: -1 },
			{ max_depth: 1.5 },
			{ depth: 3 },
			{ reserved_tps: -1 },
		]) {
			expect((await admin("PATCH", "/scheduler/queues/P1", patch)).status).toBe(400);
		}
		expect((await admin("GET", "/audit-log?action=queue.")).body.count).toBe(0);
		expect((await admin("DELETE", "/requests/req_none")).status).toBe(404);
		expect((await admin("GET", "/decisions/req_none")).status).toBe(404);
		expect((await admin("GET", "/requests?pool=huge")).status).toBe(404);
		expect((await admin("GET", "/requests?cursor=zzz")).status).toBe(400);
	});
});

async function ruleId(bed: Steered, name: string): Promise<string> {
	const { body } = await bed.admin("GET", "/routing-rules");
	return body.rules.find((rule: { rule_name: string }) => rule.rule_name === name).id;
}

describe("requests", () => {
	test("listed page by page, filtered, and cancelled whether they wait or run", async () => {
		const bed = await open();
		const holder = await occupied(bed);
		const others = [bed.ask("internal/production", 4), bed.ask("external", 4)];
		await waiting(bed, 2);
		const all = (await bed.admin("GET", "/requests")).body;
		expect(all.requests.map((one: { state: string; queue: string }) => `${one.state} ${one.queue}`).sort()).toEqual([
			"running P3",
			"waiting P0",
			"waiting P3",
		]);
		const seen: string[] = [];
		let cursor: string | null = "";
		while (cursor !== null) {
			const page: { requests: { request_id: string }[]; next_cursor: string | null } = (
				await bed.admin("GET", `/requests?limit=1${cursor === "" ? "" : `&cursor=${cursor}`}`)
			).body;
			seen.push(...page.requests.map((one) => one.request_id));
			cursor = page.next_cursor;
		}
		expect(seen).toEqual(all.requests.map((one: { request_id: string }) => one.request_id));
		const runs = (await bed.admin("GET", "/requests?state=running&tier=external")).body.requests;
		expect(runs).toHaveLength(1);
		const waits = (await bed.admin("GET", "/requests?queue=p3&state=waiting")).body.requests;
		expect(waits[0].wait_ms).toBeGreaterThan(0);

		expect((await bed.admin("DELETE", `/requests/${waits[0].request_id}`)).status).toBe(200);
		const cancelled = await others[1]!.over;
		expect([cancelled.status, cancelled.body.error.code]).toEqual([503, "cancelled_by_operator"]);
		expect(cancelled.headers.get("x-should-retry")).toBe("false");
		await bed.admin("DELETE", `/requests/${runs[0].request_id}`);
		expect((await holder.over).body.error.code).toBe("cancelled_by_operator");
		expect((await others[0]!.over).status).toBe(200);
		expect((await bed.admin("DELETE", `/requests/${runs[0].request_id}`)).status).toBe(404);
		const log = (await bed.admin("GET", "/audit-log?action=request.cancel")).body;
		expect(log.entries.map((entry: { subject: string }) => entry.subject)).toEqual([
			runs[0].request_id,
			waits[0].request_id,
		]);
		await until("all is given back", () => atRest(bed));
	});
});

describe("decisions", () => {
	test("the record of one request tells why it waited and how it ended", async () => {
		const bed = await open();
		const holder = await occupied(bed);
		const other = bed.ask("internal/production", 4);
		await waiting(bed, 1);
		const { request_id } = (await bed.admin("GET", "/requests?state=waiting")).body.requests[0];
		const before = (await bed.admin("GET", `/decisions/${request_id}`)).body;
		expect(before).toMatchObject({ state: "waiting", queue: "P0", tier: "internal" });
		expect(before.decisions).toMatchObject([{ decision: "wait", reason: "space", queue: "P0", position: 1 }]);
		holder.abort();
		const answer = await other.over;
		expect(answer.headers.get("x-request-id")).toBe(request_id);
		const after = (await bed.admin("GET", `/decisions/${request_id}`)).body;
		expect(after).toMatchObject({
			state: "ended",
			outcome: "completed",
			rule: "Internal Production",
			via: "rule",
			completion_tokens: 4,
			environment: "production",
		});
		expect(after.decisions.map((one: { decision: string }) => one.decision)).toEqual(["wait", "dispatch"]);
		expect(after.ended_at).toMatch(/^\d{4}-/);
	});

	test("all of them newest first, or followed as they come", async () => {
		const bed = await open();
		const { latest_sequence } = (await bed.admin("GET", "/decisions?limit=1")).body;
		const followed = bed.admin("GET", `/decisions?after=${latest_sequence}&wait_sec=20&event=end`);
		await bed.ask("external", 4).over;
		const { decisions } = (await followed).body;
		expect(decisions).toMatchObject([{ event: "end", outcome: "completed", queue: "P3", model: "mock" }]);
		const refused = await bed.ask("external", 4, "no such model?").over;
		const list = (await bed.admin("GET", "/decisions?limit=2")).body;
		expect(list.decisions.map((one: { event: string }) => one.event)[0]).toBe("end");
		expect(list.decisions[0].sequence).toBeGreaterThan(list.decisions[1].sequence);
		const rest = (await bed.admin("GET", `/decisions?limit=2&cursor=${list.next_cursor}`)).body;
		expect(rest.decisions[0].sequence).toBe(list.decisions[1].sequence - 1);
		expect(refused.status).toBeGreaterThanOrEqual(200);
		expect((await bed.admin("GET", "/decisions?event=eviction")).status).toBe(400);
	});
});

describe("explain", () => {
	const described = { tier: "internal", environment: "production", model: "mock", prompt_tokens: 10, max_tokens: 20 };
	type Step = { readonly step: string; readonly result: string };
	const step = (body: { readonly steps: readonly Step[] }, name: string) =>
		body.steps.filter((one) => one.step === name).map((one) => one.result);

	test("idle, busy, paused, and never", async () => {
		const bed = await open();
		const idle = (await bed.admin("POST", "/explain", described)).body;
		expect(idle).toMatchObject({ outcome: "dispatch", queue: "P0", pool: "default" });
		expect(step(idle, "rule").at(-1)).toBe("10 Internal Production: matches");
		expect(step(idle, "estimate")[0]).toContain("10 prompt + 20 completion tokens");
		const holder = await occupied(bed);
		const busy = (await bed.admin("POST", "/explain", described)).body;
		expect(busy.outcome).toBe("wait");
		expect(step(busy, "outcome")[0]).toContain("no room");
		expect(step(busy, "capacity")[0]).toContain("1 of 1 sequences");
		await bed.admin("POST", "/scheduler/queues/P0/pause");
		expect(step((await bed.admin("POST", "/explain", described)).body, "outcome")[0]).toContain("paused");
		const refused = (await bed.admin("POST", "/explain", { ...described, x_priority: "urgent" })).body;
		expect(refused.outcome).toBe("invalid_header_value");
		expect(core(bed).requestCount).toBe(1);
		holder.abort();
	});

	test("takes nothing from the limits of rules", async () => {
		const bed = await open();
		await bed.admin("PATCH", `/routing-rules/${await ruleId(bed, "Internal Production")}`, { max_qps: 0.5 });
		for (let i = 0; i < 5; i++) {
			expect((await bed.admin("POST", "/explain", described)).body.outcome).toBe("dispatch");
		}
		expect((await bed.ask("internal/production", 4).over).status).toBe(200);
		const spent = (await bed.admin("POST", "/explain", described)).body;
		expect(spent.outcome).toBe("rate_limited");
	});
});
