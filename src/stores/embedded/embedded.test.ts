import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ledgerRow } from "../../../test/contracts/ledger-row.ts";
import { backUp, restore } from "./backup.ts";
import { migrate, readMigrations, schemaStatus } from "./migrate.ts";
import { type EmbeddedStores, openEmbedded } from "./open.ts";
import { SqliteDatabase } from "./sqlite-database.ts";

const NOW = Date.UTC(2026, 0, 15);
const RULES = [{ name: "Catch-all", priorityOrder: 1000 }];
const SHOP = { id: "shop", email: "", name: "Shop", accountType: "external" } as const;

let folder: string;
let path: string;
const opened: EmbeddedStores[] = [];

beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tgw-embedded-"));
	path = join(folder, "gateway.db");
});
afterEach(async () => {
	for (const stores of opened.splice(0)) await stores.close();
	rmSync(folder, { recursive: true, force: true });
});

async function open(
	options: { maxPages?: number; lockTimeoutMs?: number; thread?: boolean } = {},
): Promise<EmbeddedStores> {
	const stores = await openEmbedded({ path, thread: false, ...options }, () => NOW, RULES);
	opened.push(stores);
	return stores;
}

describe("schema", () => {
	it("is made at first start, once, with the default rules, readable by the owner only", async () => {
		const first = await open();
		expect(first.migrated).toEqual(["0001_initial", "0002_windows_and_quotas", "0003_quota_checkpoints"]);
		expect((await first.rules.all()).map(({ name }) => name)).toEqual(["Catch-all"]);
		expect(statSync(path).mode & 0o777).toBe(0o600);
		await opened.pop()?.close();
		const second = await open();
		expect(second.migrated).toEqual([]);
		expect(await schemaStatus(second.database)).toEqual({ current: 3, latest: 3, pending: [] });
	});

	it("is made once when several processes start at once", async () => {
		const script = `
			const { openEmbedded } = await import(process.argv[1]);
			const stores = await openEmbedded({ path: process.argv[2] }, Date.now, [{ name: "Catch-all", priorityOrder: 1000 }]);
			process.stdout.write(stores.migrated.join(",") + "|" + (await stores.rules.all()).length);
			await stores.close();`;
		const module = new URL("./open.ts", import.meta.url).href;
		const results = await Promise.all(
			[1, 2, 3].map(async () => {
				const child = spawn(process.execPath, ["--input-type=module", "-e", script, module, path]);
				let output = "";
				let errors = "";
				child.stdout.on("data", (data) => {
					output += data;
				});
				child.stderr.on("data", (data) => {
					errors += data;
				});
				const [code] = await once(child, "close");
				expect(errors, errors).toBe("");
				expect(code).toBe(0);
				return output;
			}),
		);
		expect(results.sort()).toEqual(
			["0001_initial,0002_windows_and_quotas,0003_quota_checkpoints|1", "|1", "|1"].sort(),
		);
	});

	it("upgrades an older file and keeps its content", async () => {
		const old = await SqliteDatabase.open({ path, thread: false });
		await migrate(old, () => NOW, readMigrations().slice(0, 1));
		expect(await schemaStatus(old)).toEqual({
			current: 1,
			latest: 3,
			pending: ["0002_windows_and_quotas", "0003_quota_checkpoints"],
		});
		await old.transaction((session) =>
			session.run(
				"INSERT INTO accounts (id, email, name, account_type, status, created_at, updated_at) VALUES ('old', '', 'Old', 'internal', 'active', 1, 1)",
				[],
			),
		);
		await old.close();
		const stores = await open();
		expect(stores.migrated).toEqual(["0002_windows_and_quotas", "0003_quota_checkpoints"]);
		expect((await stores.accounts.get("old"))?.name).toBe("Old");
	});

	it("applies nothing of a migration that fails half way", async () => {
		const database = await SqliteDatabase.open({ path, thread: false });
		const bad = [
			...readMigrations(),
			{ version: 3, name: "0003_bad", sql: "CREATE TABLE half (id TEXT); CREATE TABL oops;" },
		];
		await expect(migrate(database, () => NOW, bad)).rejects.toThrow(/syntax error/);
		expect((await schemaStatus(database)).current).toBe(0);
		await database.close();
	});

	it("refuses a newer file with a sentence, and leaves it alone", async () => {
		await open();
		await opened.pop()?.close();
		const raw = new DatabaseSync(path);
		raw.exec("INSERT INTO schema_migrations VALUES (7, '0007_future', 0)");
		raw.close();
		await expect(open()).rejects.toMatchObject({
			kind: "newer_schema",
			message: expect.stringContaining("schema version 7, this program knows versions up to 3: use the newer program"),
		});
	});
});

