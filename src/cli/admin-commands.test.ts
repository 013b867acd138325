/** `account`, `token`, `rule`, `usage`, `status`: over the store of a folder, and through the admin plane of the process that holds it. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { expect, onTestFinished, test } from "vitest";
import { obtainAdminToken, writeAdminUrl } from "../app/admin-files.ts";
import { systemCalendar } from "../app/calendar.ts";
import { lockDataFolder } from "../app/data-folder-lock.ts";
import { openQuotas } from "../app/quotas.ts";
import { systemTimers } from "../app/system.ts";
import { adminServer } from "../http/admin/admin-server.ts";
import type { LedgerRow } from "../ports/ledger-store.ts";
import { openEmbedded } from "../stores/embedded/open.ts";
import { FileJournal } from "../stores/journal/file-journal.ts";
import { journalFiles } from "../stores/journal/journal-files.ts";
import { accountCommand } from "./account.ts";
import type { CommandIo } from "./config-options.ts";
import { ruleCommand } from "./rule.ts";
import { statusCommand } from "./status.ts";
import { tokenCommand } from "./token.ts";
import { usageCommand } from "./usage.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function dataFolder(): string {
	const folder = mkdtempSync(join(tmpdir(), "cli-"));
	onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

interface Run {
	readonly out: string;
	readonly error: string;
	readonly exitCode: number;
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	readonly json: any;
}

async function run(words: readonly string[], dataDir: string, input = ""): Promise<Run> {
	const out: string[] = [];
	const errors: string[] = [];
	let exitCode = 0;
	const io: CommandIo = {
		// an empty configuration of its own: what lies in the working directory is not tested here
		env: { TOKLIGENCE_CONFIG: join(dataDir, "gateway.ini") },
		out: (text) => out.push(text),
		error: (text) => errors.push(text),
		setExitCode: (code) => {
			exitCode = code;
		},
	};
	writeFileSync(join(dataDir, "gateway.ini"), "");
	const commands: Record<string, () => Command> = {
		account: () => accountCommand(io),
		token: () => tokenCommand(io, { readInput: async () => input }),
		rule: () => ruleCommand(io),
		usage: () => usageCommand(io),
		status: () => statusCommand(io),
	};
	const [name, ...rest] = words;
	const where = words[1] === "hash" ? [] : ["--data-dir", dataDir];
	await commands[name!]!().parseAsync([...rest, ...where], { from: "user" });
	const text = out.join("\n");
	let json: unknown;
	if (words.includes("--json") && text !== "") json = JSON.parse(text);
	return { out: text, error: errors.join("\n"), exitCode, json };
}

const NEW_ACCOUNT = [
	"account",
	"create",
	"--email",
	"a@b.c",
	"--name",
	"A",
	"--type",
	"internal",
	"--id",
	"acct",
	"--json",
];

test("an account and its tokens, from creation to revocation, without a gateway", async () => {
	const folder = dataFolder();
	expect((await run(NEW_ACCOUNT, folder)).json).toMatchObject({
		id: "acct",
		account_type: "internal",
		status: "active",
	});
	const words = ["token", "create", "--account", "acct", "--tier", "internal", "--environment", "production"];
	const created = (await run([...words, "--allowed-models", "a, b*", "--max-priority", "1", "--json"], folder)).json;
	expect(created.token).toMatch(/^tok_internal_production_/);
	const shown = (await run(["token", "get", created.token_id, "--json"], folder)).json;
	expect(shown).toMatchObject({ allowed_models: ["a", "b*"], max_priority: 1, usage: { requests_count: 0 } });
	const rotated = (await run(["token", "rotate", created.token_id, "--grace", "60", "--json"], folder)).json;
	expect(rotated.replaced_token_id).toBe(created.token_id);
	expect((await run(["token", "revoke", rotated.token_id, "--reason", "test"], folder)).out).toContain("revoked");
	const again = await run(["token", "revoke", rotated.token_id], folder);
	expect(again).toMatchObject({ exitCode: 1, out: "" });
	expect(again.error).toContain("revoked already");
	const listed = (await run(["token", "list", "--account", "acct", "--json"], folder)).json;
	expect(listed.tokens.map((token: { status: string }) => token.status).sort()).toEqual(["active", "revoked"]);
	const table = (await run(["token", "list"], folder)).out;
	expect(table).toContain(created.token_prefix);
	expect(table).not.toContain(created.token);
	for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
		const path = join(folder, file);
		if (!statSync(path).isFile()) continue;
		for (const { token } of [created, rotated]) expect(readFileSync(path).includes(token)).toBe(false);
	}
});

test("accounts are listed, shown, changed and cleared", async () => {
	const folder = dataFolder();
	await run(NEW_ACCOUNT, folder);
	const update = ["account", "update", "acct", "--organisation", "acme", "--status", "suspended", "--json"];
	expect((await run(update, folder)).json).toMatchObject({ organisation: "acme", status: "suspended" });
	expect((await run(["account", "update", "acct", "--organisation", "none", "--json"], folder)).json.organisation).toBe(
		null,
	);
	expect((await run(["account", "list", "--status", "suspended", "--json"], folder)).json).toMatchObject({
		count: 1,
		next_cursor: null,
	});
	expect((await run(["account", "get", "acct"], folder)).out).toMatch(/^id +acct$/m);
	expect((await run(["account", "delete", "acct", "--json"], folder)).json.status).toBe("deleted");
});

test("a refusal is said in the API's words, with exit status 1", async () => {
	const folder = dataFolder();
	const wrong = await run(["account", "create", "--email", "a@b.c", "--name", "A", "--type", "alien"], folder);
	expect(wrong).toMatchObject({
		exitCode: 1,
		error: 'error: account_type "alien" is not allowed: allowed are internal, external',
	});
	const missing = await run(["account", "create", "--name", "A", "--type", "internal"], folder);
	expect(missing.error).toContain("email is missing");
	const words = ["token", "create", "--account", "acct", "--tier", "internal", "--max-priority", "high"];
	expect((await run(words, folder)).error).toContain('max_priority "high" is not allowed: it must be a number');
	expect((await run(["status"], folder)).error).toContain("no gateway runs");
	writeFileSync(join(folder, "broken.ini"), "[nothing]\na = 1\n");
	expect((await run(["account", "list", "--config", join(folder, "broken.ini")], folder)).exitCode).toBe(78);
});

test("a key is hashed from the standard input, and the line imports it", async () => {
	const folder = dataFolder();
	const words = ["token", "hash", "--account", "shop", "--tier", "external", "--name", "Shop, old"];
	const line = (await run(words, folder, "sk-old-key\n")).out;
	expect(line).toBe(`${sha256("sk-old-key")},shop,external,,,"Shop, old"`);
	expect((await run(["token", "import", "-", "--json"], folder, line)).json).toMatchObject({
		imported: 1,
		created_accounts: ["shop"],
	});
	expect((await run(["token", "import", "-"], folder, "sk-old-key,shop,external")).error).toContain(
		"-:1: sha256 is not 64 hex digits",
	);
	expect((await run(["token", "import", join(folder, "no.csv")], folder)).error).toContain("ENOENT");
	expect((await run(words, folder, "")).exitCode).toBe(1);
});

test("rules are listed, made, changed, tested and deleted", async () => {
	const folder = dataFolder();
	expect((await run(["rule", "list"], folder)).out).toMatch(
		/default-internal-production +Internal Production +tier=internal environment=production +0/,
	);
	const words = [
		"rule",
		"create",
		"--name",
		"Nightly",
		"--order",
		"1",
		"--match-tag",
		"nightly",
		"--max-tps",
		"5",
		"--json",
	];
	const { rule_id } = (await run(words, folder)).json;
	expect((await run(["rule", "update", rule_id, "--max-tps", "none", "--json"], folder)).json).toMatchObject({
		max_tps: null,
		match_tag: ["nightly"],
	});
	expect((await run(["rule", "test", "--tag", "nightly"], folder)).out).toContain("takes it: Nightly");
	expect((await run(["rule", "update", rule_id], folder)).exitCode).toBe(1);
	expect((await run(["rule", "delete", rule_id], folder)).exitCode).toBe(0);
	expect((await run(["rule", "list", "--json"], folder)).json.count).toBe(8);
});

function row(requestId: string, fields: Partial<LedgerRow> = {}): LedgerRow {
	return {
		requestId,
		accountId: "acct",
		tier: "internal",
		routedBy: "token",
		model: "m\u001b[31m",
		operation: "chat",
		promptTokens: 100,
		completionTokens: 23,
		cachedTokens: 0,
		usageSource: "measured",
		queue: "P1",
		waitMs: 1,
		durationMs: 2,
		outcome: "completed",
		costNanoDollars: 0,
		startedAt: 1,
		settledAt: Date.UTC(2027, 0, 1),
		...fields,
	};
}

test("usage sees what a dead gateway left in its journal: ended rows as they ended, open ones as unknown", async () => {
	const folder = dataFolder();
	const onWarning = () => {};
	const journal = new FileJournal(
		{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e6 },
		{ files: journalFiles(join(folder, "journal")), timers: systemTimers, onWarning },
	);
	journal.start(row("req-1", { outcome: "unknown" }));
	journal.end(row("req-1"));
	journal.start(row("req-2", { outcome: "unknown", usageSource: "estimated" }));
	await journal.flushed();
	await journal.close();
	const rows = await run(["usage", "--requests", "--json"], folder);
	expect(rows.out).toContain('{"request_id":"req-1",');
	expect(rows.json).toMatchObject({ count: 2, next_cursor: null });
	const outcomes = Object.fromEntries(
		rows.json.requests.map((request: { request_id: string; outcome: string }) => [request.request_id, request.outcome]),
	);
	expect(outcomes).toEqual({ "req-1": "completed", "req-2": "unknown" });
	const sums = await run(["usage", "--by", "account", "--json"], folder);
	expect(sums.json.usage).toMatchObject([
		{ account_id: "acct", requests: 2, total_tokens: 246, estimated_requests: 1 },
	]);
	expect((await run(["usage", "--csv"], folder)).out.split("\r\n")[0]).toMatch(/^requests,/);
	expect((await run(["usage", "--requests", "--csv"], folder)).out.split("\r\n")).toHaveLength(3);
	const shown = (await run(["usage", "--requests"], folder)).out;
	expect(shown).toContain("m?[31m");
	expect(shown).not.toContain("\u001b");
});

test("usage of an empty ledger is an empty list", async () => {
	const folder = dataFolder();
	expect((await run(["usage", "--requests", "--json"], folder)).json).toEqual({
		requests: [],
		count: 0,
		next_cursor: null,
	});
});

test("while a process holds the folder, commands go through its admin plane with the token of the folder", async () => {
	const folder = dataFolder();
	const stores = await openEmbedded({ path: join(folder, "tokligence.db"), thread: false }, Date.now);
	const told: string[] = [];
	const app = adminServer({
		adminToken: obtainAdminToken(folder, undefined, {}),
		stores,
		epochNow: Date.now,
		quotasEnforced: false,
		quotas: openQuotas({ quotaResetDay: 1, timezone: "UTC" }, stores, {
			settleLedger: async () => true,
			onError: (error) => told.push(String(error)),
		}),
		isZone: systemCalendar.isZone,
		zoneOffset: systemCalendar.offset,
		policyChanged: () => {},
		tokenChanged: (hash) => void told.push(hash),
		tokensChanged: () => {},
		settle: async () => told.push("settle"),
	});
	app.get("/healthz", () => ({ status: "ok" }));
	const url = await app.listen({ port: 0, host: "127.0.0.1" });
	const unlock = lockDataFolder(folder);
	onTestFinished(async () => {
		unlock();
		await app.close();
		await stores.close();
	});
	writeAdminUrl(folder, url);
	await run(NEW_ACCOUNT, folder);
	const created = (await run(["token", "create", "--account", "acct", "--tier", "internal", "--json"], folder)).json;
	await run(["token", "revoke", created.token_id], folder);
	await run(["usage", "--json"], folder);
	expect(told).toEqual([sha256(created.token), sha256(created.token), "settle"]);
	const { items } = await stores.audit.list({ action: "token.revoke" }, {});
	expect(items[0]?.actor).toMatch(/^cli/);
	expect(statSync(join(folder, "admin-token")).mode & 0o777).toBe(0o600);
	expect((await run(["status"], folder)).error).toContain("nothing is scheduled");
});

test("the admin token: kept once made; from the variable that the configuration names, which must be set", () => {
	const folder = dataFolder();
	const token = obtainAdminToken(folder, undefined, {});
	expect(token.length).toBeGreaterThan(40);
	expect(obtainAdminToken(folder, undefined, {})).toBe(token);
	expect(obtainAdminToken(folder, "ADMIN", { ADMIN: "given" })).toBe("given");
	expect(() => obtainAdminToken(folder, "ADMIN", {})).toThrow("[admin] token_env names ADMIN, which is not set");
});
