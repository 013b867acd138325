/** Queues, requests, explain and configuration through the admin API, over a scheduler that records what it is told. */
import { expect, test } from "vitest";
import type { ConfigAdmin } from "../../src/http/admin/admin-context.ts";
import type { ExplainQuestion, QueueStatus, SchedulerAdmin } from "../../src/http/admin/scheduler-admin.ts";
import { adminFixture, NOW } from "./admin-fixture.ts";

class RecordingScheduler implements SchedulerAdmin {
	readonly pools = ["default", "large"];
	readonly calls: string[] = [];
	question: ExplainQuestion | undefined;
	#paused = new Set<number>();

	status(pool: string) {
		if (!this.pools.includes(pool)) return undefined;
		return {
			pool,
			allocator: "priority" as const,
			scheduler: "hybrid",
			queues: [this.#queue(0, "critical"), this.#queue(1, "high")],
			capacity: {
				currentTps: 50,
				utilizationPct: 25,
				activeRequests: 2,
				mode: "static",
				endpoints: 1,
				endpointsUp: 1,
				maxConcurrent: 8,
				inFlightTokens: 90,
				maxInflightTokens: Number.POSITIVE_INFINITY,
			},
			preemptionsTotal: 0,
			preemption: { enabled: true, victims: [1], preemptorMax: 0, wastedTokens: 7 },
		};
	}

	#queue(index: number, name: string): QueueStatus {
		return {
			index,
			label: `P${index}`,
			name,
			currentDepth: 3,
			totalEnqueued: 10,
			totalDequeued: 6,
			totalTimeout: 1,
			totalDropped: 0,
			avgWaitMs: 12,
			inFlight: 2,
			paused: this.#paused.has(index),
			maxDepth: Number.POSITIVE_INFINITY,
			timeoutMs: 30_000,
			weight: 8,
			waitingTokens: 30,
			inFlightTokens: 20,
			reservedTps: 0,
			limitTps: 100,
			limitRps: Number.POSITIVE_INFINITY,
		};
	}

	changeQueue(pool: string, queue: number, change: object) {
		this.calls.push(`change ${pool} ${queue} ${JSON.stringify(change)}`);
		return "reservedTps" in change ? "reserved_tps is not used by scheduler hybrid" : undefined;
	}

	pause(pool: string, queue: number) {
		this.calls.push(`pause ${pool} ${queue}`);
		this.#paused.add(queue);
	}

	resume(pool: string, queue: number) {
		this.calls.push(`resume ${pool} ${queue}`);
		this.#paused.delete(queue);
	}

	clear(pool: string, queue: number) {
		this.calls.push(`clear ${pool} ${queue}`);
		return 3;
	}

	requests() {
		const common = { pool: "default", queue: "P1", tier: "internal", model: "m", stream: true, estimatedTokens: 99 };
		return [
			{ ...common, requestId: "r1", state: "running" as const, accountId: "a", arrivedAt: NOW - 10, waitMs: 2 },
			{ ...common, requestId: "r2", state: "waiting" as const, accountId: "b", arrivedAt: NOW - 5, waitMs: 5 },
		];
	}

	cancel(requestId: string) {
		this.calls.push(`cancel ${requestId}`);
		return requestId === "r2";
	}

	explain(question: ExplainQuestion) {
		this.question = question;
		return { outcome: "wait", queue: "P1", pool: "default", steps: [{ step: "rule", result: "Internal Staging" }] };
	}

	readonly latestDecision = 0;

	decisionsAfter() {
		return [];
	}

	async nextDecision() {}

	decision(requestId: string) {
		return requestId === "r1" ? { requestId, decidedAt: NOW, waitMs: 2 } : undefined;
	}
}

test("status in the documented shape; infinity is null", async () => {
	const { call } = await adminFixture({ scheduler: new RecordingScheduler() });
	const { body } = await call("GET", "/scheduler/status");
	expect(body).toMatchObject({ pool: "default", allocator: "priority", scheduler: "hybrid", preemptions_total: 0 });
	expect(body.queues[1]).toEqual({
		level: 1,
		label: "P1",
		name: "high",
		current_depth: 3,
		total_enqueued: 10,
		total_dequeued: 6,
		total_timeout: 1,
		total_dropped: 0,
		avg_wait_ms: 12,
		in_flight: 2,
		paused: false,
		max_depth: null,
		timeout_sec: 30,
		weight: 8,
		waiting_tokens: 30,
		in_flight_tokens: 20,
		reserved_tps: 0,
		limit_tps: 100,
		limit_rps: null,
	});
	expect(body.capacity).toEqual({
		current_tps: 50,
		max_tps: null,
		utilization_pct: 25,
		active_requests: 2,
		mode: "static",
		endpoints: 1,
		endpoints_up: 1,
		max_concurrent: 8,
		in_flight_tokens: 90,
		max_inflight_tokens: null,
	});
	expect((await call("GET", "/scheduler/status?pool=large")).body.pool).toBe("large");
	const unknown = await call("GET", "/scheduler/status?pool=huge");
	expect(unknown.status).toBe(404);
	expect(unknown.body.error).toMatchObject({ param: "pool", message: expect.stringContaining("default, large") });
});

test("preemptions: who may cause them, and whose work", async () => {
	const { call } = await adminFixture({ scheduler: new RecordingScheduler() });
	expect((await call("GET", "/scheduler/preemptions")).body).toEqual({
		pool: "default",
		enabled: true,
		victims: ["P1"],
		preemptors: ["P0"],
		preemptions_total: 0,
		wasted_tokens: 7,
		recent: [],
	});
});

