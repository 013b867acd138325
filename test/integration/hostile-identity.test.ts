/** Nobody becomes somebody else: spoofed and doubled headers, hostile keys, borrowed request ids. No effect, 401 or 403. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { openTestBed, type TestBed, until } from "./running-gateway.ts";

const STRICT = "[classifier.default]\nenabled = false\n[observability]\nlog_level = silent\n";
const BODY = JSON.stringify({ model: "mock", max_tokens: 2, messages: [{ role: "user", content: "hi" }] });

let bed: TestBed;
afterEach(() => bed.close());

interface Answer {
	readonly status: number;
	readonly code: string | undefined;
	readonly queue: string | undefined;
	readonly requestId: string;
}

/** Headers go out as they are given, doubled ones too. */
async function ask(...headers: readonly (readonly [string, string])[]): Promise<Answer> {
	const { host } = new URL(bed.gateway.dataUrl);
	const all = headers.some(([name]) => name === "Host") ? headers : [["Host", host] as const, ...headers];
	const sent = request(`${bed.gateway.dataUrl}/v1/chat/completions`, {
		method: "POST",
		headers: [...all, ["Content-Length", String(BODY.length)] as const].flat(),
	});
	sent.end(BODY);
	const [response] = (await once(sent, "response")) as [IncomingMessage];
	let text = "";
	for await (const chunk of response) text += chunk;
	return {
		status: response.statusCode ?? 0,
		code: JSON.parse(text).error?.code,
		queue: response.headers["x-tgw-queue"] as string | undefined,
		requestId: response.headers["x-request-id"] as string,
	};
}

async function makeToken(tier: string): Promise<{ readonly id: string; readonly text: string }> {
	const { accounts, tokens } = bed.gateway.stores;
	await accounts.create({ id: "acme", email: "", name: "Acme", accountType: "external" }, "test");
	const made = await tokens.create({ accountId: "acme", priorityTier: tier }, "test");
	if (!made.ok) throw new Error(made.message);
	return { id: made.value.record.id, text: made.value.token };
}

const bearer = (token: string) => ["Authorization", `Bearer ${token}`] as const;
const INTERNAL = [
	["X-TGW-Source", "internal"],
	["X-TGW-Environment", "production"],
] as const;

describe("routing headers of a peer that nobody trusts", () => {
	const CLAIMS: readonly (readonly (readonly [string, string])[])[] = [
		[],
		[["X-Forwarded-For", "10.0.0.1"]],
		[["X-Forwarded-For", "127.0.0.1, 10.0.0.1"]],
		[
			["X-Real-IP", "10.0.0.1"],
			["Forwarded", "for=10.0.0.1"],
			["True-Client-IP", "10.0.0.1"],
		],
		[["Host", "10.0.0.1"]],
		[["X-Forwarded-Host", "10.0.0.1"]],
		[["X-TGW-Source", "spot"]],
	];

	test("are refused, whatever else it claims", async () => {
		bed = await openTestBed(`${STRICT}[classifier.header]\ntrusted_cidrs = 10.0.0.0/8\n`);
		const { text } = await makeToken("external");
		for (const claims of CLAIMS) {
			for (const credentials of [[], [bearer(text)]]) {
				const answer = await ask(...INTERNAL, ...claims, ...credentials);
				expect(answer, JSON.stringify(claims)).toMatchObject({ status: 403, code: "header_routing_not_allowed" });
			}
		}
		expect(await ask(["X-TGW-Priority", "0"], bearer(text))).toMatchObject({ status: 403 });
		expect(bed.mock.ledger().totals.requests).toBe(0);
	});

	test("or ignored where that is wanted: the token decides alone", async () => {
		bed = await openTestBed(`${STRICT}[classifier.header]\ntrusted_cidrs = 10.0.0.0/8\nuntrusted = ignore\n`);
		const { text } = await makeToken("external");
		for (const claims of CLAIMS) {
			expect(await ask(...INTERNAL, ...claims, bearer(text))).toMatchObject({ status: 200, queue: "P3" });
			expect(await ask(...INTERNAL, ...claims)).toMatchObject({ status: 401, code: "missing_token" });
		}
		expect(await ask(["X-TGW-Priority", "0"], bearer(text))).toMatchObject({ status: 200, queue: "P3" });
	});
});

