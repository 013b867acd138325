/** What an engine is told and asked for beyond the client's own request: the scheduler's order in its terms, and streams where the client wants none. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const HEADERS = "[classifier.header]\nenabled = true\ntrusted_cidrs = 127.0.0.1/32\nrequire_token = false\n";

async function open(...options: Parameters<typeof openTestBed>): Promise<TestBed> {
	const bed = await openTestBed(...options);
	onTestFinished(() => bed.close());
	return bed;
}

interface Seen {
	readonly headers: IncomingHttpHeaders;
	readonly body: Record<string, unknown>;
}

function answer(response: ServerResponse): void {
	response.end('{"id":"x","choices":[],"data":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}');
}

/** An engine that remembers what it was sent. */
async function recorder() {
	const recording: { readonly url: string; readonly seen: Seen[]; hold: Promise<void> } = {
		url: "",
		seen: [],
		hold: Promise.resolve(),
	};
	const { seen } = recording;
	const server = createServer((request, response) => {
		let text = "";
		request.on("data", (piece: Buffer) => {
			text += piece.toString();
		});
		request.on("end", () => {
			if (request.method === "POST") seen.push({ headers: request.headers, body: JSON.parse(text) });
			response.setHeader("content-type", "application/json");
			void (request.method === "POST" ? recording.hold : Promise.resolve()).then(() => answer(response));
		});
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	onTestFinished(() => void server.close());
	return Object.assign(recording, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

function ask(bed: TestBed, path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
	return fetch(bed.gateway.dataUrl + path, {
		method: "POST",
		headers: { "content-type": "application/json", "x-tgw-source": "internal", ...headers },
		body: JSON.stringify({ model: "mock", max_tokens: 30, messages: [{ role: "user", content: "hi" }], ...body }),
	});
}

const PRODUCTION = { "x-tgw-environment": "production" };
const BATCH = { "x-tgw-workload": "batch" };

/** Without what differs between two runs, and the empty list of tool calls that only a whole answer has. */
function comparable(answer: Record<string, unknown>): unknown {
	return JSON.parse(JSON.stringify({ ...answer, id: "", created: 0 }), (_, value) => {
		if (Array.isArray(value?.tool_calls) && value.tool_calls.length === 0) delete value.tool_calls;
		return value;
	});
}

const told = (engine: string, how: string) =>
	`${OPEN}${HEADERS}[provider.default]\nengine = ${engine}\nengine_priority = ${how}\nmax_concurrent = 8\n`;

test.each([
	["vllm", [0, 4]],
	["sglang", [4, 0]],
	["llamacpp", [undefined, undefined]],
])("engine_priority = level speaks the language of %s, whatever the client says", async (engine, expected) => {
	const upstream = await recorder();
	const bed = await open(told(engine, "level"), {}, upstream.url);
	await ask(bed, "/v1/chat/completions", { priority: -99 }, PRODUCTION);
	await ask(bed, "/v1/chat/completions", { priority: -99 }, BATCH);
	expect(upstream.seen.map(({ body }) => body["priority"])).toEqual(expected);
});

test("where the body has no field for it a header carries it, and the client's own is dropped", async () => {
	const upstream = await recorder();
	const bed = await open(told("vllm", "level"), {}, upstream.url);
	await ask(bed, "/v1/messages", {}, { ...BATCH, "x-vllm-priority": "-5" });
	expect(upstream.seen[0]!.headers["x-vllm-priority"]).toBe("4");
	expect(upstream.seen[0]!.body["priority"]).toBeUndefined();
});

test("engine_priority = share: inside the queue's part of the pool, then beyond it", async () => {
	const upstream = await recorder();
	let release = () => {};
	const held = new Promise<void>((resolve) => {
		release = resolve;
	});
	upstream.hold = held;
	const bed = await open(told("vllm", "share"), {}, upstream.url);
	// Level 4 has 0.5 of 18.5 in weight: less than one of eight slots.
	const first = ask(bed, "/v1/chat/completions", {}, PRODUCTION);
	await until("it is there", () => upstream.seen.length === 1);
	const second = ask(bed, "/v1/chat/completions", {}, BATCH);
	await until("it is there", () => upstream.seen.length === 2);
	expect(upstream.seen.map(({ body }) => body["priority"])).toEqual([0, 1]);
	release();
	await Promise.all([first, second]);
});

test.each([
	["/v1/chat/completions", {}],
	["/v1/chat/completions", { n: 2 }],
	["/v1/completions", { prompt: "once", messages: undefined }],
	["/v1/messages", {}],
])("force_stream: %s %o gets the answer that it would have got whole", async (path, body) => {
	const plain = await open(`${OPEN}[provider.default]\nengine = vllm\n`);
	const forced = await open(`${OPEN}[provider.default]\nengine = vllm\nforce_stream = true\n`);
	const answers = await Promise.all([plain, forced].map((bed) => ask(bed, path, body)));
	expect(answers.map(({ status }) => status)).toEqual([200, 200]);
	expect(answers[1]!.headers.get("content-type")).toBe("application/json");
	const [whole, assembled] = (await Promise.all(answers.map((answer) => answer.json()))) as Record<string, unknown>[];
	expect(comparable(assembled!)).toEqual(comparable(whole!));
	expect(forced.mock.ledger().totals.finished).toBe(1);
	await until("all is given back", () => atRest(forced));
});

test("force_stream: errors stay errors, and streams that clients ask for stay streams", async () => {
	const bed = await open(`${OPEN}[provider.default]\nengine = vllm\nforce_stream = true\n`);
	const refused = await ask(bed, "/v1/chat/completions", {}, { "x-mock-fault": "error:400" });
	expect(refused.status).toBe(400);
	const cut = await ask(bed, "/v1/chat/completions", {}, { "x-mock-fault": "cut:after=3" });
	expect(cut.status).toBe(502);
	expect(await cut.text()).toContain("upstream_protocol_error");
	const stream = await ask(bed, "/v1/chat/completions", { stream: true });
	expect(await stream.text()).toContain("data: [DONE]");
	const embedded = await ask(bed, "/v1/embeddings", { input: "x", messages: undefined });
	expect(embedded.status).toBe(200);
	await until("all is given back", () => atRest(bed));
});
