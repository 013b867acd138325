/**
 * The database locked, damaged, read-only, on a full disk, under a real gateway: what cannot be done is said, what was declared goes on
 * (requests are served, their rows wait in the journal), nothing acknowledged is lost, no request hangs.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { backUpDatabase, restoreDatabase } from "../../src/app/database.ts";
import { defaultRules } from "../../src/core/classify/default-rules.ts";
import { type MockLlm, startMockLlm } from "../../src/load/mock-llm-server.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { until } from "../integration/running-gateway.ts";
import { type GatewayProcess, runCommand, type StartFailure, spawnGateway } from "./gateway-process.ts";

/** Longer than any store may take; a request that needs this long hangs. */
const PATIENCE_MS = 30_000;

let folder: string;
let mock: MockLlm;
const running: GatewayProcess[] = [];
beforeEach(async () => {
	folder = mkdtempSync(join(tmpdir(), "tokligence-broken-"));
	mock = await startMockLlm({ speed: 100, seed: 1 });
});
afterEach(async () => {
	for (const gateway of running.splice(0)) await gateway.kill("SIGKILL");
	await mock.close();
	rmSync(folder, { recursive: true, force: true });
});

async function start(dataDir = folder, wrapper: readonly string[] = []): Promise<GatewayProcess> {
	const gateway = await spawnGateway({
		dataDir,
		upstream: mock.url,
		wrapper,
		set: ["classifier.default.enabled=false", "classifier.token.cache_ttl=1h"],
	});
	running.push(gateway);
	return gateway;
}

const startFailure = (dataDir = folder, wrapper: readonly string[] = []): Promise<StartFailure> =>
	start(dataDir, wrapper).then(
		() => expect.fail("it started"),
		(error: StartFailure) => error,
	);

async function makeTokens(count: number): Promise<string[]> {
	const stores = await openEmbedded({ path: join(folder, "tokligence.db"), thread: false }, Date.now, defaultRules(5));
	await stores.accounts.create({ id: "ops", email: "a@b.c", name: "Ops", accountType: "internal" }, "test");
	const tokens: string[] = [];
	while (tokens.length < count) {
		const made = await stores.tokens.create({ accountId: "ops", priorityTier: "internal" }, "test");
		if (made.ok) tokens.push(made.value.token);
	}
	await stores.close();
	return tokens;
}

interface Answered {
	readonly status: number;
	readonly requestId: string;
	readonly code: string | undefined;
}

