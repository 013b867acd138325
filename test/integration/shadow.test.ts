/** A shadow allocator end to end: it decides about every request without acting, and says where it differs. */
import { afterEach, expect, test } from "vitest";
import { readAdminToken } from "../../src/app/admin-files.ts";
import { OPEN, openTestBed, type TestBed } from "./running-gateway.ts";

let bed: TestBed | undefined;
afterEach(async () => {
	await bed?.close();
	bed = undefined;
});

async function open(ini = OPEN): Promise<TestBed> {
	bed = await openTestBed(ini);
	return bed;
}

async function admin({ gateway, folder }: TestBed, method: string, path: string, body?: unknown) {
	const response = await fetch(`${gateway.adminUrl}/v1/admin${path}`, {
		method,
		headers: { authorization: `Bearer ${readAdminToken(folder, undefined, {})}` },
		...(body === undefined ? {} : { body: JSON.stringify(body) }),
	});
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	return { status: response.status, body: (await response.json()) as any };
}

function ask({ gateway }: TestBed, headers: Record<string, string> = {}) {
	return fetch(`${gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify({ model: "mock", max_tokens: 20, messages: [{ role: "user", content: "hi" }] }),
	});
}

test("a shadow allocator decides without acting, and says where it differs", async () => {
	const bed = await open(
		`${OPEN}[request_scheduler]\nshadow_allocator = bucket\n[allocator.bucket]\nbase_capacity_rps = 100\n`,
	);
	await admin(bed, "POST", "/accounts", { id: "acme", email: "a@b.c", name: "A", account_type: "internal" });
	const { body } = await admin(bed, "POST", "/tokens", {
		account_id: "acme",
		priority_tier: "internal",
		environment: "dev",
	});
	const answer = await ask(bed, { authorization: `Bearer ${body.token}` });
	expect(answer.headers.get("x-tgw-queue")).toBe("P2");
	await (await ask(bed)).text();
	expect(await admin(bed, "GET", "/scheduler/shadow")).toMatchObject({
		status: 200,
		body: {
			allocator: "priority",
			shadow_allocator: "bucket",
			requests: 2,
			same: 1,
			better: 1,
			worse: 0,
			pairs: expect.arrayContaining([
				{ queue: "P2", shadow_queue: "B3", tier: "internal", environment: "dev", verdict: "better", requests: 1 },
			]),
		},
	});
	const metrics = await (await fetch(`${bed.gateway.adminUrl}/metrics`)).text();
	expect(metrics).toContain('tokligence_scheduler_shadow_total{queue="P2",shadow_queue="B3",verdict="better"} 1');
});

test("without a shadow allocator there is no report", async () => {
	expect(await admin(await open(), "GET", "/scheduler/shadow")).toMatchObject({ status: 404 });
});
