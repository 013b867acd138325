/** Reading the configuration again while requests wait: all that can change does, at once, or nothing does. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { watchFile } from "../../src/app/file-watch.ts";
import { type RunningGateway, startGateway } from "../../src/app/gateway.ts";
import { reloadReport } from "../../src/app/reload-report.ts";
import { loadConfig } from "../../src/config/load.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { tokenHash } from "../../src/stores/token-secret.ts";
import { OPEN, until } from "./running-gateway.ts";

interface Bed {
	readonly gateway: RunningGateway;
	readonly folder: string;
	readonly file: string;
	write(text: string): void;
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	admin(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: any }>;
	ask(model?: string, token?: string): Promise<{ readonly status: number; readonly code: string | undefined }>;
}

async function open(ini: string): Promise<Bed> {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-reload-"));
	const file = join(folder, "gateway.ini");
	const write = (text: string) => writeFileSync(file, text);
	write(ini);
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
	return {
		gateway,
		folder,
		file,
		write,
		admin: async (method, path, body) => {
			const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
				method,
				headers: { authorization: `Bearer ${adminToken}` },
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
			});
			return { status: response.status, body: await response.json() };
		},
		ask: async (model = "mock", token) => {
			const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
				body: JSON.stringify({ model, max_tokens: 4, messages: [{ role: "user", content: "hi" }] }),
			});
			const body = (await response.json()) as { error?: { code?: string } };
			return { status: response.status, code: body.error?.code };
		},
	};
}

const core = ({ gateway }: Bed) => gateway.plane.engine.core;

test("capacity grows for what waits already; queues, aliases and limits follow", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 1\nheadroom = 0\n`);
	await bed.admin("POST", "/scheduler/queues/P4/pause");
	const asked = Array.from({ length: 3 }, () => bed.ask());
	await until("they wait", () => core(bed).waitingCount === 3);
	await bed.admin("POST", "/scheduler/queues/P4/resume");
	bed.write(
		`${OPEN}[capacity]\nmax_concurrent = 5\nheadroom = 0\n[allocator.priority.level.4]\nmax_depth = 7\nweight = 3\n[models]\nold = mock\n`,
	);
	const { status, body } = await bed.admin("POST", "/config/reload");
	expect(status).toBe(200);
	expect(body.needs_restart).toEqual([]);
	expect(body.changed).toEqual(
		expect.arrayContaining([
			"capacity.max_concurrent",
			"provider.default.max_concurrent",
			"allocator.priority.level.4.max_depth",
			"allocator.priority.level.4.weight",
			"models.old",
		]),
	);
	expect((await Promise.all(asked)).map((one) => one.status)).toEqual([200, 200, 200]);
	const after = (await bed.admin("GET", "/scheduler/status")).body;
	expect(after.capacity.max_concurrent).toBe(5);
	expect(after.queues[4]).toMatchObject({ max_depth: 7, weight: 3 });
	expect((await bed.ask("old")).status).toBe(200);
	const shown = (await bed.admin("GET", "/config")).body;
	expect(shown.file).toBe(bed.file);
	expect(shown.values).toContainEqual(
		expect.objectContaining({ section: "capacity", key: "max_concurrent", value: "5", source: "file" }),
	);
	const log = (await bed.admin("GET", "/audit-log?action=config.reload")).body;
	expect(log.entries[0].after.changed).toContain("models.old");
});

test("a bad file changes nothing and tells every error with its line", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 1\n`);
	bed.write(`${OPEN}[capacity]\nmax_concurrent = 9\nmax_rps = -1\n[request_scheduler]\nscheduler = fastest\n`);
	const { status, body } = await bed.admin("POST", "/config/reload");
	expect(status).toBe(400);
	expect(body.error.message).toContain(`${bed.file}:7: [capacity] max_rps`);
	expect(body.error.message).toContain(`${bed.file}:9: [request_scheduler] scheduler`);
	expect(body.error.problems.map((problem: { path: string[] }) => problem.path)).toEqual([
		[`${bed.file}:7`, "capacity", "max_rps"],
		[`${bed.file}:9`, "request_scheduler", "scheduler"],
	]);
	expect(core(bed).pools[0]!.capacity.maxConcurrent).toBe(1);
	expect((await bed.admin("GET", "/audit-log?action=config.reload")).body.count).toBe(0);
	bed.write(`${OPEN}[capacity]\nmax_concurrent = 9\n[classifier.token]\nfile = ${join(bed.folder, "tokens.csv")}\n`);
	const missing = await bed.admin("POST", "/config/reload");
	expect(missing.body.error.message).toContain("tokens.csv: cannot be read");
	expect(core(bed).pools[0]!.capacity.maxConcurrent).toBe(1);
});

test("what only a start can change is named, keeps its value, and is named again", async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 2\n`);
	bed.write(
		`${OPEN}[capacity]\nmax_concurrent = 4\n[request_scheduler]\nscheduler = wfq\n[allocator.priority]\npriority_levels = 7\n[allocator.priority.level.6]\nmax_depth = 5\n[gateway]\nmax_body = 1MB\n`,
	);
	for (let i = 0; i < 2; i++) {
		const { body } = await bed.admin("POST", "/config/reload");
		expect(body.needs_restart).toEqual(
			expect.arrayContaining([
				"request_scheduler.scheduler",
				"allocator.priority.priority_levels",
				"allocator.priority.level.6.max_depth",
				"capacity.max_concurrent",
			]),
		);
		expect(body.changed).toEqual(i === 0 ? ["gateway.max_body"] : []);
	}
	const shown = (await bed.admin("GET", "/config")).body.values as { section: string; key: string; value: string }[];
	const value = (section: string, key: string) =>
		shown.find((one) => one.section === section && one.key === key)?.value;
	expect(value("request_scheduler", "scheduler")).toBe("hybrid");
	expect(value("allocator.priority.level.6", "max_depth")).toBeUndefined();
	expect(value("gateway", "max_body")).toBe("1MB");
	expect((await bed.admin("GET", "/scheduler/status")).body.queues).toHaveLength(5);
	expect((await bed.ask()).status).toBe(200);
});

test("an operator's change stays unless the same value changed in the file", async () => {
	const level = (depth: number, weight: number) =>
		`${OPEN}[allocator.priority.level.2]\nmax_depth = ${depth}\nweight = ${weight}\n`;
	const bed = await open(level(10, 1));
	await bed.admin("PATCH", "/scheduler/queues/P2", { max_depth: 99, weight: 9 });
	bed.write(level(10, 2));
	expect((await bed.admin("POST", "/config/reload")).body.changed).toEqual(["allocator.priority.level.2.weight"]);
	const { queues } = (await bed.admin("GET", "/scheduler/status")).body;
	expect(queues[2]).toMatchObject({ max_depth: 99, weight: 2 });
});

test("buckets: another base and another mapping while it runs, another count at the next start", async () => {
	const bucket = (more: string) =>
		`${OPEN}[request_scheduler]\nallocator = bucket\nscheduler = atleast\n[allocator.bucket]\n${more}\n`;
	const bed = await open(bucket("base_capacity_rps = 100\ncapacity_basis = total"));
	const ceiling = async () => (await bed.admin("GET", "/scheduler/status")).body.queues[0].limit_rps as number;
	const before = await ceiling();
	bed.write(
		bucket(
			"base_capacity_rps = 200\ncapacity_basis = total\n[allocator.bucket.tier_mappings]\nexternal_standard.default_bucket_pct = 0.65",
		),
	);
	const { body } = await bed.admin("POST", "/config/reload");
	expect(body.needs_restart).toEqual([]);
	expect(await ceiling()).toBeCloseTo(2 * before, 6);
	expect(core(bed).pools[0]!.capacity.maxRps).toBe(200);
	bed.write(bucket("base_capacity_rps = 300\ncapacity_basis = total\nbucket_count = 20"));
	expect((await bed.admin("POST", "/config/reload")).body.needs_restart).toEqual(
		expect.arrayContaining(["allocator.bucket.bucket_count", "allocator.bucket.base_capacity_rps"]),
	);
	expect(await ceiling()).toBeCloseTo(2 * before, 6);
});

test("the token file is read again, and who may come in without a token changes", async () => {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-tokens-"));
	onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
	const list = join(folder, "tokens.csv");
	const rows = (...tokens: string[]) =>
		writeFileSync(
			list,
			`sha256,account_id,tier\n${tokens.map((token) => `${tokenHash(token)},acme,internal\n`).join("")}`,
		);
	rows("tok_one");
	const ini = (open: boolean) => `[classifier.default]\nenabled = ${open}\n[classifier.token]\nfile = ${list}\n`;
	const bed = await open(ini(true));
	expect((await bed.ask("mock", "tok_two")).code).toBe("unknown_token");
	expect((await bed.ask()).status).toBe(200);
	rows("tok_two");
	bed.write(ini(false));
	expect((await bed.gateway.reload("test"))?.ok).toBe(true);
	expect((await bed.ask("mock", "tok_two")).status).toBe(200);
	expect((await bed.ask("mock", "tok_one")).code).toBe("unknown_token");
	expect((await bed.ask()).code).toBe("missing_token");
});

test("a changed file is noticed once, however it is replaced", async () => {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-watch-"));
	const file = join(folder, "gateway.ini");
	writeFileSync(file, "a");
	let seen = 0;
	const pending = new Set<() => void>();
	const timers = {
		after: (_: number, call: () => void) => {
			pending.add(call);
			return () => void pending.delete(call);
		},
	};
	const stop = watchFile(file, timers, () => {
		seen++;
	});
	onTestFinished(() => {
		stop();
		rmSync(folder, { recursive: true, force: true });
	});
	writeFileSync(file, "b");
	await until("a change is looked at", () => pending.size > 0);
	for (const call of pending) call();
	for (const call of pending) call();
	expect(seen).toBe(1);
});

test("the report names what holds and what waits", () => {
	expect(reloadReport({ ok: true, changed: [], needsRestart: [] })).toEqual(["reloaded: nothing changed"]);
	expect(reloadReport({ ok: true, changed: ["a.b"], needsRestart: ["c.d"] })).toEqual([
		"reloaded, in force now: a.b",
		"waiting for the next start: c.d",
	]);
});
