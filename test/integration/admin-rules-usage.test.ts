/** Rules and usage reports through the admin API. */
import { expect, test } from "vitest";
import { ledgerRow } from "../contracts/ledger-row.ts";
import { adminFixture, NOW } from "./admin-fixture.ts";

test("the default rules are there, in order; a rule is made, changed, cleared, tested, moved and deleted", async () => {
	const { call, told } = await adminFixture();
	const names = async () =>
		(await call("GET", "/routing-rules")).body.rules.map((rule: { rule_name: string }) => rule.rule_name);
	expect((await names()).slice(0, 2)).toEqual(["Batch", "Internal Production"]);
	const made = await call("POST", "/routing-rules", {
		rule_name: "Nightly",
		priority_order: 7,
		match_tag: "nightly",
		match_tier: ["internal", "external"],
		assign_priority: 3,
		assign_queue: "group:spot",
		max_qps: 2,
		queue_timeout_sec: 90,
	});
	expect(made.status).toBe(201);
	expect(told).toEqual(["policyChanged"]);
	const path = `/routing-rules/${made.body.rule_id}`;
	expect((await call("GET", path)).body).toMatchObject({
		enabled: true,
		match_tier: ["internal", "external"],
		match_environment: null,
		max_qps: 2,
		queue_timeout_sec: 90,
	});
	const tested = await call("POST", "/routing-rules/test", { tier: "external", tag: "nightly" });
	expect(tested.body.rule.rule_name).toBe("Nightly");
	expect(tested.body.passed_over).toEqual([
		expect.objectContaining({ rule_name: "Batch", because: "workload is not given, the rule wants batch" }),
	]);
	expect((await call("PATCH", path, { max_qps: null, queue_timeout_sec: 30, enabled: false })).body).toMatchObject({
		max_qps: null,
		queue_timeout_sec: 30,
		enabled: false,
		assign_priority: 3,
	});
	expect((await call("POST", "/routing-rules/test", { tier: "external", tag: "nightly" })).body.rule.rule_name).toBe(
		"External Standard",
	);
	const moved = await call("POST", "/routing-rules/reorder", {
		rules: [{ rule_id: made.body.rule_id, priority_order: 1 }],
	});
	expect(moved.body.rules[0].rule_name).toBe("Nightly");
	expect((await call("DELETE", path)).body.rule_id).toBe(made.body.rule_id);
	expect(await names()).not.toContain("Nightly");
	expect(told).toHaveLength(4);
});

test.each([
	["POST", "/routing-rules", { rule_name: "X", priority_order: 1, assign_priority: 9 }, 400, "assign_priority"],
	["POST", "/routing-rules", { rule_name: "Batch", priority_order: 1 }, 409, "rule_name"],
	["POST", "/routing-rules", { rule_name: "X", priority_order: 1, assign_queue: "P1" }, 400, "assign_queue"],
	["POST", "/routing-rules", { rule_name: "X" }, 400, "priority_order"],
	["PATCH", "/routing-rules/default-batch", { rule_name: "Catch-all" }, 409, "rule_name"],
	["DELETE", "/routing-rules/default-catch-all", undefined, 409, null],
	["POST", "/routing-rules/reorder", { rules: [{ rule_id: "no", priority_order: 1 }] }, 404, "rules"],
] as const)("%s %s %j is refused", async (method, path, body, status, param) => {
	const { call, told } = await adminFixture();
	const reply = await call(method, path, body);
	expect(reply.status).toBe(status);
	expect(reply.body.error.param).toBe(param);
	expect(told).toEqual([]);
});

async function withRows() {
	const fixture = await adminFixture();
	await fixture.stores.ledger.append([
		ledgerRow({
			requestId: "r1",
			accountId: "a",
			model: "m1",
			promptTokens: 10,
			completionTokens: 5,
			settledAt: NOW - 86_400_000,
		}),
		ledgerRow({ requestId: "r2", accountId: "a", model: "=m2", promptTokens: 20, completionTokens: 5, settledAt: NOW }),
		ledgerRow({
			requestId: "r3",
			accountId: "b",
			model: "m1",
			promptTokens: 30,
			completionTokens: 5,
			settledAt: NOW + 1,
		}),
	]);
	return fixture;
}

test("sums by group, filtered; the newest rows are settled first", async () => {
	const { call, told } = await withRows();
	const whole = await call("GET", "/usage");
	expect(whole.body).toMatchObject({ count: 1, usage: [{ requests: 3, prompt_tokens: 60, total_tokens: 75 }] });
	expect(told).toEqual(["settle"]);
	const byAccount = await call("GET", "/usage?group_by=account");
	expect(byAccount.body.usage).toMatchObject([
		{ account_id: "a", total_tokens: 40 },
		{ account_id: "b", total_tokens: 35 },
	]);
	const byDay = await call("GET", "/usage?group_by=day&account_id=a");
	expect(byDay.body.usage.map((sum: { day: string }) => sum.day)).toEqual(["2027-01-14", "2027-01-15"]);
	expect((await call("GET", "/usage?since=2027-01-15&until=2027-01-15T12:00:00.001Z")).body.usage[0].requests).toBe(1);
});

test("a row per request, by pages and as CSV; no cell runs as a formula", async () => {
	const { call } = await withRows();
	const first = await call("GET", "/usage/requests?limit=2");
	expect(first.body.requests).toMatchObject([{ request_id: "r3", total_tokens: 35 }, { request_id: "r2" }]);
	expect(first.text).toContain('"request_id":"r3"');
	const second = await call("GET", `/usage/requests?limit=2&cursor=${first.body.next_cursor}`);
	expect(second.body).toMatchObject({ count: 1, next_cursor: null, requests: [{ request_id: "r1" }] });
	const { text } = await call("GET", "/usage/requests?format=csv");
	const lines = text.trimEnd().split("\r\n");
	expect(lines).toHaveLength(4);
	expect(lines[0]).toMatch(/^request_id,client_request_id,account_id,/);
	expect(lines[2]).toContain(",'=m2,");
	expect((await call("GET", "/usage?group_by=model&format=csv")).text).toMatch(/^model,requests,.*\r\n'=m2,1,/);
});
