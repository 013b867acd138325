/**
 * A gateway with levels becomes one with buckets under traffic, all through the command line: `start`, four steps of `migrate-to-bucket-scheduler`,
 * two `config reload`s and two restarts. Clients behave as the official ones do (they try again while nobody listens, or on a 503); every
 * request is answered once, the engine ran none twice, and each account is where the weights put it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { accountPoint } from "../../src/core/allocate/weighted-router.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { until } from "./running-gateway.ts";

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const ACCOUNTS = Array.from({ length: 12 }, (_, at) => `acct-${at}`);
const PER_STAGE = 30;
const RETRY_MS = 20;

const LEVELS = `# the file of an installation
[request_scheduler]
allocator = priority   ; levels, until now
scheduler = atleast
[capacity]
max_concurrent = 10
[gateway]
listen = 127.0.0.1:0
`;

interface Answered {
	readonly account: string;
	readonly status: number;
	readonly queue: string | null;
}

test("levels become buckets under traffic, and nothing is lost", { timeout: 400_000 }, async () => {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-stages-"));
	const file = join(folder, "gateway.ini");
	const dataDir = join(folder, "data");
	writeFileSync(file, LEVELS);
	const mock = await startMockLlm({ speed: 50, seed: 1, models: ["mock"] });
	const children = new Set<ChildProcess>();
	onTestFinished(async () => {
		for (const child of children) child.kill("SIGKILL");
		await mock.close();
		rmSync(folder, { recursive: true, force: true });
	});

	const run = (...words: string[]) => {
		const env = { PATH: process.env["PATH"], TOKLIGENCE_DATA_DIR: dataDir };
		const child = spawn(process.execPath, [MAIN, ...words], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
		children.add(child);
		const seen = { text: "" };
		for (const stream of [child.stdout, child.stderr])
			stream.on("data", (chunk: Buffer) => {
				seen.text += chunk;
			});
		const ends = once(child, "close").then(([code]) => code as number | null);
		return { child, seen, ends };
	};
	const succeeds = async (...words: string[]) => {
		const { seen, ends } = run(...words);
		expect(await ends, seen.text).toBe(0);
		return seen.text;
	};
	const start = async (port: string, adminPort: string) => {
		const ports = ["--port", port, "--admin-port", adminPort];
		const gateway = run("start", "--config", file, "--upstream", mock.url, ...ports, "--json");
		await until(
			"it is ready",
			() => {
				if (gateway.child.exitCode !== null) throw new Error(gateway.seen.text);
				return gateway.seen.text.includes('"event":"ready"');
			},
			90_000,
		);
		const { data, admin } = JSON.parse(/^\{"event":"ready".*$/m.exec(gateway.seen.text)![0]);
		return { ...gateway, data: data as string, admin: admin as string };
	};

	let gateway = await start("0", "0");
	const { data, admin } = gateway;
	const restart = async () => {
		gateway.child.kill("SIGTERM");
		expect(await gateway.ends, gateway.seen.text).toBe(0);
		gateway = await start(new URL(data).port, new URL(admin).port);
	};
	const adminToken = () => readFileSync(join(dataDir, "admin-token"), "utf8").trim();
	const post = async (path: string, body: object) => {
		const headers = { authorization: `Bearer ${adminToken()}` };
		const response = await fetch(`${admin}/v1/admin${path}`, { method: "POST", headers, body: JSON.stringify(body) });
		return (await response.json()) as { token: string };
	};
	const tokens = new Map<string, string>();
	for (const id of ACCOUNTS) {
		await post("/accounts", { id, email: `${id}@b.c`, name: id, account_type: "internal" });
		const { token } = await post("/tokens", { account_id: id, priority_tier: "internal", environment: "dev" });
		tokens.set(id, token);
	}

	const answered: Answered[] = [];
	let isOver = false;
	let tries = 0;
	/** One after the other, each until it is answered. */
	const client = async (account: string) => {
		const headers = { authorization: `Bearer ${tokens.get(account)}` };
		const body = JSON.stringify({ model: "mock", max_tokens: 6, messages: [{ role: "user", content: "hi" }] });
		while (!isOver) {
			for (;;) {
				tries++;
				const response = await fetch(`${data}/v1/chat/completions`, { method: "POST", headers, body }).catch(
					() => undefined,
				);
				await response?.text();
				if (response !== undefined && response.status !== 503) {
					answered.push({ account, status: response.status, queue: response.headers.get("x-tgw-queue") });
					break;
				}
				await delay(RETRY_MS);
			}
		}
	};
	const clients = ACCOUNTS.map(client);
	/** Queues by account of requests that began after now. */
	const queuesFromNow = async () => {
		// Those under way began before: each of the clients has one at most.
		const from = answered.length + clients.length;
		await until("enough are answered", () => answered.length >= from + PER_STAGE, 60_000);
		return answered.slice(from);
	};
	const expectHalves = (some: readonly Answered[], bucketShare: number) => {
		for (const { account, status, queue } of some)
			expect({ account, status, queue: queue?.[0] }).toEqual({
				account,
				status: 200,
				queue: accountPoint(account) < 1 - bucketShare ? "P" : "B",
			});
	};
	const migrate = (stage: string, ...more: string[]) =>
		succeeds("migrate-to-bucket-scheduler", "--config", file, "--stage", stage, ...more);

	expectHalves(await queuesFromNow(), 0);
	await migrate("90/10", "--base-capacity-rps", "2000");
	await restart();
	expectHalves(await queuesFromNow(), 0.1);
	for (const share of [0.5, 0.9]) {
		await migrate("next", "--no-policy");
		expect(await succeeds("config", "reload", "--config", file)).toContain("weighted_router");
		expectHalves(await queuesFromNow(), share);
	}
	const status = await fetch(`${admin}/v1/admin/scheduler/status?pool=default:bucket`, {
		headers: { authorization: `Bearer ${adminToken()}` },
	});
	expect(await status.json()).toMatchObject({ allocator: "bucket", router: { share_pct: 90 } });
	await migrate("done", "--no-policy");
	await restart();
	expectHalves(await queuesFromNow(), 1);
	isOver = true;
	await Promise.all(clients);

	expect(answered.filter(({ status }) => status !== 200)).toEqual([]);
	// Each answer is one run of the engine: what was tried again had not been taken.
	expect(mock.ledger().requests).toHaveLength(answered.length);
	expect(tries).toBeGreaterThan(answered.length);
	const text = readFileSync(file, "utf8");
	expect(text).toMatch(/^allocator = bucket {3}; levels, until now$/m);
	expect(text).not.toContain("weighted_router");
	const { requests } = JSON.parse(await succeeds("usage", "--requests", "--json", "--config", file)) as {
		requests: { queue: string }[];
	};
	expect(requests[0]!.queue).toMatch(/^B/);
	gateway.child.kill("SIGTERM");
	expect(await gateway.ends, gateway.seen.text).toBe(0);
});