test("a queue goes by number, label or name; each change reaches its pool and the audit log", async () => {
	const scheduler = new RecordingScheduler();
	const { call } = await adminFixture({ scheduler });
	await call("PATCH", "/scheduler/queues/1", { max_depth: 5, timeout_sec: 2, weight: 3, limit_tps: 100 });
	expect((await call("POST", "/scheduler/queues/P1/pause?pool=large")).body.paused).toBe(true);
	expect((await call("POST", "/scheduler/queues/high/resume?pool=large")).body.paused).toBe(false);
	expect((await call("POST", "/scheduler/queues/0/clear")).body.cleared).toBe(3);
	expect(scheduler.calls).toEqual([
		'change default 1 {"maxDepth":5,"timeoutMs":2000,"weight":3,"limitTps":100}',
		"pause large 1",
		"resume large 1",
		"clear default 0",
	]);
	const { body } = await call("GET", "/audit-log?action=queue.");
	expect(body.entries.map((entry: { action: string; subject: string }) => `${entry.action} ${entry.subject}`)).toEqual([
		"queue.clear default/P0",
		"queue.resume large/P1",
		"queue.pause large/P1",
		"queue.update default/P1",
	]);
});

test("a change that is refused is not audited", async () => {
	const { call } = await adminFixture({ scheduler: new RecordingScheduler() });
	const { status, body } = await call("PATCH", "/scheduler/queues/0", { reserved_tps: 5 });
	expect(status).toBe(400);
	expect(body.error.message).toContain("reserved_tps");
	expect((await call("PATCH", "/scheduler/queues/0", { weight: 0 })).status).toBe(400);
	expect((await call("POST", "/scheduler/queues/7/pause")).body.error.message).toContain("P0, P1");
	expect((await call("GET", "/audit-log?action=queue.")).body.count).toBe(0);
});

test("requests: listed, filtered, cancelled once and audited", async () => {
	const scheduler = new RecordingScheduler();
	const { call } = await adminFixture({ scheduler });
	expect((await call("GET", "/requests")).body).toMatchObject({ count: 2, next_cursor: null });
	expect((await call("GET", "/requests?state=waiting")).body.requests).toMatchObject([
		{ request_id: "r2", account_id: "b", token_id: null, wait_ms: 5 },
	]);
	expect((await call("DELETE", "/requests/r2")).status).toBe(200);
	expect((await call("DELETE", "/requests/r9")).status).toBe(404);
	expect((await call("GET", "/audit-log?action=request.cancel")).body.entries).toMatchObject([{ subject: "r2" }]);
	expect((await call("GET", "/decisions/r1")).body).toEqual({
		request_id: "r1",
		decided_at: new Date(NOW).toISOString(),
		wait_ms: 2,
	});
	expect((await call("GET", "/decisions/r9")).status).toBe(404);
});

test("explain takes a token's identity, and what is said over it", async () => {
	const scheduler = new RecordingScheduler();
	const { call } = await adminFixture({ scheduler });
	await call("POST", "/accounts", {
		id: "acct",
		email: "a@b.c",
		name: "A",
		account_type: "internal",
		organisation: "acme",
	});
	const { body: token } = await call("POST", "/tokens", {
		account_id: "acct",
		priority_tier: "internal",
		environment: "production",
		max_priority: 1,
	});
	const { body } = await call("POST", "/explain", {
		token_id: token.token_id,
		environment: "staging",
		model: "m",
		prompt_tokens: 10,
		x_priority: "high",
	});
	expect(body).toEqual({
		outcome: "wait",
		queue: "P1",
		pool: "default",
		steps: [{ step: "rule", result: "Internal Staging" }],
	});
	expect(scheduler.question).toEqual({
		metadata: {
			tier: "internal",
			environment: "staging",
			accountId: "acct",
			tokenId: token.token_id,
			organisation: "acme",
			accountType: "internal",
			routedBy: "token",
			token: { maxPriority: 1 },
		},
		hints: { priority: "high" },
		model: "m",
		promptTokens: 10,
		stream: false,
	});
	expect((await call("POST", "/explain", { model: "m", token_id: "no" })).body.error.param).toBe("token_id");
});

test("configuration: values with their sources; a reload is whole or nothing", async () => {
	let isGood = false;
	const config: ConfigAdmin = {
		file: () => "gateway.ini",
		effective: () => [
			{ section: "cost", key: "prompt_weight", value: "1", source: "default", where: "default" },
			{ section: "admin", key: "listen", value: "127.0.0.1:0", source: "file", where: "gateway.ini:3" },
		],
		reload: async () =>
			isGood
				? { ok: true, changed: ["cost.prompt_weight"], needsRestart: ["admin.listen"] }
				: {
						ok: false,
						problems: [
							{
								severity: "error",
								where: "gateway.ini:9",
								section: "cost",
								key: "prompt_weight",
								message: "too small",
							},
						],
					},
	};
	const { call } = await adminFixture({ config });
	expect((await call("GET", "/config")).body).toMatchObject({
		file: "gateway.ini",
		count: 2,
		values: [{ key: "prompt_weight", note: null }, { where: "gateway.ini:3" }],
	});
	const refused = await call("POST", "/config/reload");
	expect(refused.status).toBe(400);
	expect(refused.body.error.message).toContain("gateway.ini:9: [cost] prompt_weight: too small");
	isGood = true;
	expect((await call("POST", "/config/reload")).body).toMatchObject({
		changed: ["cost.prompt_weight"],
		needs_restart: ["admin.listen"],
	});
	expect((await call("GET", "/audit-log?action=config.reload")).body.count).toBe(1);
});
