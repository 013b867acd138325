/** What no good client sends: each gets a clear answer in the form of its dialect, costs nothing, and the next request is served. */
import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const CHAT = "/v1/chat/completions";
const MESSAGES = "/v1/messages";
const call = { model: "mock", max_tokens: 2, messages: [{ role: "user", content: "hi" }] };
const MB = 1024 * 1024;

let bed: TestBed;
let trusting: TestBed;

beforeAll(async () => {
	bed = await openTestBed(
		`${OPEN}[gateway]\nbody_timeout = 300ms\nheader_timeout = 300ms\n[classifier.header]\ntrusted_cidrs = 10.0.0.0/8\n`,
	);
	trusting = await openTestBed(`${OPEN}[classifier.header]\ntrusted_cidrs = 127.0.0.0/8\nrequire_token = false\n`);
});

afterAll(async () => {
	await bed.close();
	await trusting.close();
});

afterEach(async () => {
	expect((await post(CHAT, JSON.stringify(call))).status).toBe(200);
	await until("all is given back", () => atRest(bed) && atRest(trusting));
});

interface Reply {
	readonly status: number;
	// biome-ignore lint/suspicious/noExplicitAny: what a test looks into is checked by the test
	readonly body: any;
	readonly headers: Headers;
}

async function post(
	path: string,
	body: string | Uint8Array<ArrayBuffer>,
	headers: Record<string, string> = {},
	to = bed,
): Promise<Reply> {
	const answer = await fetch(to.gateway.dataUrl + path, {
		method: "POST",
		body,
		headers: { "content-type": "application/json", ...headers },
	});
	return { status: answer.status, body: await answer.json(), headers: answer.headers };
}

/** Everything that comes back on a socket of its own until the other side closes it. */
function raw(send: (socket: Socket) => void): Promise<string> {
	return new Promise((resolve) => {
		let text = "";
		const socket = connect(Number(new URL(bed.gateway.dataUrl).port), "127.0.0.1", () => send(socket));
		socket.on("data", (chunk) => {
			text += chunk.toString("latin1");
		});
		socket.on("error", () => {});
		socket.on("close", () => resolve(text));
	});
}

describe("bodies", () => {
	test.each([
		["broken JSON", "{broken"],
		["no body", ""],
		["a list", "[]"],
		["a number", "7"],
		["null", "null"],
		["bytes that are no text", "\u0000\uffff"],
		["a nest of a hundred thousand lists", `${"[".repeat(100_000)}${"]".repeat(100_000)}`],
		["no model", JSON.stringify({ ...call, model: undefined })],
		["a model that is a number", JSON.stringify({ ...call, model: 7 })],
		["messages that are text", JSON.stringify({ ...call, messages: "hi" })],
		["messages of null", JSON.stringify({ ...call, messages: [null] })],
		["max_tokens below zero", JSON.stringify({ ...call, max_tokens: -1 })],
		["max_tokens without end", '{"model":"mock","max_tokens":1e999,"messages":[{"role":"user","content":"hi"}]}'],
		["stream that is text", JSON.stringify({ ...call, stream: "yes" })],
	])("%s: 400 in both forms", async (_, body) => {
		const openai = await post(CHAT, body);
		expect(openai).toMatchObject({ status: 400, body: { error: { type: "invalid_request_error" } } });
		expect(openai.headers.get("x-should-retry")).toBe("false");
		const anthropic = await post(MESSAGES, body);
		expect(anthropic).toMatchObject({
			status: 400,
			body: { type: "error", error: { type: "invalid_request_error" } },
		});
		for (const reply of [openai, anthropic]) expect(reply.body.error.message.length).toBeGreaterThan(10);
	});

	test("25 MB, announced or in pieces: 413, which the client gets to read", async () => {
		const announced = await post(CHAT, new Uint8Array(25 * MB));
		expect(announced).toMatchObject({ status: 413, body: { error: { code: "body_too_large" } } });
		const status = await new Promise<number>((resolve, reject) => {
			const request = httpRequest(bed.gateway.dataUrl + MESSAGES, { method: "POST" }, (response) => {
				response.resume();
				response.on("end", () => resolve(response.statusCode!));
			});
			request.on("error", reject);
			for (let piece = 0; piece < 25; piece++) request.write(Buffer.alloc(MB));
			request.end();
		});
		expect(status).toBe(413);
	});

	test("a small body that unpacks to 25 MB: 413", async () => {
		const reply = await post(CHAT, new Uint8Array(gzipSync(Buffer.alloc(25 * MB))), { "content-encoding": "gzip" });
		expect(reply).toMatchObject({ status: 413, body: { error: { code: "body_too_large" } } });
	});

	test("packed bodies are read", async () => {
		const body = JSON.stringify({ ...call, messages: [{ role: "user", content: "hi ".repeat(20_000) }] });
		for (const [encoding, pack] of [["gzip", gzipSync] as const, ["br", brotliCompressSync] as const]) {
			const reply = await post(CHAT, new Uint8Array(pack(body)), { "content-encoding": encoding });
			expect(reply).toMatchObject({ status: 200, body: { object: "chat.completion" } });
		}
	});

	test("an encoding that is not what it says, or is unknown: 400", async () => {
		for (const encoding of ["gzip", "br", "zstd"])
			expect(await post(CHAT, JSON.stringify(call), { "content-encoding": encoding })).toMatchObject({
				status: 400,
				body: { error: { param: "content-encoding" } },
			});
	});

	test("a body that stops in the middle: 408", async () => {
		const answer = await raw((socket) =>
			socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model"`),
		);
		expect(answer).toMatch(/^HTTP\/1.1 408 /);
		expect(answer).toContain('"request_timeout"');
	});
});

