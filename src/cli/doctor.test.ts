import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkClock, checkOpenFiles, type Finding } from "../app/doctor.ts";
import { startGateway } from "../app/gateway.ts";
import { loadConfig } from "../config/load.ts";
import { type MockLlm, startMockLlm } from "../load/mock-llm-server.ts";
import { doctorCommand } from "./doctor.ts";

let folder: string;
let data: string;
let mock: MockLlm;
beforeEach(async () => {
	folder = mkdtempSync(join(tmpdir(), "tokligence-doctor-"));
	data = join(folder, "data");
	mock = await startMockLlm({ speed: 100, seed: 1 });
});
afterEach(async () => {
	await mock.close();
	rmSync(folder, { recursive: true, force: true });
});

async function examineWith(ini: string, env: Record<string, string> = {}, ...words: string[]) {
	const file = join(folder, "gateway.ini");
	writeFileSync(file, `[gateway]\nlisten = 127.0.0.1:0\n[admin]\nlisten = 127.0.0.1:0\n${ini}`);
	const result = { out: "", code: 0, findings: [] as Finding[] };
	const io = {
		env,
		out: (text: string) => {
			result.out = text;
		},
		error: () => {},
		setExitCode: (code: number) => {
			result.code = code;
		},
	};
	const all = ["--config", file, "--data-dir", data, "--json", ...words];
	await doctorCommand(io).parseAsync(all, { from: "user" });
	result.findings = JSON.parse(result.out).findings;
	return result;
}
const of = (findings: readonly Finding[], check: string) => findings.filter((finding) => finding.check === check);
const provider = (extra = "") => `[provider.one]\nendpoint = ${mock.url}\nmax_concurrent = 8\n${extra}`;

test("a machine in order: nothing fails, nothing is made", async () => {
	const { findings, code } = await examineWith(provider());
	expect(code).toBe(0);
	expect(findings.filter(({ status }) => status === "fail")).toEqual([]);
	expect(of(findings, "provider one")).toMatchObject([
		{ status: "ok", message: expect.stringContaining("serves mock") },
	]);
	expect(of(findings, "clock").map(({ status }) => status)).toEqual(["ok", "ok"]);
	expect(of(findings, "data folder")[0]?.message).toContain("the first start makes it");
	for (const check of ["configuration", "disk", "database", "admin token", "data port", "admin port", "open files"]) {
		expect(of(findings, check), check).toHaveLength(1);
	}
	for (const { status, advice } of findings) expect(advice === undefined).toBe(status === "ok");
});

test("providers: gone, without its key, loading, a model that it does not list, no capacity", async () => {
	const loading = createServer((_, response) => response.writeHead(503).end());
	await new Promise<void>((resolve) => loading.listen(0, "127.0.0.1", resolve));
	const loadingUrl = `http://127.0.0.1:${(loading.address() as AddressInfo).port}`;
	const { findings, code } = await examineWith(`${provider("models = mock, llama-9\napi_key_env = KEY_OF_ONE\n")}
[provider.gone]\nendpoint = http://127.0.0.1:1\n[provider.loading]\nendpoint = ${loadingUrl}\nmax_concurrent = 1\n`);
	loading.close();
	expect(code).toBe(1);
	expect(of(findings, "provider one").map(({ status }) => status)).toEqual(["fail", "ok", "warn"]);
	expect(of(findings, "provider one")[0]?.message).toContain("KEY_OF_ONE");
	expect(of(findings, "provider one")[2]?.message).toContain("llama-9");
	expect(of(findings, "provider gone").map(({ status }) => status)).toEqual(["fail", "warn"]);
	expect(of(findings, "provider gone")[1]?.advice).toContain("tokligence benchmark");
	expect(of(findings, "provider loading")).toMatchObject([
		{ status: "warn", message: expect.stringContaining("loading") },
	]);
});

