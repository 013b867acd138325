import { describe, expect, it } from "vitest";
import { hasRoutingHeaders, readDeadlineHeaders, readHintHeaders, readRoutingHeaders } from "./request-headers.ts";

describe("readRoutingHeaders", () => {
	it("reads what is allowed", () => {
		const headers = {
			"x-tgw-source": " Internal ",
			"x-tgw-priority": "4",
			"x-tgw-environment": "canary-2",
			"x-tgw-workload": "batch",
		};
		expect(hasRoutingHeaders(headers)).toBe(true);
		expect(readRoutingHeaders(headers, 5)).toEqual({
			ok: true,
			value: { source: "internal", priority: 4, environment: "canary-2", workload: "batch" },
		});
		expect(hasRoutingHeaders({ "x-priority": "1" })).toBe(false);
	});

	it.each([
		["x-tgw-source", "partner", 'X-TGW-Source: "partner" is not allowed; allowed: internal, external, premium, spot'],
		[
			"x-tgw-source",
			"internal, premium",
			'X-TGW-Source: "internal, premium" is not allowed; allowed: internal, external, premium, spot',
		],
		["x-tgw-priority", "5", 'X-TGW-Priority: "5" is not allowed; allowed: a whole number from 0 to 4'],
		["x-tgw-priority", "-1", 'X-TGW-Priority: "-1" is not allowed; allowed: a whole number from 0 to 4'],
		["x-tgw-priority", "1e0", 'X-TGW-Priority: "1e0" is not allowed; allowed: a whole number from 0 to 4'],
		[
			"x-tgw-environment",
			"a b",
			'X-TGW-Environment: "a b" is not allowed; allowed: production, staging, dev, test, uat or a name of a-z 0-9 _ -',
		],
		["x-tgw-workload", "", 'X-TGW-Workload: "" is not allowed; allowed: realtime, batch, interactive'],
	])("refuses %s: %s", (name, value, message) => {
		expect(readRoutingHeaders({ [name]: value }, 5)).toMatchObject({
			ok: false,
			refusal: { code: "invalid_header_value", message },
		});
	});
});

describe("hints and deadlines", () => {
	it("passes hints on as sent", () => {
		const headers = { "x-priority": " high ", "x-request-class": "spot", "x-environment": "dev", "x-team-id": "t" };
		expect(readHintHeaders(headers)).toEqual({
			priority: "high",
			requestClass: "spot",
			environment: "dev",
			teamId: "t",
		});
		expect(readHintHeaders({})).toEqual({});
	});

	it("refuses a wrong deadline and ignores what client libraries get wrong", () => {
		const headers = { "x-request-deadline-ms": "1500", "x-stainless-timeout": "600", "x-stainless-retry-count": "2" };
		expect(readDeadlineHeaders(headers)).toEqual({
			ok: true,
			value: { deadlineMs: 1500, clientTimeoutMs: 600_000, retryCount: 2 },
		});
		for (const value of ["0", "-1", "1.5", "soon", "999999999"])
			expect(readDeadlineHeaders({ "x-request-deadline-ms": value })).toMatchObject({ ok: false });
		const odd = { "x-stainless-timeout": "NaN", "x-stainless-retry-count": "-1" };
		expect(readDeadlineHeaders(odd)).toEqual({ ok: true, value: {} });
	});
});