describe("bytes", () => {
	test("1 MB of headers: 431", async () => {
		const answer = await raw((socket) =>
			socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\nx-big: ${"a".repeat(MB)}\r\n\r\n`),
		);
		expect(answer).toMatch(/^HTTP\/1.1 431 /);
	});

	test.each([
		["no HTTP", Buffer.from([0, 1, 2, 255, 254, 13, 10, 13, 10])],
		["a TLS greeting", Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])],
		[
			"two lengths",
			Buffer.from(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello`),
		],
		[
			"length and chunks",
			Buffer.from(
				`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
			),
		],
		["a chunk of no size", Buffer.from(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`)],
	])("%s: 400, or the connection is closed", async (_, bytes) => {
		const answer = await raw((socket) => socket.write(bytes));
		expect(answer).toMatch(/^(HTTP\/1.1 400 |$)/);
		expect(answer.match(/HTTP\/1.1/g)?.length ?? 0).toBeLessThanOrEqual(1);
	});

	test("headers that never end: 408", async () => {
		expect(await raw((socket) => socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\nx-slow:`))).toMatch(
			/^HTTP\/1.1 408 /,
		);
	});
});

describe("routing headers", () => {
	test("from a peer that is not trusted: 403", async () => {
		for (const name of ["x-tgw-source", "x-tgw-priority", "x-tgw-environment", "x-tgw-workload"]) {
			const reply = await post(CHAT, JSON.stringify(call), { [name]: "internal" });
			expect(reply).toMatchObject({ status: 403, body: { error: { code: "header_routing_not_allowed" } } });
		}
	});

	test.each(["5", "-1", "high", "1.5", "0x1", ""])(
		"X-TGW-Priority: %j from a trusted one: 400, saying what is allowed",
		async (value) => {
			const headers = { "x-tgw-source": "internal", "x-tgw-priority": value };
			const reply = await post(CHAT, JSON.stringify(call), headers, trusting);
			expect(reply).toMatchObject({ status: 400, body: { error: { code: "invalid_header_value" } } });
			expect(reply.body.error.message).toMatch(/X-TGW-Priority.* 0 to 4/);
		},
	);

	test("good ones decide", async () => {
		const headers = { "x-tgw-source": "internal", "x-tgw-priority": "1" };
		const reply = await post(CHAT, JSON.stringify(call), headers, trusting);
		expect(reply.status).toBe(200);
		expect(reply.headers.get("x-tgw-queue")).toBe("P1");
		expect(reply.headers.get("x-tgw-routed-by")).toBe("header");
		expect(reply.headers.get("x-queue-wait-ms")).toMatch(/^\d+$/);
	});
});

describe("paths and methods", () => {
	test.each(["/", "/v1", "/v1/chat", "/v1/messages/nothing", "/../etc/passwd", "//v1/chat/completions", "/%00"])(
		"%s: 404",
		async (path) => {
			const reply = await post(path, JSON.stringify(call));
			expect(reply).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
		},
	);

	test("a wrong method: 405 in the form of the path", async () => {
		const get = async (path: string, method = "GET") => {
			const answer = await fetch(bed.gateway.dataUrl + path, { method });
			return { status: answer.status, body: await answer.json() };
		};
		expect(await get(CHAT)).toMatchObject({ status: 405, body: { error: { code: "method_not_allowed" } } });
		expect(await get(MESSAGES, "DELETE")).toMatchObject({
			status: 405,
			body: { type: "error", error: { code: "method_not_allowed" } },
		});
		expect(await get("/v1/models", "POST")).toMatchObject({ status: 405 });
		expect(await get("/v1/models/%zz")).toMatchObject({ status: 404, body: { error: { code: "not_found" } } });
	});
});
