/**
 * Secrets as canaries, down every error path of a gateway that logs all it can: no token, admin token, provider key or prompt is in the
 * data folder, the logs, the metrics, any answer of either plane, or the process list. The end of a secret is what is looked for, since its
 * first characters may be shown.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { until } from "../integration/running-gateway.ts";
import { runCommand, spawnGateway } from "./gateway-process.ts";

const TAIL = 16;
const canary = (form: string) => `${form}${randomBytes(24).toString("base64url")}`;

test("no secret is anywhere, whatever goes wrong", async () => {
	const folder = mkdtempSync(join(tmpdir(), "tokligence-secrets-"));
	const data = join(folder, "data");
	const mock = await startMockLlm({ speed: 100, seed: 1 });
	// an engine that tells everybody the key it was given, as some do
	const gossip = createServer((request, response) => {
		request.resume();
		const message = `Incorrect API key provided: ${request.headers.authorization}`;
		response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ error: { message } }));
	});
	await new Promise<void>((resolve) => gossip.listen(0, "127.0.0.1", resolve));
	const gossipUrl = `http://127.0.0.1:${(gossip.address() as AddressInfo).port}`;
	const secrets = new Map<string, string>();
	const secret = (name: string, form: string) => {
		const text = canary(form);
		secrets.set(name, text);
		return text;
	};
	const adminToken = secret("admin token", "adm_");
	const wrongAdmin = secret("wrong admin token", "adm_");
	const providerKey = secret("provider key", "sk-");
	const foreignKey = secret("key of elsewhere", "sk-");
	const unknownKey = secret("unknown token", "tok_internal_production_");
	const prompt = secret("prompt", "prompt-");
	const start = () =>
		spawnGateway({
			dataDir: data,
			set: [
				"observability.log_level=trace",
				"classifier.default.enabled=false",
				"classifier.header.trusted_cidrs=10.0.0.0/8",
				"admin.token_env=CANARY_ADMIN_TOKEN",
				`provider.main.endpoint=${mock.url}`,
				"provider.main.models=mock*",
				"provider.main.api_key_env=CANARY_PROVIDER_KEY",
				`provider.gossip.endpoint=${gossipUrl}`,
				"provider.gossip.models=gossip",
				"provider.gossip.api_key_env=CANARY_PROVIDER_KEY",
				"provider.gone.endpoint=http://127.0.0.1:1",
				"provider.gone.models=gone",
			],
			env: { CANARY_ADMIN_TOKEN: adminToken, CANARY_PROVIDER_KEY: providerKey },
		});
	let gateway = await start();
	/** Every byte that anybody was told, by where; the answers that may show a token once are not among them. */
	const told: { readonly where: string; readonly text: string }[] = [];
	const note = async (where: string, response: Response) => {
		const headers = JSON.stringify([...response.headers]);
		const text = await response.text().catch(() => "");
		told.push({ where: `${where} → ${response.status}`, text: headers + text });
		return { status: response.status, text };
	};
	const admin = async (method: string, path: string, body?: unknown, token = adminToken) => {
		const response = await fetch(`${gateway.adminUrl}${path}`, {
			method,
			headers: { authorization: `Bearer ${token}` },
			...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
		});
		const showsToken = response.status === 201 && /\/tokens(\/[^/]+\/rotate)?$/.test(path);
		return showsToken ? { status: 201, text: await response.text() } : note(`${method} ${path}`, response);
	};
	const make = async (name: string, fields: object) => {
		const { text } = await admin("POST", "/v1/admin/tokens", {
			account_id: "ops",
			priority_tier: "external",
			...fields,
		});
		const made = JSON.parse(text) as { token: string; token_id: string };
		secrets.set(name, made.token);
		return made;
	};
	const ask = async (headers: Record<string, string>, fields: object | string = {}, path = "/v1/chat/completions") => {
		const body = { model: "mock", max_tokens: 4, messages: [{ role: "user", content: prompt }], ...Object(fields) };
		const response = await fetch(`${gateway.dataUrl}${path}`, {
			method: "POST",
			headers,
			body: typeof fields === "string" ? fields : JSON.stringify(body),
		});
		return note(`POST ${path}`, response).catch(() => ({ status: 0, text: "" }));
	};
	const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

	try {
		await admin("POST", "/v1/admin/accounts", { id: "ops", email: "a@b.c", name: "Ops", account_type: "external" });
		await admin("POST", "/v1/admin/accounts", { id: "gone", email: "a@b.c", name: "Gone", account_type: "external" });
		const good = await make("token", { environment: "production" });
		const limited = await make("limited token", { allowed_models: ["other"] });
		const expired = await make("expired token", { expires_at: "2020-01-01" });
		const revoked = await make("revoked token", {});
		const suspended = await make("token of a suspended account", { account_id: "gone" });
		await admin("DELETE", `/v1/admin/tokens/${revoked.token_id}`, { reason: "test" });
		await admin("PATCH", "/v1/admin/accounts/gone", { status: "suspended" });
		const rotated = JSON.parse(
			(await admin("POST", `/v1/admin/tokens/${good.token_id}/rotate`, { grace_period: 600 })).text,
		);
		secrets.set("rotated token", rotated.token);
		const sha256 = createHash("sha256").update(foreignKey).digest("hex");
		await admin("POST", "/v1/admin/tokens/import", { tokens: [{ sha256, account_id: "ops", tier: "external" }] });

		// the data plane, every refusal and failure
		expect((await ask(bearer(good.token))).status).toBe(200);
		expect((await ask({ "x-api-key": rotated.token }, {}, "/v1/messages")).status).toBe(200);
		expect((await ask(bearer(foreignKey), { stream: true })).status).toBe(200);
		expect((await ask(bearer(limited.token))).status).toBe(403);
		expect((await ask(bearer(expired.token))).status).toBe(403);
		expect((await ask(bearer(revoked.token))).status).toBe(403);
		expect((await ask(bearer(suspended.token))).status).toBe(403);
		expect((await ask(bearer(unknownKey))).status).toBe(401);
		expect((await ask({ authorization: `Basic ${Buffer.from(`x:${unknownKey}`).toString("base64")}` })).status).toBe(
			401,
		);
		expect((await ask({ ...bearer(good.token), "x-tgw-source": "internal" })).status).toBe(403);
		expect((await ask({ ...bearer(good.token), "x-priority": "critical" })).status).toBe(403);
		expect((await ask({ ...bearer(good.token), "x-request-deadline-ms": good.token })).status).toBe(400);
		await ask(bearer(good.token), `{"model": "mock", "messages": "${prompt}" broken`);
		await ask(bearer(good.token), { model: good.token });
		// a client is shown its own mistake, nobody else is
		await ask(bearer(good.token), { messages: 7 });
		await ask(bearer(good.token), {}, `/v1/nothing?key=${good.token}`);
		await ask({ ...bearer(good.token), cookie: "x".repeat(20_000) });
		for (const fault of ["error:500", "error:401", "429", "503", "cut:after=1", "garbage", "overload-200", "no-done"]) {
			for (const stream of [true, false]) await ask({ ...bearer(good.token), "x-mock-fault": fault }, { stream });
		}
		expect((await ask(bearer(good.token), { model: "gone" })).status).toBe(502);
		await ask(bearer(good.token), { model: "gossip" });
		await ask(bearer(good.token), { model: "gossip", stream: true });
		for (const token of [good.token, unknownKey]) {
			await note("GET /v1/models", await fetch(`${gateway.dataUrl}/v1/models`, { headers: bearer(token) }));
		}

		// the admin plane
		await admin("GET", "/v1/admin/tokens", undefined, wrongAdmin);
		await admin("GET", `/v1/admin/tokens/${good.token}`);
		await admin("DELETE", `/v1/admin/tokens/${good.token}`);
		await admin("POST", `/v1/admin/tokens/${good.token}/rotate`);
		await admin("POST", "/v1/admin/tokens", { account_id: good.token, priority_tier: "internal" });
		await admin("POST", "/v1/admin/tokens", { token: good.token });
		await admin("POST", "/v1/admin/tokens/import", { tokens: [{ sha256: foreignKey, account_id: "ops", tier: "x" }] });
		await admin("POST", "/v1/admin/policy", {
			policy: { tokens: [{ sha256: foreignKey, account_id: "ops", priority_tier: "x" }] },
		});
		await admin("POST", "/v1/admin/explain", { model: "mock", token_id: good.token });
		await admin("POST", "/v1/admin/config/reload");
		const other = new DatabaseSync(join(data, "tokligence.db"));
		other.exec("BEGIN IMMEDIATE");
		expect((await admin("POST", "/v1/admin/tokens", { account_id: "ops", priority_tier: "internal" })).status).toBe(
			503,
		);
		expect((await ask(bearer(good.token))).status).toBe(200);
		other.exec("ROLLBACK");
		other.close();
		await admin("DELETE", `/v1/admin/tokens/${rotated.token_id}`, { reason: "no longer needed" });

		const cmdlines = readdirSync("/proc")
			.filter((name) => /^\d+$/.test(name))
			.map((pid) => {
				try {
					return readFileSync(`/proc/${pid}/cmdline`, "utf8");
				} catch {
					return "";
				}
			});
		told.push({ where: "process list", text: cmdlines.join("\n") });

		await until("the ledger has all", async () => {
			const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
			return /^tokligence_journal_unsent_records 0$/m.test(text);
		});
		for (const path of [
			"tokens",
			"accounts",
			"routing-rules",
			"audit-log?limit=1000",
			"usage",
			"usage/requests?limit=1000",
		]) {
			expect((await admin("GET", `/v1/admin/${path}`)).status, path).toBe(200);
		}
		for (const path of ["config", "policy", "scheduler/status", "requests", "openapi.json"]) {
			await admin("GET", `/v1/admin/${path}`);
		}
		await note("GET /metrics", await fetch(`${gateway.adminUrl}/metrics`));

		// a restart writes a snapshot with all tokens, and reads the journal; then commands
		let output = gateway.output();
		await gateway.kill("SIGKILL");
		gateway = await start();
		await until("there is a snapshot", () => readdirSync(data).includes("tokens.snapshot"));
		await gateway.kill("SIGTERM");
		output += gateway.output();
		told.push({ where: "log", text: output });
		expect(output).toContain('"level":20');
		const env = { CANARY_ADMIN_TOKEN: adminToken, CANARY_PROVIDER_KEY: providerKey };
		for (const words of [
			["db", "backup", join(data, "backup.db")],
			["export"],
			["doctor", "--json"],
			["token", "list", "--json"],
			["token", "get", good.token],
		]) {
			const { out, error } = await runCommand([...words, "--data-dir", data], { env });
			told.push({ where: `tokligence ${words[0]} ${words[1]}`, text: out + error });
		}

		for (const name of readdirSync(data, { recursive: true, encoding: "utf8" })) {
			const path = join(data, name);
			if (statSync(path).isFile()) told.push({ where: name, text: readFileSync(path, "latin1") });
		}
		expect(told.some(({ where, text }) => where === "tokens.snapshot" && text.includes(sha256))).toBe(true);

		const leaks: string[] = [];
		for (const [name, text] of secrets) {
			const tail = text.slice(-TAIL);
			const forms = [tail, Buffer.from(`x:${text}`).toString("base64").slice(-TAIL)];
			for (const { where, text: all } of told) {
				if (forms.some((form) => all.includes(form))) leaks.push(`${name} in ${where}`);
			}
		}
		expect(leaks).toEqual([]);
		expect(told.length).toBeGreaterThan(60);
	} finally {
		await gateway.kill("SIGKILL");
		await mock.close();
		gossip.close();
		gossip.closeAllConnections();
		rmSync(folder, { recursive: true, force: true });
	}
});
