/** Requests that wait, lose their client, their engine or their gateway: who is told what, and that nothing is left behind. */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const CHAT = "/v1/chat/completions";
const MESSAGES = "/v1/messages";
const ONE_AT_A_TIME = `${OPEN}[capacity]\nmax_concurrent = 1\n`;

async function open(...options: Parameters<typeof openTestBed>): Promise<TestBed> {
	const bed = await openTestBed(...options);
	onTestFinished(() => bed.close());
	return bed;
}

interface Asked {
	readonly request: ClientRequest;
	/** So far. */
	text(): string;
	readonly head: Promise<IncomingMessage>;
	/** Resolves when it is over, well or not. */
	readonly over: Promise<{ readonly status: number; readonly text: string; readonly complete: boolean }>;
}

/** Asks for `tokens` tokens and goes on reading. */
function ask(bed: TestBed, path: string, tokens: number, more: { stream?: boolean; fault?: string } = {}): Asked {
	const { stream = true, fault } = more;
	let text = "";
	const headers = {
		"content-type": "application/json",
		"x-mock-output-tokens": String(tokens),
		...(fault === undefined ? {} : { "x-mock-fault": fault }),
	};
	const request = httpRequest(bed.gateway.dataUrl + path, { method: "POST", headers });
	const head = new Promise<IncomingMessage>((resolve, reject) => request.on("response", resolve).on("error", reject));
	const over = head.then(
		(response) =>
			new Promise<{ status: number; text: string; complete: boolean }>((resolve) => {
				response.on("data", (chunk: Buffer) => {
					text += chunk.toString();
				});
				response.on("error", () => {});
				response.on("close", () => resolve({ status: response.statusCode!, text, complete: response.complete }));
			}),
		() => ({ status: 0, text: "", complete: false }),
	);
	head.catch(() => {});
	request.end(
		JSON.stringify({ model: "mock", max_tokens: tokens, stream, messages: [{ role: "user", content: "hi" }] }),
	);
	return { request, text: () => text, head, over };
}

const core = (bed: TestBed) => bed.gateway.plane.engine.core;
const runs = (bed: TestBed) => until("it runs", () => bed.mock.ledger().totals.running === 1);
const waits = (bed: TestBed) => until("it waits", () => core(bed).waitingCount === 1);
const ready = async (bed: TestBed) => (await fetch(`${bed.gateway.adminUrl}/readyz`)).status;

async function rows({ gateway }: TestBed) {
	await gateway.plane.journal.flushed();
	await until("the ledger has caught up", () => gateway.plane.journal.status().unsentRecords === 0);
	expect(gateway.plane.journal.status().openRecords).toBe(0);
	return (await gateway.stores.ledger.list({}, { limit: 100 })).items;
}