test("a provider that refuses the key, and one whose clock is wrong", async () => {
	const server: Server = createServer((request, response) => {
		response.setHeader("date", new Date(Date.now() - 3_600_000).toUTCString());
		if (request.headers.authorization !== "Bearer right") response.writeHead(401).end();
		else response.end('{"data":[{"id":"m"}]}');
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const ini = `[provider.p]\nendpoint = http://127.0.0.1:${(server.address() as AddressInfo).port}\nmax_concurrent = 1\napi_key_env = KEY\n`;
	const refused = await examineWith(ini, { KEY: "wrong-secret" });
	expect(of(refused.findings, "provider p")).toMatchObject([{ status: "fail" }]);
	expect(refused.out).not.toContain("wrong-secret");
	const { findings } = await examineWith(ini, { KEY: "right" });
	expect(of(findings, "provider p")).toMatchObject([{ status: "ok" }]);
	expect(of(findings, "clock")[0]).toMatchObject({
		status: "warn",
		message: expect.stringMatching(/by (3599|3600|3601) s/),
	});
	server.close();
});

test("storage: open to others, an old and a damaged database, parts of the journal set aside", async () => {
	mkdirSync(join(data, "journal"), { recursive: true });
	chmodSync(data, 0o755);
	writeFileSync(join(data, "journal", "000001.journal.damaged"), "x");
	writeFileSync(join(data, "admin-token"), "adm_secret_token\n", { mode: 0o644 });
	const path = join(data, "tokligence.db");
	const database = new DatabaseSync(path);
	database.exec(
		"CREATE TABLE schema_migrations (version BIGINT PRIMARY KEY, name TEXT, applied_at BIGINT); INSERT INTO schema_migrations VALUES (1, '0001_initial', 0)",
	);
	const old = await examineWith(provider());
	expect(old.code).toBe(1);
	expect(of(old.findings, "data folder")).toMatchObject([
		{ status: "warn", advice: expect.stringContaining("chmod 700") },
	]);
	expect(of(old.findings, "journal")).toMatchObject([{ status: "warn", message: expect.stringContaining(".damaged") }]);
	expect(of(old.findings, "database")).toMatchObject([
		{ status: "warn", advice: expect.stringContaining("db migrate") },
	]);
	expect(of(old.findings, "admin token")).toMatchObject([
		{ status: "fail", advice: expect.stringContaining("chmod 600") },
	]);
	expect(old.out).not.toContain("adm_secret_token");
	database.exec("INSERT INTO schema_migrations VALUES (99, '0099_future', 0)");
	database.close();
	expect(of((await examineWith(provider())).findings, "database")).toMatchObject([{ status: "fail" }]);
	writeFileSync(path, "no database at all".repeat(500));
	expect(of((await examineWith(provider())).findings, "database")).toMatchObject([
		{ status: "fail", message: expect.stringContaining("db restore") },
	]);
});

test("tokens: a wrong token file with its lines; nobody can get in; a missing admin token", async () => {
	const file = join(folder, "tokens.csv");
	writeFileSync(file, "sha256,account_id,tier,environment,workload,name\nnothex,a,internal,,,\n");
	const strict = "[classifier.default]\nenabled = false\n";
	const wrong = await examineWith(`${provider()}${strict}[classifier.token]\nfile = ${file}\n`);
	expect(of(wrong.findings, "token file")).toMatchObject([{ status: "fail", message: expect.stringContaining(":2:") }]);
	expect(of(wrong.findings, "tokens")).toMatchObject([
		{ status: "warn", advice: expect.stringContaining("token create") },
	]);
	writeFileSync(file, `${"ab".repeat(32)},ops,internal,production,,shop\n`);
	const right = await examineWith(`${provider()}${strict}[classifier.token]\nfile = ${file}\n`);
	expect(of(right.findings, "token file")).toMatchObject([
		{ status: "ok", message: expect.stringContaining("1 tokens") },
	]);
	const named = await examineWith(provider(), {}, "--set", "admin.token_env=NOT_THERE");
	expect(of(named.findings, "admin token")).toMatchObject([
		{ status: "fail", message: expect.stringContaining("NOT_THERE") },
	]);
});

test("a port that another program has; a gateway that runs", async () => {
	const taken = createTcpServer();
	await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
	const { port } = taken.address() as AddressInfo;
	const busy = await examineWith(provider(), {}, "--set", `gateway.listen=127.0.0.1:${port}`);
	expect(of(busy.findings, "data port")).toMatchObject([{ status: "fail", advice: expect.stringContaining("--port") }]);
	taken.close();

	const loaded = loadConfig({
		text: "[observability]\nlog_level = silent\n",
		flags: { upstream: mock.url, dataDir: data, port: "0", adminPort: "0" },
	});
	if (!loaded.ok) throw new Error("configuration");
	const gateway = await startGateway(loaded.config);
	const running = await examineWith(provider());
	expect(of(running.findings, "gateway")).toMatchObject([
		{ status: "ok", message: expect.stringContaining(gateway.adminUrl) },
	]);
	expect(of(running.findings, "data port")).toEqual([]);
	await gateway.close();
});

test("a wrong configuration is the first finding, with its line, and status 78", async () => {
	const { findings, code } = await examineWith("[gatewy]\nlisten = 1\n");
	expect(code).toBe(78);
	expect(of(findings, "configuration")).toMatchObject([
		{ status: "fail", message: expect.stringMatching(/gateway\.ini:5/) },
	]);
});

test("limits and clock", () => {
	expect(checkOpenFiles(20_000, 1024)).toMatchObject({
		status: "warn",
		advice: expect.stringContaining("ulimit -n 22000"),
	});
	expect(checkOpenFiles(20_000, 65_536).status).toBe("ok");
	expect(checkOpenFiles(20_000, undefined).status).toBe("ok");
	expect(checkClock(0)).toMatchObject({ status: "fail", message: expect.stringContaining("1970") });
});
