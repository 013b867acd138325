/**
 * Memory of a request that waits over HTTP, beyond its body: what a long queue costs the process.
 *
 * Method: the gateway runs in a process of its own (`startGateway`, everything on, temporary folder) behind an upstream with one slot
 * whose answer never comes; this process opens 5,000 loopback connections, each with one 1 KB request, until all wait. Per
 * request = (heapUsed + external, after two collections, while all wait − before) ÷ waiting − body bytes; buffers count in `external`, so
 * the body itself is taken off. Beside it a bare `node:http` server that reads the body and holds the response, measured alike. The
 * longest event-loop delay is of the time when the requests arrive. Then the clients go away: the queue must be empty again, and what stays
 * is printed (pools and caches that keep their size, not growth).
 *
 * Loopback only; children end and the folder is removed when it ends or fails, not when it is killed. Needs 2 × requests file descriptors in all.
 * Usage: node bench/waiting.ts [--requests 5000] [--quick]
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { startGateway } from "../src/app/gateway.ts";
import { loadConfig } from "../src/config/load.ts";

const { values, positionals } = parseArgs({
	allowPositionals: true,
	options: { requests: { type: "string" }, quick: { type: "boolean", default: false } },
});
const WAITING = Number(values.requests ?? (values.quick ? 500 : 5000));
/** Connections opened at once, below the listen backlog. */
const BATCH = 100;
const LIMIT_MS = 60_000;
const BODY = JSON.stringify({
	model: "m",
	max_tokens: 50,
	messages: [{ role: "user", content: "x".repeat(900) }],
});
const REQUEST = `POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

interface Sample {
	readonly held: number;
	readonly heapBytes: number;
	readonly externalBytes: number;
	readonly longestDelayMs: number;
}

const [role, upstreamUrl, folder] = positionals;
if (role === "bare") await serve(bareServer());
else if (role === "gateway") await serve(await gateway(upstreamUrl!, folder!));
else await compare();

// --- this process

async function compare(): Promise<void> {
	const dataFolder = mkdtempSync(join(tmpdir(), "tokligence-waiting-"));
	const upstream = createServer((request, response) => {
		if (request.method === "GET") {
			response.writeHead(request.url === "/v1/models" ? 200 : 404, { "content-type": "application/json" });
			response.end('{"object":"list","data":[{"id":"m","object":"model"}]}');
		} else {
			request.resume();
		}
	});
	try {
		const upstreamAt = await listening(upstream);
		console.log(`${WAITING} waiting requests, body ${BODY.length} bytes (taken off)`);
		await measure("bare held request", ["bare"]);
		await measure("gateway", ["gateway", upstreamAt, dataFolder]);
	} finally {
		upstream.closeAllConnections();
		upstream.close();
		rmSync(dataFolder, { recursive: true, force: true });
	}
}

async function measure(name: string, args: readonly string[]): Promise<void> {
	const self = fileURLToPath(import.meta.url);
	const child = spawn(process.execPath, ["--expose-gc", self, ...args, "--requests", String(WAITING)], {
		stdio: ["ignore", "inherit", "inherit", "ipc"],
	});
	const sockets: Socket[] = [];
	try {
		const { url } = (await answerOf(child)) as { url: string };
		const { port } = new URL(url);
		// Code and pools that the first requests bring about are no cost of waiting.
		await open(sockets, Number(port), BATCH);
		await heldBecomes(child, BATCH);
		close(sockets);
		await heldBecomes(child, 0);
		const before = await ask(child, "collect");
		await ask(child, "reset");
		await open(sockets, Number(port), WAITING);
		await heldBecomes(child, WAITING);
		const { longestDelayMs } = await ask(child, "look");
		const during = await ask(child, "collect");
		close(sockets);
		await heldBecomes(child, 0);
		const after = await ask(child, "collect");
		const heap = (during.heapBytes - before.heapBytes) / WAITING;
		const external = (during.externalBytes - before.externalBytes) / WAITING;
		const stays = (after.heapBytes + after.externalBytes - before.heapBytes - before.externalBytes) / WAITING;
		console.log(
			`  ${name.padEnd(18)} ${kilobytes(heap + external - BODY.length)} beyond its body ` +
				`(heap ${kilobytes(heap)}, external ${kilobytes(external)} with the body); ` +
				`longest event-loop delay ${longestDelayMs.toFixed(0)} ms; stays after: ${kilobytes(stays)}`,
		);
	} finally {
		close(sockets);
		await ended(child);
	}
}

async function open(sockets: Socket[], port: number, count: number): Promise<void> {
	for (let left = count; left > 0; left -= BATCH) {
		await Promise.all(Array.from({ length: Math.min(BATCH, left) }, () => opened(sockets, port)));
	}
}

function opened(sockets: Socket[], port: number): Promise<void> {
	return new Promise((resolve, reject) => {
		const socket = connect(port, "127.0.0.1", () => {
			socket.write(REQUEST);
			resolve();
		});
		sockets.push(socket);
		socket.on("error", reject);
		// Nothing is answered here: an answer is a refusal, which would spoil the figure.
		socket.once("data", (data) => {
			console.error(`answered instead of held: ${data.toString().slice(0, 400)}`);
			process.exitCode = 1;
		});
	});
}

function close(sockets: Socket[]): void {
	for (const socket of sockets.splice(0)) socket.destroy();
}

async function heldBecomes(child: ChildProcess, count: number): Promise<void> {
	const deadline = Date.now() + LIMIT_MS;
	for (;;) {
		const { held } = await ask(child, "look");
		if (held === count) return;
		if (Date.now() > deadline) throw new Error(`${held} requests are held after ${LIMIT_MS / 1000} s, not ${count}`);
		await delay(50);
	}
}

async function ask(child: ChildProcess, what: "look" | "collect" | "reset"): Promise<Sample> {
	child.send(what);
	return (await answerOf(child)) as Sample;
}

function answerOf(child: ChildProcess): Promise<unknown> {
	return new Promise((resolve, reject) => {
		const gone = () => reject(new Error("the measured process ended"));
		child.once("exit", gone);
		child.once("message", (message) => {
			child.off("exit", gone);
			resolve(message);
		});
	});
}

function ended(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
	return new Promise((resolve) => {
		child.once("exit", () => resolve());
		child.kill("SIGKILL");
	});
}

function kilobytes(bytes: number): string {
	return `${(bytes / 1000).toFixed(1)} kB`;
}

function listening(server: Server): Promise<string> {
	return new Promise((resolve) => {
		server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
	});
}

// --- the measured process

interface Subject {
	readonly url: string;
	readonly held: () => number;
}

function bareServer(): Promise<Subject> {
	const held = new Set<ServerResponse>();
	const server = createServer({ requestTimeout: 0 }, (request, response) => {
		const chunks: Buffer[] = [];
		request.on("data", (chunk: Buffer) => chunks.push(chunk));
		request.on("end", () => held.add(response));
		response.on("close", () => {
			held.delete(response);
			chunks.length = 0;
		});
	});
	return listening(server).then((url) => ({ url, held: () => held.size }));
}

async function gateway(upstream: string, dataDir: string): Promise<Subject> {
	const loaded = loadConfig({
		text: "",
		env: {},
		sets: [
			"capacity.max_concurrent=1",
			`allocator.priority.level.4.max_depth=${WAITING + BATCH}`,
			"allocator.priority.level.4.timeout=1h",
			"observability.log_level=error",
		],
		flags: { upstream, dataDir, port: "0", adminPort: "0" },
	});
	if (!loaded.ok) throw new Error(loaded.errors.map(({ message }) => message).join("\n"));
	const { dataUrl, plane } = await startGateway(loaded.config);
	// The default rules bound their own depth below what waits here.
	plane.engine.core.configureRules(
		plane.lifecycle.rules.map(() => Number.POSITIVE_INFINITY),
		[],
	);
	const held = () => {
		let count = 0;
		for (const exchange of plane.exchanges.list()) if (exchange.state !== "reading") count++;
		return count;
	};
	return { url: dataUrl, held };
}

async function serve(subject: Subject | Promise<Subject>): Promise<void> {
	const { url, held } = await subject;
	const eventLoop = monitorEventLoopDelay({ resolution: 5 });
	eventLoop.enable();
	const { gc } = globalThis;
	if (gc === undefined) throw new Error("needs --expose-gc");
	process.on("message", async (what) => {
		if (what === "reset") eventLoop.reset();
		if (what === "collect") {
			await gc();
			await delay(100);
			await gc();
		}
		const { heapUsed, external } = process.memoryUsage();
		process.send!({
			held: held(),
			heapBytes: heapUsed,
			externalBytes: external,
			longestDelayMs: eventLoop.max / 1e6,
		} satisfies Sample);
	});
	process.on("disconnect", () => process.exit());
	process.send!({ url });
}