describe("backup and restore", () => {
	it("copies a database in use, and puts it back over later changes", async () => {
		const backup = join(folder, "backup.db");
		const stores = await open();
		await stores.accounts.create(SHOP, "admin");
		await backUp(stores.database, backup);
		expect(statSync(backup).mode & 0o777).toBe(0o600);
		await expect(backUp(stores.database, backup)).rejects.toThrow(/exists already/);
		await stores.accounts.update("shop", { name: "Changed" }, "admin");
		await expect(restore(backup, path, join(folder, "kept.db"))).resolves.toBe(join(folder, "kept.db"));
		await opened.pop()?.close();
		const restored = await open();
		expect((await restored.accounts.get("shop"))?.name).toBe("Shop");
	});

	it("refuses while another process writes", async () => {
		const backup = join(folder, "backup.db");
		await backUp((await open()).database, backup);
		const other = new DatabaseSync(path);
		other.exec("BEGIN IMMEDIATE");
		await expect(restore(backup, path, join(folder, "kept.db"))).rejects.toMatchObject({ kind: "locked" });
		other.close();
	});

	it("refuses a damaged or foreign backup, and replaces a damaged database", async () => {
		const backup = join(folder, "backup.db");
		const stores = await open();
		await stores.accounts.create(SHOP, "admin");
		await backUp(stores.database, backup);
		await opened.pop()?.close();
		writeFileSync(join(folder, "junk.db"), "this is no database, whatever its name says".repeat(100));
		await expect(restore(join(folder, "junk.db"), path, join(folder, "kept.db"))).rejects.toMatchObject({
			kind: "corrupt",
		});
		new DatabaseSync(join(folder, "foreign.db")).exec("CREATE TABLE t (x)");
		await expect(restore(join(folder, "foreign.db"), path, join(folder, "kept.db"))).rejects.toMatchObject({
			kind: "corrupt",
		});
		writeFileSync(path, "damaged".repeat(1000));
		await restore(backup, path, join(folder, "kept.db"));
		expect(existsSync(`${path}.restoring`)).toBe(false);
		expect(readFileSync(join(folder, "kept.db"), "utf8")).toContain("damaged");
		expect((await (await open()).accounts.get("shop"))?.name).toBe("Shop");
	});
});

describe.each([{ thread: false }, { thread: true }])("failures, thread: $thread", ({ thread }) => {
	it("locked: waits, then says so; reads go on; works again afterwards", async () => {
		const stores = await open({ thread, lockTimeoutMs: 30 });
		const other = new DatabaseSync(path);
		other.exec("BEGIN IMMEDIATE");
		const blocked = stores.accounts.create(SHOP, "admin");
		expect(await stores.rules.all()).toHaveLength(1);
		await expect(blocked).rejects.toMatchObject({ name: "StoreError", kind: "locked" });
		other.exec("COMMIT");
		other.close();
		expect((await stores.accounts.create(SHOP, "admin")).ok).toBe(true);
	});

	it("full: refuses the write as a whole, names it, keeps what was there", async () => {
		const stores = await open({ thread, maxPages: 40 });
		await stores.accounts.create(SHOP, "admin");
		const rows = Array.from({ length: 2000 }, (_, i) => ledgerRow({ requestId: `r${i}` }));
		await expect(stores.ledger.append(rows)).rejects.toMatchObject({
			kind: "full",
			message: expect.stringContaining("free disk space"),
		});
		expect((await stores.ledger.sum({}, []))[0]?.requests).toBe(0);
		expect((await stores.accounts.get("shop"))?.name).toBe("Shop");
		expect(await stores.ledger.append(rows.slice(0, 5))).toBe(5);
	});

	it("corrupt: says so at opening or at reading, and what to do", async () => {
		writeFileSync(path, "this is no database".repeat(500));
		await expect(open({ thread })).rejects.toMatchObject({
			kind: "corrupt",
			message: expect.stringContaining("db restore"),
		});
		rmSync(path);
		const stores = await open({ thread });
		for (let i = 0; i < 200; i++) await stores.accounts.create({ ...SHOP, id: `a${i}` }, "admin");
		await opened.pop()?.close();
		const bytes = readFileSync(path);
		bytes.fill(0x5a, 4096);
		writeFileSync(path, bytes);
		const reading = openEmbedded({ path, thread }, () => NOW).then(async (damaged) => {
			opened.push(damaged);
			await damaged.accounts.list({}, {});
		});
		await expect(reading).rejects.toMatchObject({ kind: "corrupt" });
	});

	it("unavailable: a folder that does not exist", async () => {
		path = join(folder, "nowhere", "gateway.db");
		await expect(open({ thread })).rejects.toMatchObject({ kind: "unavailable" });
	});

	it("read-only: reads work, writes are refused by name", async () => {
		await open();
		await opened.pop()?.close();
		const database = await SqliteDatabase.open({ path, thread, readOnly: true });
		expect(await database.read("SELECT COUNT(*) AS n FROM routing_rules", [])).toEqual([{ n: 1 }]);
		await expect(database.transaction((session) => session.run("DELETE FROM routing_rules", []))).rejects.toMatchObject(
			{ kind: "read_only" },
		);
		await database.close();
	});
});

it("read-only file of another owner is named as such", async (context) => {
	if (process.getuid?.() === 0) context.skip();
	await open();
	await opened.pop()?.close();
	chmodSync(path, 0o400);
	await expect(open()).rejects.toMatchObject({ kind: "read_only" });
});

it("a commit of one process is seen by the other's next read", async () => {
	const one = await open({ thread: true });
	const two = await open({ thread: true });
	await one.accounts.create(SHOP, "admin");
	expect((await two.accounts.get("shop"))?.name).toBe("Shop");
	await Promise.all(
		Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : two).accounts.create({ ...SHOP, id: `p${i}` }, "admin")),
	);
	const versions = await Promise.all([one.policy.version(), two.policy.version()]);
	expect(versions[0]).toBe(versions[1]);
	expect((await one.audit.list({}, {})).items.map(({ id }) => id)).toEqual(
		Array.from({ length: 22 }, (_, i) => 22 - i),
	);
});
