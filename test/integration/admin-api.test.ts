/** The admin API's own rules: access, validation, lists, documentation. */
import { expect, test } from "vitest";
import { adminOperations } from "../../src/http/admin/operations.ts";
import { StoreError } from "../../src/ports/store-error.ts";
import { ADMIN_TOKEN, adminFixture } from "./admin-fixture.ts";

test("nothing is answered without the admin token, not even whether a path exists", async () => {
	const { app } = await adminFixture();
	for (const url of ["/v1/admin/tokens", "/v1/admin/nothing", "/v1/admin/docs", "/v1/admin/openapi.json"]) {
		for (const authorization of [undefined, "Bearer wrong", "Bearer ", `Bearer ${ADMIN_TOKEN}x`, "Basic eDp5"]) {
			const response = await app.inject({ url, headers: authorization === undefined ? {} : { authorization } });
			expect(response.statusCode).toBe(401);
			expect(["missing_token", "unknown_token"]).toContain(response.json().error.code);
		}
	}
});

test("a browser may send the token as a password, for the documentation only", async () => {
	const { app } = await adminFixture();
	const authorization = `Basic ${Buffer.from(`any:${ADMIN_TOKEN}`).toString("base64")}`;
	const page = await app.inject({ url: "/v1/admin/docs", headers: { authorization } });
	expect(page.statusCode).toBe(200);
	expect(page.headers["content-type"]).toContain("text/html");
	expect((await app.inject({ url: "/v1/admin/tokens", headers: { authorization } })).statusCode).toBe(401);
});

test("the document and the page name every operation", async () => {
	const { call } = await adminFixture();
	const { body } = await call("GET", "/openapi.json");
	const { text } = await call("GET", "/docs");
	expect(adminOperations.length).toBeGreaterThan(25);
	const ids = new Set<string>();
	for (const { method, path } of adminOperations) {
		const described = body.paths[`/v1/admin${path}`][method.toLowerCase()];
		expect(described.summary).not.toBe("");
		ids.add(described.operationId);
		expect(text).toContain(`${method} /v1/admin${path}`);
		for (const [, name] of path.matchAll(/\{(\w+)\}/g)) {
			expect(described.parameters).toContainEqual(expect.objectContaining({ name, in: "path", required: true }));
		}
	}
	expect(ids.size).toBe(adminOperations.length);
	const create = body.paths["/v1/admin/accounts"].post.requestBody;
	expect(create.required).toBe(true);
	expect(create.content["application/json"].schema).toMatchObject({
		required: ["email", "name", "account_type"],
		additionalProperties: false,
		properties: { account_type: { enum: ["internal", "external"] } },
	});
	expect(body.paths["/v1/admin/tokens/{token_id}"].delete.requestBody.required).toBe(false);
});

test.each([
	[
		{ email: "a@b.c", name: "A", account_type: "alien" },
		"account_type",
		'account_type "alien" is not allowed: allowed are internal, external',
	],
	[{ email: "a@b.c", account_type: "internal" }, "name", "name is missing: it must be a string"],
	[{ email: "a", name: "A", account_type: "internal" }, "email", 'email "a" is not allowed'],
	[{ email: "a@b.c", name: "A", account_type: "internal", colour: 1 }, "colour", '"colour" is not a field of the body'],
	["{", "body", "the body is not JSON"],
	["[]", undefined, "the body [] is not allowed: it must be an object"],
	[undefined, undefined, "the body undefined is not allowed: it must be an object"],
])("a body that is wrong is refused by field, value and what is allowed: %j", async (body, param, words) => {
	const { call } = await adminFixture();
	const reply = await call("POST", "/accounts", body);
	expect(reply.status).toBe(400);
	expect(reply.body.error).toEqual({
		code: "invalid_request",
		message: expect.stringContaining(words),
		param: param ?? null,
	});
});

test.each([
	["/tokens?limit=0", "limit"],
	["/tokens?limit=x", "limit"],
	["/tokens?cursor=forged", "cursor"],
	["/tokens?colour=1", "colour"],
	["/usage?since=yesterday", "since"],
	["/usage?group_by=account,moon", "group_by"],
])("a query that is wrong is refused: %s", async (path, param) => {
	const { call } = await adminFixture();
	const { status, body } = await call("GET", path);
	expect(status).toBe(400);
	expect(body.error).toMatchObject({ code: "invalid_request", param });
});