async function ask(gateway: GatewayProcess, token: string): Promise<Answered> {
	const response = await fetch(`${gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { authorization: `Bearer ${token}` },
		body: JSON.stringify({ model: "mock", max_tokens: 5, messages: [{ role: "user", content: "hi" }] }),
		signal: AbortSignal.timeout(PATIENCE_MS),
	});
	const body = (await response.json()) as { error?: { code?: string } };
	return { status: response.status, requestId: response.headers.get("x-request-id") ?? "", code: body.error?.code };
}

async function askMany(gateway: GatewayProcess, token: string, count: number): Promise<string[]> {
	const answers = await Promise.all(Array.from({ length: count }, () => ask(gateway, token)));
	expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
	return answers.map(({ requestId }) => requestId);
}

async function admin(gateway: GatewayProcess, dataDir: string, method: string, path: string, body?: unknown) {
	const adminToken = readFileSync(join(dataDir, "admin-token"), "utf8").trim();
	const response = await fetch(`${gateway.adminUrl}${path}`, {
		method,
		headers: { authorization: `Bearer ${adminToken}` },
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
		signal: AbortSignal.timeout(PATIENCE_MS),
	});
	return { status: response.status, text: await response.text() };
}

/** Each of them has one row, with the engine's own count. */
async function expectOnRecord(gateway: GatewayProcess, dataDir: string, ids: readonly string[]): Promise<void> {
	const { text } = await admin(gateway, dataDir, "GET", "/v1/admin/usage/requests?limit=1000");
	const { requests } = JSON.parse(text) as { requests: readonly Record<string, unknown>[] };
	const rows = new Map<unknown, Record<string, unknown>>();
	for (const row of requests) {
		expect(rows.has(row["request_id"])).toBe(false);
		rows.set(row["request_id"], row);
	}
	for (const id of ids) {
		const counted = mock.ledger(id).requests[0]!;
		expect(rows.get(id), id).toMatchObject({
			outcome: "completed",
			prompt_tokens: counted.prompt_tokens,
			completion_tokens: counted.completion_tokens,
		});
	}
}

const unsent = async (gateway: GatewayProcess) =>
	Number(
		/^tokligence_journal_unsent_records (\d+)/m.exec(await (await fetch(`${gateway.adminUrl}/metrics`)).text())?.[1],
	);

test("locked by another process: requests are served, changes are refused in time, rows arrive afterwards, once", async () => {
	const [cached, fresh] = (await makeTokens(2)) as [string, string];
	const gateway = await start();
	const ids = await askMany(gateway, cached, 2);
	await until("the ledger has them", async () => (await unsent(gateway)) === 0);
	const other = new DatabaseSync(join(folder, "tokligence.db"));
	other.exec("BEGIN IMMEDIATE");
	const change = admin(gateway, folder, "POST", "/v1/admin/accounts", {
		email: "x@y.z",
		name: "X",
		account_type: "internal",
	});
	ids.push(...(await askMany(gateway, cached, 10)), ...(await askMany(gateway, fresh, 5)));
	expect((await ask(gateway, "tok_unknown")).code).toBe("unknown_token");
	expect(await unsent(gateway)).toBe(15);
	expect(await change).toMatchObject({ status: 503, text: expect.stringContaining("nothing was changed") });
	other.exec("COMMIT");
	other.close();
	await until("the ledger has caught up", async () => (await unsent(gateway)) === 0);
	await expectOnRecord(gateway, folder, ids);
});

test("locked, then killed, then damaged: the start says what to do; after a restore the journal brings all back", async () => {
	const [token] = (await makeTokens(1)) as [string];
	const backup = join(folder, "backup.db");
	const path = join(folder, "tokligence.db");
	await backUpDatabase(folder, backup);
	const gateway = await start();
	const other = new DatabaseSync(path);
	other.exec("BEGIN IMMEDIATE");
	const ids = await askMany(gateway, token, 10);
	await gateway.kill("SIGKILL");
	other.close();
	writeFileSync(path, "no database any more".repeat(1000));
	rmSync(`${path}-wal`, { force: true });
	const failure = await startFailure();
	expect(failure.code).toBe(1);
	expect(failure.message).toContain("tokligence db restore");
	expect(failure.message).not.toMatch(/\n\s+at /);
	await restoreDatabase(folder, backup);
	await expectOnRecord(await start(), folder, ids);
});

test("damaged under a running gateway: tokens are known from the cache and the snapshot, all rows survive", async () => {
	const [cached, fresh] = (await makeTokens(2)) as [string, string];
	const backup = join(folder, "backup.db");
	const path = join(folder, "tokligence.db");
	const gateway = await start();
	const ids = await askMany(gateway, cached, 5);
	await backUpDatabase(folder, backup);
	for (const file of [path, `${path}-wal`]) {
		const junk = Buffer.alloc(statSync(file).size, 0x5a);
		writeFileSync(file, junk, { flag: "r+" });
	}
	ids.push(...(await askMany(gateway, cached, 10)));
	ids.push(...(await askMany(gateway, fresh, 1)));
	expect((await ask(gateway, "tok_unknown")).status).toBeGreaterThanOrEqual(401);
	await gateway.kill("SIGKILL");
	await restoreDatabase(folder, backup);
	await expectOnRecord(await start(), folder, ids);
});

test("a data folder that may not be written: one sentence, status 1", async (context) => {
	if (process.getuid?.() !== 0) context.skip("another user's file needs root");
	await makeTokens(1);
	const nobody = 65_534;
	chownSync(folder, nobody, nobody);
	chmodSync(folder, 0o500);
	for (const words of [
		["start", "--upstream", mock.url, "--port", "0", "--admin-port", "0"],
		["token", "list"],
		["db", "migrate"],
	]) {
		const { code, error } = await runCommand([...words, "--data-dir", folder], { uid: nobody });
		expect(code, words.join(" ")).toBe(1);
		expect(error).toMatch(/may read and write there|accepts no writes|cannot be written/);
		expect(error).not.toMatch(/\n\s+at /);
	}
	chmodSync(folder, 0o700);
});

describe("on a small disk of its own", () => {
	const mayMount = spawnSync("unshare", ["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status === 0;
	if (!mayMount)
		console.warn("SKIPPED: full and read-only disks need `unshare` and user namespaces, which this machine refuses");

	/** `folder` becomes a disk of `size`, seen by this process as /proc/<pid>/root/<folder>. */
	const onDisk = (script: string) => ["unshare", "-Urm", "sh", "-ec", `${script}; exec "$@"`, "sh"];

	test.skipIf(!mayMount)(
		"full: requests are served from memory, changes are refused; with room again all is written",
		async () => {
			const [token] = (await makeTokens(1)) as [string];
			const disk = join(folder, "disk");
			mkdirSync(disk);
			const gateway = await start(
				disk,
				onDisk(`mount -t tmpfs -o size=2m tmpfs ${disk}; cp ${join(folder, "tokligence.db")} ${disk}`),
			);
			const seen = `/proc/${gateway.pid}/root${disk}`;
			const ids = await askMany(gateway, token, 3);
			await until("the ledger has them", async () => (await unsent(gateway)) === 0);
			expect(() => writeFileSync(join(seen, "filler"), Buffer.alloc(4_000_000))).toThrow("ENOSPC");
			const account = { email: "x@y.z", name: "X", account_type: "internal" };
			for (let round = 0; round < 5; round++) ids.push(...(await askMany(gateway, token, 40)));
			let change = await admin(gateway, seen, "POST", "/v1/admin/accounts", account);
			for (let n = 0; change.status === 201 && n < 500; n++) {
				change = await admin(gateway, seen, "POST", "/v1/admin/accounts", account);
			}
			expect(change).toMatchObject({ status: 503, text: expect.stringContaining("full") });
			ids.push(...(await askMany(gateway, token, 20)));
			expect(await unsent(gateway)).toBeGreaterThan(0);
			rmSync(join(seen, "filler"));
			await until("all is written", async () => (await unsent(gateway)) === 0);
			expect((await admin(gateway, seen, "POST", "/v1/admin/accounts", account)).status).toBe(201);
			await expectOnRecord(gateway, seen, ids);
		},
	);

	test.skipIf(!mayMount)("read-only: the start says so", async () => {
		await makeTokens(1);
		const failure = await startFailure(
			folder,
			onDisk(`mount --bind ${folder} ${folder}; mount -o remount,bind,ro ${folder}`),
		);
		expect(failure.code).toBe(1);
		expect(failure.message).toMatch(/EROFS|read.only/i);
		expect(failure.message).not.toMatch(/\n\s+at /);
	});
});
