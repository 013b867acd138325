/** `GET /v1/models`: what this client may ask for, by which names, as long as one endpoint of a pool answers. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startGateway } from "../../src/app/gateway.ts";
import { loadConfig } from "../../src/config/load.ts";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { OPEN, openTestBed, type TestBed } from "./running-gateway.ts";

async function open(ini: string): Promise<TestBed> {
	const bed = await openTestBed(ini, { models: ["llama", "qwen", "hidden"] });
	onTestFinished(() => bed.close());
	return bed;
}

async function list({ gateway }: Pick<TestBed, "gateway">, token?: string, path = "/v1/models") {
	const response = await fetch(`${gateway.dataUrl}${path}`, {
		headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
	});
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	const body = (await response.json()) as any;
	return { status: response.status, body, ids: (body.data ?? []).map((model: { id: string }) => model.id).sort() };
}

async function tokenFor({ gateway, folder }: TestBed, allowed: readonly string[]): Promise<string> {
	const call = async (path: string, body: object) => {
		const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
			method: "POST",
			headers: { authorization: `Bearer ${readFileSync(join(folder, "admin-token"), "utf8").trim()}` },
			body: JSON.stringify(body),
		});
		return (await response.json()) as { token: string };
	};
	await call("/accounts", { id: "acme", email: "a@b.c", name: "A", account_type: "external" });
	return (await call("/tokens", { account_id: "acme", priority_tier: "external", allowed_models: allowed })).token;
}

const ALIASED = `${OPEN}[models]\ngpt-4o = llama\nqwen = llama\n[provider.default]\nmodels = llama, qwen\n`;

test("what is served, and its aliases; a name that is an alias hides the model of that name", async () => {
	const bed = await open(ALIASED);
	const { status, body, ids } = await list(bed);
	expect(status).toBe(200);
	expect(body.object).toBe("list");
	expect(ids).toEqual(["gpt-4o", "llama", "qwen"]);
	const one = await list(bed, undefined, "/v1/models/gpt-4o");
	expect(one.body).toMatchObject({ id: "gpt-4o", object: "model" });
	expect((await list(bed, undefined, "/v1/models/hidden")).status).toBe(404);
});

test("only what a token may use, by the names it may use", async () => {
	const bed = await open(ALIASED);
	expect((await list(bed, await tokenFor(bed, ["gpt-*"]))).ids).toEqual(["gpt-4o"]);
	const { ids, status } = await list(bed, await tokenFor(bed, ["nothing"]));
	expect([status, ids]).toEqual([200, []]);
});

test("the second endpoint answers when the first does not; none at all is 502", async () => {
	const other = await startMockLlm({ models: ["llama"] });
	const closed = await startMockLlm({});
	await closed.close();
	const folder = mkdtempSync(join(tmpdir(), "tokligence-models-"));
	const loaded = loadConfig({
		text: `${OPEN}[provider.default]\nendpoint = ${closed.url}, ${other.url}\n`,
		flags: { dataDir: folder, port: "0", adminPort: "0" },
	});
	if (!loaded.ok) throw new Error("the configuration of the test is wrong");
	const gateway = await startGateway(loaded.config);
	onTestFinished(async () => {
		await gateway.close();
		rmSync(folder, { recursive: true, force: true });
	});
	const bed = { gateway };
	expect((await list(bed)).ids).toEqual(["llama"]);
	await other.close();
	expect((await list(bed)).body.error.code).toBe("upstream_unavailable");
});
