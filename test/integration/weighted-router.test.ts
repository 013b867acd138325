/**
 * Two allocators over one engine, end to end: accounts keep to theirs, weights change by reload while requests wait and every request is answered
 * once, and everything that shows a queue shows the right one.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";
import { accountPoint } from "../../src/core/allocate/weighted-router.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { atRest, OPEN, until } from "./running-gateway.ts";

const SLOTS = 10;

const config = (priority: number, bucket: number) =>
	`${OPEN}[request_scheduler]\nallocator = weighted_router\nscheduler = atleast\n[capacity]\nmax_concurrent = ${SLOTS}\nheadroom = 0\n[allocator.bucket]\nbase_capacity_rps = 1000\n[allocator.weighted_router]\npriority_weight = ${priority}\nbucket_weight = ${bucket}\n`;

async function open(ini: string) {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-router-"));
	const file = join(folder, "gateway.ini");
	writeFileSync(file, ini);
	const mock = await startMockLlm({ speed: 50, seed: 1, models: ["mock"] });
	const load = () =>
		loadConfig({ path: file, flags: { upstream: mock.url, dataDir: folder, port: "0", adminPort: "0" } });
	const loaded = load();
	if (!loaded.ok) throw new Error(loaded.errors.map((error) => error.message).join("\n"));
	const gateway = await startGateway(loaded.config, { file, effective: loaded.effective, load });
	onTestFinished(async () => {
		await gateway.close();
		await mock.close();
		rmSync(folder, { recursive: true, force: true });
	});
	const adminToken = readFileSync(join(folder, "admin-token"), "utf8").trim();
	const admin = async (method: string, path: string, body?: unknown) => {
		const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
			method,
			headers: { authorization: `Bearer ${adminToken}` },
			...(body === undefined ? {} : { body: JSON.stringify(body) }),
		});
		// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
		return { status: response.status, body: (await response.json()) as any };
	};
	const tokens = new Map<string, string>();
	for (let at = 0; at < 12; at++) {
		const id = `acct-${at}`;
		await admin("POST", "/accounts", { id, email: `${id}@b.c`, name: id, account_type: "internal" });
		const made = await admin("POST", "/tokens", { account_id: id, priority_tier: "internal", environment: "dev" });
		tokens.set(id, made.body.token);
	}
	const ask = async (account: string) => {
		const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
			method: "POST",
			headers: { authorization: `Bearer ${tokens.get(account)}` },
			body: JSON.stringify({ model: "mock", max_tokens: 8, messages: [{ role: "user", content: "hi" }] }),
		});
		await response.text();
		return { status: response.status, queue: response.headers.get("x-tgw-queue") };
	};
	return {
		gateway,
		mock,
		folder,
		admin,
		ask,
		accounts: [...tokens.keys()],
		write: (text: string) => writeFileSync(file, text),
	};
}

test("an account keeps to its allocator, and operators see why", async () => {
	const bed = await open(config(50, 50));
	const halves = new Set<string>();
	for (const account of bed.accounts) {
		const expected = accountPoint(account) < 0.5 ? "P2" : "B3";
		for (let again = 0; again < 2; again++) expect(await bed.ask(account)).toEqual({ status: 200, queue: expected });
		halves.add(expected);
	}
	expect([...halves].sort()).toEqual(["B3", "P2"]);

	const inBuckets = bed.accounts.filter((account) => accountPoint(account) >= 0.5);
	const share = (100 * inBuckets.length) / bed.accounts.length;
	const { body } = await bed.admin("GET", "/scheduler/status?pool=default:bucket");
	expect(body).toMatchObject({
		pool: "default:bucket",
		pools: ["default:priority", "default:bucket"],
		allocator: "bucket",
		router: { share_pct: 50, traffic_pct: expect.closeTo(share, 6) },
		capacity: { max_concurrent: SLOTS / 2, mode: "static" },
	});
	expect(body.queues[3]).toMatchObject({ bucket: 3, label: "B3", total_enqueued: 2 * inBuckets.length });

	const explained = await bed.admin("POST", "/explain", { account_id: inBuckets[0], tier: "internal", model: "mock" });
	const steps = explained.body.steps.map(({ step, result }: { step: string; result: string }) => `${step}: ${result}`);
	expect(explained.body).toMatchObject({ outcome: "dispatch", pool: "default:bucket" });
	expect(steps.find((step: string) => step.startsWith("route"))).toMatch(
		new RegExp(
			`^route: account ${inBuckets[0]} stands at [\\d.]+ %, which is not below 50 %: the bucket allocator, which has 50 % of every pool$`,
		),
	);

	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toContain('tokligence_scheduler_router_share{pool="default:priority"} 0.5');
	expect(metrics).toContain('tokligence_scheduler_enqueued_total{pool="default:priority",priority="2"}');
	expect(metrics).toContain('tgw_bucket_capacity{pool="default:bucket",bucket_id="0"} 500');
	expect(metrics).not.toContain('tgw_bucket_capacity{pool="default:priority"');

	// A label says which half is meant.
	expect((await bed.admin("POST", "/scheduler/queues/B3/pause")).body).toMatchObject({ label: "B3", paused: true });
	expect((await bed.admin("GET", "/scheduler/status?pool=default:bucket")).body.queues[3].paused).toBe(true);
	// A half is no provider of its own.
	const { body: usage } = await bed.admin("GET", "/usage/requests?limit=100");
	const rows = usage.requests as { provider: string; queue: string }[];
	expect(rows).toHaveLength(24);
	expect(new Set(rows.map(({ provider, queue }) => `${provider} ${queue}`))).toEqual(
		new Set(["default P2", "default B3"]),
	);
	await until("all is given back", () => atRest(bed as never));
});

test("weights change with requests waiting: what waits follows its account, nothing is lost, none runs twice", async () => {
	const bed = await open(config(90, 10));
	const { core } = bed.gateway.plane.engine;
	for (const queue of ["P2", "B3"]) await bed.admin("POST", `/scheduler/queues/${queue}/pause`);
	const asked = Array.from({ length: 96 }, (_, at) => bed.ask(bed.accounts[at % bed.accounts.length]!));
	await until("they wait", () => core.waitingCount === 96);
	for (const [priority, bucket] of [
		[50, 50],
		[10, 90],
		[0, 100],
	] as const) {
		bed.write(config(priority, bucket));
		const reload = await bed.admin("POST", "/config/reload");
		expect(reload.body).toMatchObject({
			needs_restart: [],
			changed: expect.arrayContaining(["allocator.weighted_router.priority_weight"]),
		});
		const moved = bed.accounts.filter((account) => accountPoint(account) >= priority / 100).length * 8;
		expect(core.pools.map((pool) => pool.queues.reduce((sum, _, queue) => sum + pool.waiting(queue), 0))).toEqual([
			96 - moved,
			moved,
		]);
		expect(core.pools.map(({ capacity }) => capacity.maxConcurrent)).toEqual([priority / 10, bucket / 10]);
	}
	const { body } = await bed.admin("GET", "/requests?limit=500");
	expect(new Set(body.requests.map(({ pool, queue }: { pool: string; queue: string }) => `${pool} ${queue}`))).toEqual(
		new Set(["default:bucket B3"]),
	);
	await bed.admin("POST", "/scheduler/queues/B3/resume");
	expect(await Promise.all(asked)).toEqual(asked.map(() => ({ status: 200, queue: "B3" })));
	expect(bed.mock.ledger().requests).toHaveLength(96);
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toMatch(/tokligence_scheduler_router_moved_total\{pool="default:bucket"\} [1-9]/);
	await until("all is given back", () => atRest(bed as never));
});

test("the allocator itself changes with a start, not by a reload", async () => {
	const bed = await open(config(90, 10));
	bed.write(config(90, 10).replace("weighted_router", "bucket"));
	const { body } = await bed.admin("POST", "/config/reload");
	expect(body.needs_restart).toContain("request_scheduler.allocator");
	expect((await bed.ask(bed.accounts[0]!)).status).toBe(200);
});