test("what is not there, and what is not served that way", async () => {
	const { call } = await adminFixture();
	expect((await call("GET", "/nothing")).body.error.code).toBe("not_found");
	const wrongMethod = await call("DELETE", "/tokens");
	expect(wrongMethod.status).toBe(405);
	expect(wrongMethod.body.error.message).toContain("POST, GET");
	for (const path of ["/tokens/x", "/tokens/x/usage", "/accounts/x", "/routing-rules/x"]) {
		expect((await call("GET", path)).status).toBe(404);
	}
	for (const path of ["/scheduler/status", "/requests", "/decisions/x", "/config"]) {
		expect((await call("GET", path)).body.error.code).toBe("not_available");
	}
});

test("a store that does not answer is a 503, a bug a 500; neither tells its cause", async () => {
	const errors: unknown[] = [];
	const base = await adminFixture();
	let failure: Error = new StoreError("full", "disk of /secret/path is full");
	const tokens = new Proxy(base.stores.tokens, {
		get: () => () => Promise.reject(failure),
	});
	const { call } = await adminFixture({
		stores: { ...base.stores, tokens },
		onError: (error) => errors.push(error),
	});
	const full = await call("GET", "/tokens");
	expect(full.status).toBe(503);
	expect(full.body.error.code).toBe("stores_unavailable");
	failure = new Error("secret detail");
	const bug = await call("GET", "/tokens");
	expect(bug.status).toBe(500);
	expect(`${full.text}${bug.text}`).not.toMatch(/secret/);
	expect(errors).toHaveLength(2);
});

test("accounts: made, found, changed, cleared, suspended, deleted; each change is audited with who, before and after", async () => {
	const { app, call, told } = await adminFixture();
	const made = await call("POST", "/accounts", {
		id: "customer-1-uuid",
		email: "c@example.com",
		name: "C",
		account_type: "external",
		account_tier: "gold",
		team: null,
		metadata: { crmId: 7 },
	});
	expect(made.status).toBe(201);
	expect(made.body).toMatchObject({ id: "customer-1-uuid", status: "active", metadata: { crmId: 7 }, team: null });
	expect(
		(await call("POST", "/accounts", { id: "customer-1-uuid", email: "c@d.e", name: "D", account_type: "external" }))
			.body.error,
	).toMatchObject({ code: "conflict", param: "id" });
	const changed = await call("PATCH", "/accounts/customer-1-uuid", { account_tier: null, status: "suspended" });
	expect(changed.body).toMatchObject({ account_tier: null, status: "suspended", name: "C", metadata: { crmId: 7 } });
	expect((await call("PATCH", "/accounts/customer-1-uuid", { name: null })).status).toBe(400);
	expect(told).toEqual(["policyChanged", "tokensChanged", "policyChanged"]);
	const listed = await call("GET", "/accounts?status=suspended");
	expect(listed.body).toMatchObject({ count: 1, next_cursor: null, accounts: [{ id: "customer-1-uuid" }] });
	const response = await app.inject({
		method: "DELETE",
		url: "/v1/admin/accounts/customer-1-uuid",
		headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "x-tokligence-actor": "cli:ada" },
	});
	expect(response.json().status).toBe("deleted");
	const { body } = await call("GET", "/audit-log?action=account.");
	expect(body.entries.map((entry: { action: string; actor: string }) => [entry.action, entry.actor])).toEqual([
		["account.delete", "cli:ada"],
		["account.update", "admin"],
		["account.create", "admin"],
	]);
	expect(body.entries[1]).toMatchObject({
		before: { account_tier: "gold", status: "active", metadata: { crmId: 7 } },
		after: { status: "suspended" },
	});
});

test("lists page by cursor, each item once", async () => {
	const { call } = await adminFixture();
	for (const id of ["a", "b", "c"]) {
		await call("POST", "/accounts", { id, email: "a@b.c", name: id, account_type: "internal" });
	}
	const first = await call("GET", "/accounts?limit=2");
	expect(first.body).toMatchObject({ count: 2, accounts: [{ id: "a" }, { id: "b" }] });
	const second = await call("GET", `/accounts?limit=2&cursor=${first.body.next_cursor}`);
	expect(second.body).toMatchObject({ count: 1, next_cursor: null, accounts: [{ id: "c" }] });
});

test.each(["application/json; charset=utf-8", "application/x-www-form-urlencoded", "???", "multipart/form-data"])(
	"a body is JSON whatever its content type says: %s",
	async (contentType) => {
		const { app } = await adminFixture();
		const response = await app.inject({
			method: "POST",
			url: "/v1/admin/accounts",
			headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": contentType },
			payload: JSON.stringify({ email: "a@b.c", name: "A", account_type: "internal" }),
		});
		expect(response.statusCode).toBe(201);
	},
);