describe("a client that leaves", () => {
	test.each([true, false])(
		"while it waits (stream: %s): the engine never hears of it, nor does the ledger",
		async (stream) => {
			const bed = await open(ONE_AT_A_TIME);
			const first = ask(bed, CHAT, 100_000);
			await runs(bed);
			const second = ask(bed, CHAT, 4, { stream });
			await waits(bed);
			second.request.destroy();
			await until("it left its queue", () => core(bed).waitingCount === 0);
			first.request.destroy();
			await until("all is given back", () => atRest(bed));
			expect(bed.mock.ledger().totals.requests).toBe(1);
			expect((await rows(bed)).map((row) => row.outcome)).toEqual(["client_closed"]);
		},
	);

	test.each([
		[CHAT, true],
		[CHAT, false],
		[MESSAGES, true],
		[MESSAGES, false],
	])("while it runs (%s, stream: %s): the engine stops, the next one is served", async (path, stream) => {
		const bed = await open(ONE_AT_A_TIME);
		const first = ask(bed, path, 100_000, { stream });
		await until("it makes tokens", () => bed.mock.ledger().totals.completion_tokens > 0);
		const second = ask(bed, path, 4, { stream });
		await waits(bed);
		first.request.destroy();
		await until("the engine saw it", () => bed.mock.ledger().totals.aborted === 1);
		expect((await second.over).status).toBe(200);
		await until("all is given back", () => atRest(bed));
		const written = await rows(bed);
		expect(written.map((row) => row.outcome).sort()).toEqual(["client_closed", "completed"]);
		const left = written.find((row) => row.outcome === "client_closed")!;
		expect(left.promptTokens).toBeGreaterThan(0);
		expect(left.usageSource).toBe("estimated");
	});

	test("in the middle of its body: nothing starts", async () => {
		const bed = await open();
		const socket = connect(Number(new URL(bed.gateway.dataUrl).port), "127.0.0.1");
		socket.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"model"`);
		await until("it has begun", () => bed.gateway.plane.exchanges.size === 1);
		socket.destroy();
		await until("all is given back", () => atRest(bed));
		expect(await rows(bed)).toEqual([]);
	});
});

describe("a stream that waits long", () => {
	const HOLDING = `${ONE_AT_A_TIME}[gateway]\nstream_hold = 20ms\n`;

	test.each([
		[CHAT, ": ", "[DONE]"],
		[MESSAGES, "event: ping", "event: message_stop"],
	])("%s: is held open, then answered on the same headers", async (path, ping, last) => {
		const bed = await open(HOLDING);
		const first = ask(bed, CHAT, 100_000);
		await runs(bed);
		const second = ask(bed, path, 4);
		const head = await second.head;
		expect(head.statusCode).toBe(200);
		expect(head.headers).toMatchObject({ "content-type": "text/event-stream", "x-tgw-queue": "P4" });
		expect(head.headers["x-request-id"]).toMatch(/^req_/);
		await until("a ping came", () => second.text().startsWith(ping));
		first.request.destroy();
		const { text, complete } = await second.over;
		expect(complete).toBe(true);
		expect(text).toContain(last);
		expect(text).not.toContain("HTTP/1.1");
		await until("all is given back", () => atRest(bed));
	});

	test.each([
		[CHAT, 'data: {"error"'],
		[MESSAGES, "event: error\n"],
	])("%s: what goes wrong afterwards is an error event", async (path, event) => {
		const bed = await open(HOLDING);
		const { rules } = bed.gateway.stores;
		for (const rule of await rules.all()) await rules.update(rule.id, { queueTimeoutMs: 200 }, "test");
		const inForce = () => bed.gateway.plane.lifecycle.rules.every(({ rule }) => rule.queueTimeoutMs === 200);
		await until("the rules are in force", inForce);
		const first = ask(bed, CHAT, 100_000);
		await runs(bed);
		const second = await ask(bed, path, 4).over;
		expect(second).toMatchObject({ status: 200, complete: true });
		expect(second.text).toContain(event);
		expect(second.text).toContain('"queue_timeout"');
		first.request.destroy();
		await until("all is given back", () => atRest(bed));
	});

	test.each(["error:500", "garbage", "overload-200", "cut:after=3"])(
		"an engine that then fails (%s) is an error event, too",
		async (fault) => {
			const bed = await open(HOLDING);
			const first = ask(bed, CHAT, 100_000);
			await runs(bed);
			const second = ask(bed, CHAT, 20, { fault });
			await second.head;
			first.request.destroy();
			const { text, complete } = await second.over;
			expect(complete).toBe(true);
			expect(text).toContain('data: {"error"');
			expect(text).not.toContain("[DONE]");
			await until("all is given back", () => atRest(bed));
		},
	);
});

describe("an engine that is not there", () => {
	test("at the start: 502 that says so, not ready; served as soon as it comes", async () => {
		const mock = await startMockLlm({ speed: 50 });
		await mock.close();
		// The fixture's own engine is not the one that is asked: the port of the other one is free.
		const bed = await open(`${OPEN}[provider.late]\nmodels = mock\n`, { port: mock.port });
		await bed.mock.close();
		await until("it is known to be gone", async () => {
			await ask(bed, CHAT, 2, { stream: false }).over;
			return !core(bed).pools[0]!.isUp && !bed.gateway.plane.upstreams.mayRecover(0);
		});
		const refused = await ask(bed, CHAT, 2).over;
		expect(refused.status).toBe(502);
		expect(JSON.parse(refused.text).error).toMatchObject({ code: "upstream_unavailable" });
		expect(refused.text).toContain('\\"mock\\"');
		expect((await ask(bed, MESSAGES, 2).over).text).toContain('"upstream_unavailable"');
		expect(await ready(bed)).toBe(503);
		const again = await startMockLlm({ port: mock.port, speed: 50 });
		onTestFinished(() => again.close());
		await until("it is ready", async () => (await ready(bed)) === 200);
		expect(await ask(bed, CHAT, 2).over).toMatchObject({ status: 200, complete: true });
		await until("all is given back", () => atRest(bed));
	});

	test("killed in the middle: streams end with an error, others with 502", async () => {
		const bed = await open(OPEN);
		const streams = [ask(bed, CHAT, 100_000), ask(bed, MESSAGES, 100_000)];
		const whole = ask(bed, CHAT, 100_000, { stream: false });
		await until("tokens came", () => streams.every((stream) => stream.text().length > 500));
		await until("all run", () => bed.mock.ledger().totals.running === 3);
		await bed.mock.close();
		for (const stream of streams) {
			const { status, text } = await stream.over;
			expect(status).toBe(200);
			expect(text).toContain('"upstream_protocol_error"');
			expect(text).not.toMatch(/\[DONE\]|message_stop/);
		}
		expect((await whole.over).status).toBe(502);
		await until("all is given back", () => atRest(bed));
		expect((await rows(bed)).map((row) => row.outcome)).toEqual(["upstream_error", "upstream_error", "upstream_error"]);
	});
});

describe("shutting down", () => {
	test("not ready, new requests are refused in both forms, streams end well, then it is over", async () => {
		const bed = await open(OPEN, { speed: 10 });
		const streams = [ask(bed, CHAT, 400), ask(bed, MESSAGES, 400)];
		// A connection that is open already, as clients keep them.
		const kept = connect(Number(new URL(bed.gateway.dataUrl).port), "127.0.0.1");
		let answer = "";
		kept.on("data", (chunk) => {
			answer += chunk.toString();
		});
		kept.write(`POST ${CHAT} HTTP/1.1\r\nhost: x\r\n`);
		await until("both run", () => bed.mock.ledger().totals.running === 2);
		const closed = bed.gateway.close();
		expect(await ready(bed)).toBe(503);
		kept.write("content-length: 2\r\n\r\n{}");
		await until("it is refused", () => answer.includes("draining"));
		expect(answer).toMatch(/^HTTP\/1.1 503 /);
		expect(answer).toMatch(/\r\nretry-after: ([1-9]|[1-5]\d|60)\r\n/i);
		for (const stream of streams) expect(await stream.over).toMatchObject({ status: 200, complete: true });
		await closed;
		expect(bed.gateway.plane.exchanges.size).toBe(0);
		kept.destroy();
	});

	test("what does not end in time is ended, with an error event, and is on record", async () => {
		const bed = await open(`${ONE_AT_A_TIME}[gateway]\ndrain_timeout = 50ms\n`);
		const first = ask(bed, CHAT, 100_000);
		await until("tokens came", () => first.text().length > 500);
		const second = ask(bed, MESSAGES, 4);
		await waits(bed);
		await bed.gateway.close();
		const ended = await first.over;
		expect(ended.text).toContain('"draining"');
		expect(ended.complete).toBe(true);
		expect(await second.over).toMatchObject({ status: 503 });
		expect(bed.gateway.plane.exchanges.size).toBe(0);
	});
});
