/**
 * Rows of the reliability scorecard (`docs/reliability.md`) that need a gateway under load: clients that reset, clients that hardly
 * read, an engine that refuses everything, five times more work than fits, one heavy user among a thousand. Real sockets, bounded
 * load, and counts instead of times: how long it takes is a bench's question. `SCORECARD=full` plays the whole numbers of the rows.
 */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const FULL = process.env["SCORECARD"] === "full";
const CHAT = "/v1/chat/completions";
const HEADERS = "[classifier.header]\nenabled = true\ntrusted_cidrs = 127.0.0.1/32\nrequire_token = false\n";
const PRODUCTION = { "x-tgw-source": "internal", "x-tgw-environment": "production" };
const BATCH = { "x-tgw-source": "internal", "x-tgw-workload": "batch" };

async function open(...options: Parameters<typeof openTestBed>): Promise<TestBed> {
	const bed = await openTestBed(...options);
	onTestFinished(() => bed.close());
	return bed;
}

interface Call {
	readonly tokens?: number;
	readonly stream?: boolean;
	readonly model?: string;
	readonly headers?: Readonly<Record<string, string>>;
}

function bodyOf({ tokens = 1, stream = false, model = "mock" }: Call): string {
	return JSON.stringify({ model, max_tokens: tokens, stream, messages: [{ role: "user", content: "hi" }] });
}

async function ask(
	bed: TestBed,
	call: Call = {},
): Promise<{ status: number; text: string; retryAfter: string | null }> {
	const headers = {
		"content-type": "application/json",
		"x-mock-output-tokens": String(call.tokens ?? 1),
		...call.headers,
	};
	const response = await fetch(bed.gateway.dataUrl + CHAT, { method: "POST", headers, body: bodyOf(call) });
	return { status: response.status, text: await response.text(), retryAfter: response.headers.get("retry-after") };
}

/** Runs `work` for 0…count−1, at most `atOnce` at a time. */
async function each(count: number, atOnce: number, work: (index: number) => Promise<void>): Promise<void> {
	let next = 0;
	const worker = async () => {
		while (next < count) await work(next++);
	};
	await Promise.all(Array.from({ length: atOnce }, worker));
}

/** Bytes in use, garbage collected. */
function memory(): number {
	setFlagsFromString("--expose-gc");
	(runInNewContext("gc") as () => void)();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
}

async function rows({ gateway }: TestBed) {
	await gateway.plane.journal.flushed();
	await until("the ledger has caught up", () => gateway.plane.journal.status().unsentRecords === 0);
	return (await gateway.stores.ledger.list({}, { limit: 2000 })).items;
}