test("behind a trusted proxy the nearest hop that is none decides, from the right", async () => {
	bed = await openTestBed(
		`${STRICT}[gateway]\ntrusted_proxies = 127.0.0.1, 192.0.2.7\n[classifier.header]\ntrusted_cidrs = 10.0.0.0/8, fd00::/8\nrequire_token = false\n`,
	);
	const forwarded = (...values: string[]) =>
		ask(...INTERNAL, ...values.map((value) => ["X-Forwarded-For", value] as const));
	for (const values of [
		["10.0.0.1"],
		["203.0.113.9, 10.0.0.1"],
		["10.0.0.1, 192.0.2.7"],
		["10.0.0.1:4711"],
		["::ffff:10.0.0.1"],
		["::FFFF:a00:1"],
		["fd00::1"],
		["[fd00::1]:4711"],
		["203.0.113.9", "10.0.0.1"],
	]) {
		expect(await forwarded(...values), values.join(" | ")).toMatchObject({ status: 200, queue: "P0" });
	}
	for (const values of [
		["10.0.0.1, 203.0.113.9"],
		["10.0.0.1", "203.0.113.9"],
		["203.0.113.9:4711"],
		["10.0.0.1, 203.0.113.9, 192.0.2.7"],
		["10.0.0.1, garbage"],
		["10.0.0.1,"],
		["10.0.0.1, 10.0.0.300"],
		["10.0.0.1, ::ffff:203.0.113.9"],
		["fe80::1%eth0"],
		["unknown"],
	]) {
		expect(await forwarded(...values), values.join(" | ")).toMatchObject({ status: 403 });
	}
	// the proxy itself is no trusted source
	expect(await ask(...INTERNAL)).toMatchObject({ status: 403 });
});

test("a trusted peer's doubled or unknown values are an error, not a choice", async () => {
	bed = await openTestBed(`${STRICT}[classifier.header]\ntrusted_cidrs = 127.0.0.1\nrequire_token = false\n`);
	expect(await ask(...INTERNAL)).toMatchObject({ status: 200, queue: "P0" });
	for (const headers of [
		[["X-TGW-Source", "spot"], ...INTERNAL],
		[["X-TGW-Source", "root"]],
		[
			["X-TGW-Source", "spot"],
			["X-TGW-Priority", "-1"],
		],
		[
			["X-TGW-Source", "spot"],
			["X-TGW-Priority", "0"],
			["X-TGW-Priority", "1"],
		],
	] as const) {
		expect(await ask(...headers)).toMatchObject({ status: 400, code: "invalid_header_value" });
	}
});

test("fifty requests with one X-Request-ID are fifty rows, and the audit log sums their peer", async () => {
	bed = await openTestBed(`${STRICT}[classifier.header]\ntrusted_cidrs = 127.0.0.0/8\nrequire_token = false\n`);
	const { stores, plane } = bed.gateway;
	const answers = await Promise.all(Array.from({ length: 50 }, () => ask(...INTERNAL, ["X-Request-ID", "same"])));
	expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
	expect(new Set(answers.map(({ requestId }) => requestId)).size).toBe(50);
	await until("the ledger has them", () => plane.journal.status().unsentRecords === 0);
	const { items } = await stores.ledger.list({}, { limit: 1000 });
	expect(items).toHaveLength(50);
	expect(new Set(items.map((row) => row.requestId)).size).toBe(50);
	expect(items.every((row) => row.clientRequestId === "same" && row.accountId === "peer:127.0.0.1")).toBe(true);
	expect(items.reduce((sum, row) => sum + row.completionTokens, 0)).toBe(
		bed.mock.ledger().requests.reduce((sum, entry) => sum + entry.completion_tokens, 0),
	);
	await bed.gateway.close();
	const left = await openEmbedded({ path: join(bed.folder, "tokligence.db"), thread: false }, Date.now);
	expect((await left.audit.list({ action: "header_routing." }, {})).items).toMatchObject([
		{ subject: "127.0.0.1", after: { requests: 50, routes: { "source=internal environment=production": 50 } } },
	]);
	await left.close();
});

