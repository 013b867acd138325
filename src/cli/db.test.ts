import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { lockDataFolder } from "../app/data-folder-lock.ts";
import type { CommandIo } from "./config-options.ts";
import { dbCommand } from "./db.ts";
import { tokenCommand } from "./token.ts";
import { usageCommand } from "./usage.ts";

const VERSION_1 = new URL("../../test/fixtures/database/version-1.sql", import.meta.url);
const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

let folder: string;
let path: string;
beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tokligence-db-"));
	path = join(folder, "tokligence.db");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function run(command: (io: CommandIo) => ReturnType<typeof dbCommand>, ...words: string[]) {
	const result = { out: "", error: "", code: 0 };
	const io: CommandIo = {
		env: {},
		out: (text) => {
			result.out += `${text}\n`;
		},
		error: (text) => {
			result.error += `${text}\n`;
		},
		setExitCode: (code) => {
			result.code = code;
		},
	};
	await command(io).parseAsync([...words, "--data-dir", folder], { from: "user" });
	return result;
}
const db = (...words: string[]) => run(dbCommand, ...words);
const status = async () => JSON.parse((await db("status", "--check", "--json")).out);

function makeVersion1(): void {
	const database = new DatabaseSync(path);
	database.exec(readFileSync(VERSION_1, "utf8"));
	database.close();
}

async function migrateInProcess(): Promise<string[]> {
	const child = spawn(process.execPath, [MAIN, "db", "migrate", "--data-dir", folder, "--json"]);
	let output = "";
	child.stdout.on("data", (data) => {
		output += data;
	});
	const [code] = await once(child, "close");
	expect(code).toBe(0);
	return JSON.parse(output).applied;
}

test("status makes nothing; migrate makes the database; then nothing is pending", async () => {
	const before = await db("status", "--json");
	expect(before.code).toBe(1);
	expect(JSON.parse(before.out)).toMatchObject({ path, exists: false, schema_version: 0 });
	expect(readdirSync(folder)).toEqual([]);
	const { applied } = JSON.parse((await db("migrate", "--json")).out);
	expect(applied[0]).toBe("0001_initial");
	const after = await status();
	expect(after).toMatchObject({ exists: true, schema_version: applied.length, pending: [], damage: [] });
	expect((await db("status")).code).toBe(0);
	expect((await db("migrate")).out).toContain("up to date");
});

test("a version 1 file is brought up to date once by two processes at once, and keeps everything", async () => {
	makeVersion1();
	const before = await status();
	expect(before).toMatchObject({ schema_version: 1, damage: [] });
	expect(before.pending.length).toBe(before.latest_version - 1);
	const applied = await Promise.all([migrateInProcess(), migrateInProcess()]);
	expect(applied.map((names) => names.length).sort()).toEqual([0, before.pending.length]);
	expect(applied.flat()).toEqual(before.pending);
	expect(await status()).toMatchObject({ pending: [], damage: [] });

	const tokens = JSON.parse((await run(tokenCommand, "list", "--json")).out).tokens;
	expect(tokens).toMatchObject([
		{ id: "token_one", status: "active", may_use_critical: true, quota: { tps_limit: 300 }, total_requests: 2 },
		{ id: "token_two", status: "revoked", allowed_models: ["llama-*"], revoked_reason: "left" },
	]);
	const { requests } = JSON.parse((await run(usageCommand, "--requests", "--json")).out);
	expect(requests).toMatchObject([
		{ request_id: "req_two", outcome: "client_closed" },
		{ request_id: "req_one", prompt_tokens: 100, completion_tokens: 50 },
	]);
	// rules that were there are not joined by the defaults of a first start
	const raw = new DatabaseSync(path, { readOnly: true });
	expect(raw.prepare("SELECT rule_name FROM routing_rules ORDER BY priority_order").all()).toEqual([
		{ rule_name: "Nightly" },
		{ rule_name: "Everything else" },
	]);
	raw.close();
});

test("the schema is not changed under a running gateway", async () => {
	makeVersion1();
	const holder = spawn(process.execPath, ["-e", "process.stdin.resume()"]);
	writeFileSync(join(folder, "gateway.pid"), String(holder.pid));
	const refused = await db("migrate");
	expect(refused.code).toBe(1);
	expect(refused.error).toContain(`process ${holder.pid}`);
	expect((await status()).schema_version).toBe(1);
	writeFileSync(join(folder, "backup.db"), "");
	expect((await db("restore", join(folder, "backup.db"))).error).toContain(`process ${holder.pid}`);
	holder.kill();
});

test("backup, restore: what was changed since is undone, and the replaced database is kept", async () => {
	makeVersion1();
	await db("migrate");
	const backup = join(folder, "monday.db");
	expect((await db("backup", backup)).code).toBe(0);
	expect((await db("backup", backup)).error).toContain("exists already");
	await run(tokenCommand, "revoke", "token_one");
	writeFileSync(join(folder, "tokens.snapshot"), "of the database before");
	const restored = JSON.parse((await db("restore", backup, "--json")).out);
	expect(existsSync(restored.replaced)).toBe(true);
	expect(existsSync(join(folder, "tokens.snapshot"))).toBe(false);
	const get = JSON.parse((await run(tokenCommand, "get", "token_one", "--json")).out);
	expect(get.status).toBe("active");
});

test("damage is found, named with what to do, and replaced by a backup", async () => {
	makeVersion1();
	await db("migrate");
	const backup = join(folder, "monday.db");
	await db("backup", backup);
	const bytes = readFileSync(path);
	bytes.fill(0x5a, 4096);
	writeFileSync(path, bytes);
	const found = await db("status", "--check");
	expect(found.code).toBe(1);
	expect(found.out + found.error).toContain("tokligence db restore");
	expect((await db("restore", backup)).code).toBe(0);
	expect((await status()).damage).toEqual([]);
	expect((await db("backup", join(folder, "nowhere", "b.db"))).error).toContain("cannot be written");
	expect((await db("restore", join(folder, "missing.db"))).code).toBe(1);
});

test("no backup of a database that is not there", async () => {
	expect(await db("backup", join(folder, "b.db"))).toMatchObject({ code: 1, out: "" });
	expect(readdirSync(folder)).toEqual([]);
});

test("a lock of a dead process is taken over, that of a living one is not", () => {
	writeFileSync(join(folder, "gateway.pid"), "999999999");
	lockDataFolder(folder)();
	writeFileSync(join(folder, "gateway.pid"), String(process.ppid));
	expect(() => lockDataFolder(folder)).toThrow(`in use by process ${process.ppid}`);
	expect(readdirSync(folder)).toEqual(["gateway.pid"]);
});