/** An engine of our own; `answer` is called with the body of each request. */
async function engine(
	answer: (body: string, response: ServerResponse, request: IncomingMessage) => void,
): Promise<string> {
	const server = createServer((request, response) => {
		if (request.method === "GET") {
			// The gateway asks for models, and how it is.
			response.setHeader("content-type", "application/json").end('{"data":[]}');
			return;
		}
		let body = "";
		request.on("data", (chunk: Buffer) => {
			body += chunk.toString();
		});
		request.on("end", () => answer(body, response, request));
		response.on("error", () => {});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	onTestFinished(() => {
		server.closeAllConnections();
		server.close();
	});
	return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("row 3: clients that reset their stream: every place, row and run is given back", {
	timeout: 120_000,
}, async () => {
	const bed = await open(`${OPEN}[capacity]\nmax_concurrent = 16\n`);
	const RESETS = FULL ? 1000 : 150;
	await each(RESETS, 32, (index) => {
		const headers = {
			"content-type": "application/json",
			"x-mock-output-tokens": "50000",
			"x-request-id": `reset-${index}`,
		};
		return new Promise<void>((resolve) => {
			const request = httpRequest(bed.gateway.dataUrl + CHAT, { method: "POST", headers, agent: false });
			request.on("response", (response) => {
				response.on("error", () => {});
				response.once("data", () => request.socket!.resetAndDestroy());
			});
			request.on("error", () => {});
			request.on("close", () => resolve());
			request.end(bodyOf({ tokens: 50_000, stream: true }));
		});
	});
	await until("all is given back", () => atRest(bed));
	await until("the engine works for nobody", () => bed.mock.engine().running === 0);
	const ledger = await rows(bed);
	expect(ledger).toHaveLength(RESETS);
	expect(new Set(ledger.map(({ requestId }) => requestId)).size).toBe(RESETS);
	expect([...new Set(ledger.map(({ outcome }) => outcome))]).toEqual(["client_closed"]);
	expect((await ask(bed)).status).toBe(200);
});

test("row 16: clients that do not read cost no memory, and others are served meanwhile", {
	timeout: 120_000,
}, async () => {
	const CLIENTS = FULL ? 50 : 6;
	const CHUNKS = FULL ? 5000 : 3000;
	const chunk = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "x".repeat(4000) } }] })}\n\n`;
	let written = 0;
	const upstream = await engine(async (body, response) => {
		if (!body.includes("large")) {
			response.setHeader("content-type", "application/json").end('{"choices":[{"message":{"content":"ok"}}]}');
			return;
		}
		response.setHeader("content-type", "text/event-stream");
		for (let at = 0; at < CHUNKS && !response.destroyed; at++) {
			written += chunk.length;
			if (!response.write(chunk))
				await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
		}
		response.end("data: [DONE]\n\n");
	});
	const bed = await open(OPEN, {}, upstream);
	const before = memory();
	const slow = Array.from({ length: CLIENTS }, () => {
		const request = httpRequest(bed.gateway.dataUrl + CHAT, {
			method: "POST",
			headers: { "content-type": "application/json" },
			agent: false,
		});
		const response = new Promise<IncomingMessage>((resolve, reject) =>
			request.on("response", resolve).on("error", reject),
		);
		request.end(bodyOf({ model: "large", tokens: CHUNKS, stream: true }));
		// A response that is never read keeps its socket paused.
		return response.then((message) => message.pause());
	});
	const responses = await Promise.all(slow);
	let seen = -1;
	let still = 0;
	await until("nothing more is taken from the engine", () => {
		still = written === seen ? still + 1 : 0;
		seen = written;
		return still > 40;
	});
	expect(written).toBeLessThan(CLIENTS * CHUNKS * chunk.length);
	// Engine, gateway and clients are all in this process, so this is what three of them hold; a client would take 12 MB or more. Buffers that
	// passed through are swept a while after a collection.
	await until("what is held is small", () => memory() - before < CLIENTS * 2 * 2 ** 20);
	for (let i = 0; i < 5; i++) expect((await ask(bed)).status).toBe(200);
	let read = 0;
	await Promise.all(
		responses.map(
			(response) =>
				new Promise((resolve) => {
					response.on("data", (data: Buffer) => {
						read += data.length;
					});
					response.on("close", resolve);
					response.resume();
				}),
		),
	);
	expect(read).toBeGreaterThanOrEqual(CLIENTS * CHUNKS * chunk.length);
	await until("all is given back", () => atRest(bed));
});

test("row 19: an engine that answers 429 to everything is asked again for a tenth of the requests, never before its Retry-After", async () => {
	const REQUESTS = FULL ? 2000 : 200;
	const asked = new Map<string, number[]>();
	const upstream = await engine((body, response) => {
		const model = (JSON.parse(body) as { readonly model: string }).model;
		asked.set(model, [...(asked.get(model) ?? []), performance.now()]);
		response.writeHead(429, { "retry-after": "1", "content-type": "application/json" });
		response.end('{"error":{"message":"too many","type":"rate_limit_error"}}');
	});
	const bed = await open(OPEN, {}, upstream);
	const answers: Awaited<ReturnType<typeof ask>>[] = [];
	await each(REQUESTS, 20, async (index) => {
		answers.push(await ask(bed, { model: `m-${index}` }));
	});
	const attempts = [...asked.values()];
	expect(attempts).toHaveLength(REQUESTS);
	expect(attempts.flat().length).toBeLessThanOrEqual(1.1 * REQUESTS);
	const again = attempts.filter((times) => times.length > 1);
	expect(again.length).toBeGreaterThan(0);
	for (const times of again)
		for (let at = 1; at < times.length; at++) expect(times[at]! - times[at - 1]!).toBeGreaterThan(990);
	expect(answers.map(({ status }) => status)).toEqual(Array(REQUESTS).fill(429));
	expect(answers.every(({ retryAfter }) => Number(retryAfter) >= 1)).toBe(true);
	await until("all is given back", () => atRest(bed));
});

test("rows 20 and 21: five times more than fits: what runs is whole, the rest is told, production is served, and it passes", {
	timeout: 120_000,
}, async () => {
	const SLOTS = 8;
	const DEPTH = 16;
	const bed = await open(
		`${OPEN}${HEADERS}[capacity]\nmax_concurrent = ${SLOTS}\n[allocator.priority.level.4]\nmax_depth = ${DEPTH}\n`,
	);
	let peak = 0;
	const watching = setInterval(() => {
		peak = Math.max(peak, bed.mock.engine().running + bed.mock.engine().waiting);
	}, 1);
	onTestFinished(() => clearInterval(watching));
	const batch: Awaited<ReturnType<typeof ask>>[] = [];
	const production: number[] = [];
	// 120 at a time where 24 find a place.
	await Promise.all([
		each(FULL ? 3000 : 400, 5 * (SLOTS + DEPTH), async () => {
			batch.push(await ask(bed, { tokens: 40, headers: BATCH }));
		}),
		each(30, 1, async () => {
			production.push((await ask(bed, { tokens: 10, headers: PRODUCTION })).status);
		}),
	]);
	expect(production).toEqual(Array(30).fill(200));
	const served = batch.filter(({ status }) => status === 200).length;
	const refused = batch.filter(({ status }) => status !== 200);
	expect(served).toBeGreaterThan(0);
	expect(refused.length).toBeGreaterThan(served);
	for (const { status, text, retryAfter } of refused) {
		expect([status, Number(retryAfter) >= 1]).toEqual([503, true]);
		expect(text).toMatch(/queue_full|displaced/);
	}
	expect(peak).toBeLessThanOrEqual(SLOTS);
	// Goodput: nothing that the engine did was for nobody, and nothing refused ever reached it.
	const { totals } = bed.mock.ledger();
	expect(totals.requests).toBe(served + production.length);
	expect(totals.completion_tokens).toBe(served * 40 + production.length * 10);
	await until("all is given back", () => atRest(bed));
	const afterwards = await Promise.all(Array.from({ length: DEPTH }, () => ask(bed, { tokens: 5, headers: BATCH })));
	expect(afterwards.every(({ status }) => status === 200)).toBe(true);
});

test("row 22: mice beside an elephant: each waits for what runs and one more, and no flow is left behind", {
	timeout: 120_000,
}, async () => {
	const order: string[] = [];
	let release: (() => void)[] = [];
	const upstream = await engine((body, response) => {
		const { model } = JSON.parse(body) as { readonly model: string };
		order.push(model);
		const answer = () =>
			response
				.setHeader("content-type", "application/json")
				.end('{"choices":[{"message":{"content":"ok"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}');
		if (model === "elephant") release.push(answer);
		else answer();
	});
	const bed = await open(
		`${OPEN}[request_scheduler]\nflow_path = model\n[capacity]\nmax_concurrent = 2\nheadroom = 0\n`,
		{},
		upstream,
	);
	const { core } = bed.gateway.plane.engine;
	let finished = 0;
	// The elephant keeps fifty requests in hand, whatever is served.
	let leaving = false;
	const elephant = each(Number.POSITIVE_INFINITY, 50, async () => {
		if (leaving) return new Promise(() => {});
		await ask(bed, { model: "elephant" });
		finished++;
	});
	void elephant;
	await until("the elephant has filled the engine and waits", () => release.length === 2 && core.waitingCount === 48);
	const between: number[] = [];
	for (let mouse = 0; mouse < (FULL ? 1000 : 100); mouse++) {
		const from = order.length;
		const answer = ask(bed, { model: `mouse-${mouse}` });
		await until("it waits", () => core.waitingCount >= 49 || order.includes(`mouse-${mouse}`));
		// What runs ends, one at a time, until the mouse has had its turn.
		while (!order.includes(`mouse-${mouse}`, from)) {
			const ends = release.shift();
			const started = order.length;
			ends?.();
			await until("the next one starts", () => order.length > started);
		}
		between.push(order.indexOf(`mouse-${mouse}`, from) - from);
		expect((await answer).status).toBe(200);
	}
	expect(Math.max(...between)).toBeLessThanOrEqual(1);
	leaving = true;
	await until("the elephant is gone too", () => {
		for (const ends of release.splice(0)) ends();
		return atRest(bed);
	});
	// A client has its answer a moment after the gateway is done with it.
	await until(
		"each of its requests is answered",
		() => order.filter((model) => model === "elephant").length === finished,
	);
	release = [];
});
