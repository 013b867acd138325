/** Tokens through the admin API: their text is seen once and kept nowhere. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ledgerRow } from "../contracts/ledger-row.ts";
import { type AdminFixture, adminFixture, NOW } from "./admin-fixture.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

async function withAccount(): Promise<AdminFixture> {
	const fixture = await adminFixture();
	await fixture.call("POST", "/accounts", { id: "acct", email: "a@b.c", name: "A", account_type: "internal" });
	fixture.told.length = 0;
	return fixture;
}

test("a token is shown once, and stands nowhere on disk", async () => {
	const { call, folder, told, stores } = await withAccount();
	const { status, body } = await call("POST", "/tokens", {
		account_id: "acct",
		priority_tier: "internal",
		environment: "production",
	});
	expect(status).toBe(201);
	expect(Object.keys(body).sort()).toEqual(["message", "token", "token_id", "token_prefix"]);
	expect(body.token).toMatch(/^tok_internal_production_[\w-]{32}$/);
	expect(body.token_prefix).toBe(`${body.token.slice(0, 20)}****`);
	expect(told).toEqual([`tokenChanged:${sha256(body.token)}`, "policyChanged"]);
	expect((await stores.tokens.find(sha256(body.token)))?.tokenId).toBe(body.token_id);
	const random = body.token.slice(-32);
	for (const path of [`/tokens/${body.token_id}`, "/tokens", "/audit-log"]) {
		expect((await call("GET", path)).text).not.toContain(random);
	}
	for (const file of await readdir(folder)) {
		expect((await readFile(join(folder, file))).includes(random)).toBe(false);
	}
});

test("every field of the e-commerce set-up is stored and shown; unenforced quotas are said to be", async () => {
	const { call } = await withAccount();
	const made = await call("POST", "/tokens", {
		account_id: "acct",
		priority_tier: "external",
		quota_tokens_per_month: 10_000_000,
		quota_tps_limit: 50,
		expires_at: "2026-12-31T23:59:59Z",
		allowed_models: ["llama-*"],
		max_parallel_requests: 4,
		max_priority: 2,
		weight_override: 1.5,
		may_use_critical: true,
		workload_tag: "batch",
		name: "Customer 1",
		description: "from the contract",
	});
	expect(made.body.message).toContain("[quotas] enabled = false");
	expect((await call("GET", `/tokens/${made.body.token_id}`)).body).toMatchObject({
		quota: { tokens_per_month: 10_000_000, tps_limit: 50 },
		status: "expired",
		expires_at: "2026-12-31T23:59:59.000Z",
		allowed_models: ["llama-*"],
		max_parallel_requests: 4,
		max_priority: 2,
		weight_override: 1.5,
		may_use_critical: true,
		environment: null,
		priority_override: null,
		total_requests: 0,
		last_used_at: null,
	});
	expect((await call("GET", "/tokens?status=active")).body.count).toBe(0);
	expect((await call("GET", "/tokens?account_id=acct&status=expired")).body.count).toBe(1);
});

test.each([
	[{ account_id: "nobody", priority_tier: "internal" }, 404, "account_id"],
	[{ account_id: "acct", priority_tier: "Internal Tier" }, 400, "priority_tier"],
	[{ account_id: "acct", priority_tier: "internal", max_priority: 5 }, 400, "max_priority"],
	[{ account_id: "acct", priority_tier: "internal", priority_override: 7 }, 400, "priority_override"],
	[{ account_id: "acct", priority_tier: "internal", expires_at: "soon" }, 400, "expires_at"],
	[{ account_id: "acct", priority_tier: "internal", quota_tps_limit: -1 }, 400, "quota_tps_limit"],
])("refuses %j", async (body, status, param) => {
	const { call } = await withAccount();
	const reply = await call("POST", "/tokens", body);
	expect(reply.status).toBe(status);
	expect(reply.body.error.param).toBe(param);
});

test("revoked once; the second time it is not found", async () => {
	const { call, told } = await withAccount();
	const { body } = await call("POST", "/tokens", { account_id: "acct", priority_tier: "internal" });
	told.length = 0;
	const revoked = await call("DELETE", `/tokens/${body.token_id}`, { reason: "left" });
	expect(revoked.body).toMatchObject({ token_id: body.token_id, status: "revoked", revoked_reason: "left" });
	expect(told).toEqual([`tokenChanged:${sha256(body.token)}`, "policyChanged"]);
	expect((await call("DELETE", `/tokens/${body.token_id}`)).status).toBe(404);
	expect((await call("DELETE", "/tokens/unknown")).status).toBe(404);
});

test("rotated with grace: the old one ends then; without: now", async () => {
	const { call, told } = await withAccount();
	const { body: old } = await call("POST", "/tokens", {
		account_id: "acct",
		priority_tier: "internal",
		max_priority: 1,
	});
	told.length = 0;
	const graceful = await call("POST", `/tokens/${old.token_id}/rotate`, { grace_period: 3600 });
	expect(graceful.status).toBe(201);
	expect(graceful.body.replaced_ends_at).toBe(new Date(NOW + 3_600_000).toISOString());
	const wrong = await call("POST", `/tokens/${graceful.body.token_id}/rotate`, { grace_period: "a while" });
	expect(wrong).toMatchObject({ status: 400, body: { error: { param: "grace_period" } } });
	expect(wrong.body.error.message).toMatch(/30m or 1h|30s, 5m or 1h/);
	expect(told.slice(0, 2)).toEqual([
		`tokenChanged:${sha256(graceful.body.token)}`,
		`tokenChanged:${sha256(old.token)}`,
	]);
	expect((await call("GET", `/tokens/${graceful.body.token_id}`)).body.max_priority).toBe(1);
	expect((await call("GET", `/tokens/${old.token_id}`)).body.status).toBe("active");
	const later = await call("POST", `/tokens/${graceful.body.token_id}/rotate`, { grace_period: "30m" });
	expect(later.body.replaced_ends_at).toBe(new Date(NOW + 1_800_000).toISOString());
	await call("POST", `/tokens/${later.body.token_id}/rotate`);
	expect((await call("GET", `/tokens/${later.body.token_id}`)).body.status).toBe("revoked");
});

test("keys are taken over by their hash; a key in its place is never echoed", async () => {
	const { call, stores } = await withAccount();
	const key = "sk-existing-key";
	const row = { sha256: sha256(key), account_id: "new-account", tier: "external", name: "Old" };
	expect((await call("POST", "/tokens/import", { tokens: [row] })).body).toMatchObject({
		imported: 1,
		created_accounts: ["new-account"],
	});
	expect((await call("POST", "/tokens/import", { tokens: [row] })).body).toMatchObject({ imported: 0, skipped: 1 });
	expect((await stores.tokens.find(sha256(key)))?.accountId).toBe("new-account");
	const wrong = await call("POST", "/tokens/import", { tokens: [{ ...row, sha256: key }] });
	expect(wrong.status).toBe(400);
	expect(wrong.body.error.param).toBe("tokens.0.sha256");
	expect(wrong.text).not.toContain(key);
});

test("usage of a token: this month, its rate now, what it cost", async () => {
	const { call, stores, told } = await withAccount();
	const { body } = await call("POST", "/tokens", { account_id: "acct", priority_tier: "internal" });
	const row = {
		tokenId: body.token_id,
		accountId: "acct",
		promptTokens: 100,
		completionTokens: 20,
		costNanoDollars: 500,
	};
	await stores.ledger.append([
		ledgerRow({ ...row, requestId: "now", settledAt: NOW - 1000 }),
		ledgerRow({ ...row, requestId: "earlier", settledAt: NOW - 3_600_000 }),
		ledgerRow({ ...row, requestId: "last month", settledAt: NOW - 20 * 86_400_000 }),
		ledgerRow({ ...row, requestId: "another", tokenId: "another", settledAt: NOW }),
	]);
	told.length = 0;
	expect((await call("GET", `/tokens/${body.token_id}/usage`)).body).toEqual({
		token_id: body.token_id,
		period_start: "2027-01-01T00:00:00.000Z",
		period_end: "2027-01-15T12:00:00.000Z",
		tokens_used: 240,
		requests_count: 2,
		current_tps: 2,
		last_request_at: "2027-01-15T11:59:59.000Z",
		total_cost_usd: 0.000001,
	});
	expect(told).toEqual(["settle"]);
	expect((await call("GET", `/tokens/${body.token_id}/usage?since=2026-12-01`)).body.requests_count).toBe(3);
});
