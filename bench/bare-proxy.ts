/**
 * The bare proxy of the CPU benches: `node:http` in front, undici `dispatch` behind, nothing between. It does what any correct proxy on
 * this stack must (whole body, headers of both sides, back-pressure, abort when the client goes) and nothing else, so what
 * a gateway costs above it is the gateway's own work. Usage: node bench/bare-proxy.ts UPSTREAM_URL; prints `{"event":"ready","data":URL}`.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Dispatcher, Pool } from "undici";

const OF_THE_CONNECTION = new Set(["host", "connection", "keep-alive", "transfer-encoding", "content-length"]);

const target = process.argv[2];
if (target === undefined) throw new Error("usage: node bench/bare-proxy.ts UPSTREAM_URL");
const pool = new Pool(target, { connections: null, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 60_000 });

/** Names and values in turn, without those that belong to one connection. */
function forwarded(raw: readonly (string | Buffer)[]): string[] {
	const headers: string[] = [];
	for (let at = 0; at + 1 < raw.length; at += 2) {
		const name = raw[at]!.toString("latin1");
		if (!OF_THE_CONNECTION.has(name.toLowerCase())) headers.push(name, raw[at + 1]!.toString("latin1"));
	}
	return headers;
}

function forward(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
	let controller: Dispatcher.DispatchController | undefined;
	let over = false;
	response.on("close", () => {
		if (!over) controller?.abort(new Error("client closed"));
	});
	const headers = forwarded(request.rawHeaders);
	headers.push("content-length", String(body.length));
	pool.dispatch(
		{ path: request.url ?? "/", method: request.method as Dispatcher.HttpMethod, headers, body },
		{
			onRequestStart(started) {
				controller = started;
			},
			onResponseStart(started, status) {
				response.writeHead(status, forwarded((started.rawHeaders ?? []) as (string | Buffer)[]));
			},
			onResponseData(started, chunk) {
				if (response.write(chunk)) return;
				started.pause();
				response.once("drain", () => started.resume());
			},
			onResponseEnd() {
				over = true;
				response.end();
			},
			onResponseError() {
				over = true;
				response.destroy();
			},
		},
	);
}

const server = createServer({ noDelay: true, requestTimeout: 0, keepAliveTimeout: 60_000 }, (request, response) => {
	const chunks: Buffer[] = [];
	request.on("data", (chunk: Buffer) => chunks.push(chunk));
	request.on("end", () => forward(request, response, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
});
server.listen(0, "127.0.0.1", () => {
	const { port } = server.address() as AddressInfo;
	console.log(JSON.stringify({ event: "ready", data: `http://127.0.0.1:${port}` }));
});