describe("hostile keys", () => {
	const KEYS = [
		"' OR '1'='1",
		"'; DROP TABLE api_tokens; --",
		'" OR ""="',
		"tok_%",
		"%",
		"_",
		"*",
		".*",
		"^tok_.*$",
		`${"(a+)+".repeat(20)}$`,
		"__proto__",
		"constructor",
		"null",
		"undefined",
		"../../admin-token",
		"$(cat /etc/passwd)",
		"{{7*7}}",
		"\u00ff\u00fe\u00fd",
		"a".repeat(12_000),
	];

	test("are unknown, to both ways of sending them, and change nothing", async () => {
		bed = await openTestBed(STRICT);
		const { id, text } = await makeToken("external");
		for (const key of KEYS) {
			expect(await ask(bearer(key)), key).toMatchObject({ status: 401, code: "unknown_token" });
			expect(await ask(["x-api-key", key]), key).toMatchObject({ status: 401, code: "unknown_token" });
		}
		for (const authorization of ["Bearer", "Bearer ", `Basic ${text}`, text, `Bearer${text}`]) {
			expect((await ask(["Authorization", authorization])).code, authorization).toBe("missing_token");
		}
		for (const near of [
			` ${text.toUpperCase()}`,
			`${text}x`,
			text.slice(0, -1),
			`${text} ${text}`,
			`${text},${text}`,
		]) {
			expect((await ask(bearer(near))).status, near).toBe(401);
		}
		expect(await ask(["x-api-key", text], ["x-api-key", text])).toMatchObject({ status: 401 });
		expect(await ask(bearer(text))).toMatchObject({ status: 200 });
		expect((await bed.gateway.stores.tokens.list({}, {})).items.map((token) => token.id)).toEqual([id]);
		expect(bed.mock.ledger().totals.requests).toBe(1);
	});

	test("one of a megabyte is cut off before it is read whole", async () => {
		bed = await openTestBed(STRICT);
		const { port } = new URL(bed.gateway.dataUrl);
		const socket = connect(Number(port), "127.0.0.1");
		let answer = "";
		socket.on("data", (chunk) => {
			answer += chunk;
		});
		const closed = new Promise((resolve) => socket.on("close", resolve));
		socket.on("error", () => {});
		socket.write(
			`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${"k".repeat(1_000_000)}\r\n\r\n`,
		);
		await closed;
		expect(answer).toMatch(/^HTTP\/1\.1 431 [\s\S]*"headers_too_large"/);
		const { text } = await makeToken("external");
		expect(await ask(bearer(text))).toMatchObject({ status: 200 });
	});

	test("a thousand different ones do not push a known one out of reach", async () => {
		bed = await openTestBed(`${STRICT}[classifier.token]\nlocal_lru_size = 100\n`);
		const { text } = await makeToken("external");
		const lookup = async (n: number) => (await ask(bearer(`guess-${n}`))).status;
		for (let round = 0; round < 20; round++) {
			const statuses = await Promise.all(Array.from({ length: 50 }, (_, n) => lookup(round * 50 + n)));
			expect(new Set(statuses)).toEqual(new Set([401]));
		}
		expect(await ask(bearer(text))).toMatchObject({ status: 200 });
	});

	test("a revoked token is refused by the next request", async () => {
		bed = await openTestBed(STRICT);
		const { id, text } = await makeToken("external");
		expect(await ask(bearer(text))).toMatchObject({ status: 200 });
		const { readAdminToken } = await import("../../src/app/admin-files.ts");
		const adminToken = readAdminToken(bed.folder, undefined, {});
		const response = await fetch(`${bed.gateway.adminUrl}/v1/admin/tokens/${id}`, {
			method: "DELETE",
			headers: { authorization: `Bearer ${adminToken}` },
		});
		expect(response.status).toBe(200);
		expect(await ask(bearer(text))).toMatchObject({ status: 403, code: "revoked_token" });
	});
});
