/**
 * The upstream of the CPU benches, as a process of its own: answers at once, always the same. A chat completion with usage, or, when the
 * request says `"stream":true`, 50 events of one token each, usage and `[DONE]`, every event in a write of its own (engines send
 * them so; a proxy pays per event). Also answers `GET /v1/models`. Prints `{"event":"ready","data":URL}`.
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const EVENTS = 50;
const SHARED = { id: "x", created: 0, model: "m" };
const usage = { prompt_tokens: 200, completion_tokens: EVENTS, total_tokens: 200 + EVENTS };
const MODELS = JSON.stringify({ object: "list", data: [{ id: "m", object: "model", created: 0, owned_by: "bench" }] });
const ANSWER = Buffer.from(
	JSON.stringify({
		...SHARED,
		object: "chat.completion",
		choices: [{ index: 0, message: { role: "assistant", content: "hello there" }, finish_reason: "stop" }],
		usage,
	}),
);
const EVENT = event([{ index: 0, delta: { content: "word " }, finish_reason: null }]);
const TAIL = Buffer.concat([event([], { usage }), Buffer.from("data: [DONE]\n\n")]);

function event(choices: readonly unknown[], more: object = {}): Buffer {
	return Buffer.from(`data: ${JSON.stringify({ ...SHARED, object: "chat.completion.chunk", choices, ...more })}\n\n`);
}

function stream(response: ServerResponse): void {
	response.writeHead(200, { "content-type": "text/event-stream" });
	let left = EVENTS;
	// A turn of the event loop between events, so that they do not arrive in one piece.
	const next = () => {
		if (response.destroyed) return;
		if (left-- > 0) {
			response.write(EVENT);
			setImmediate(next);
		} else {
			response.end(TAIL);
		}
	};
	next();
}

const server = createServer((request, response) => {
	if (request.method === "GET") {
		const known = request.url === "/v1/models";
		response.writeHead(known ? 200 : 404, { "content-type": "application/json" });
		response.end(known ? MODELS : "{}");
		return;
	}
	let wantsStream = false;
	request.on("data", (chunk: Buffer) => {
		wantsStream ||= chunk.includes('"stream":true');
	});
	request.on("end", () => {
		if (wantsStream) {
			stream(response);
		} else {
			response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length });
			response.end(ANSWER);
		}
	});
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
	const { port } = server.address() as AddressInfo;
	console.log(JSON.stringify({ event: "ready", data: `http://127.0.0.1:${port}` }));
});
