/**
 * What the gateway adds to a request: CPU per request against the bare proxy, side by side in one run.
 *
 * Method: an upstream with a fixed answer, a bare `node:http` + undici `dispatch` proxy and the gateway (everything on: classification, rules,
 * scheduler, metrics, ledger with journal) are processes of their own; this process sends 1 KB requests over 16 kept-alive connections, in
 * interleaved rounds. CPU is user + system time of the measured process (/proc/PID/stat) ÷ requests; medians of the rounds; the ratio is the result.
 * JSON answers and streams of 50 events are measured apart. Linux only. Usage: npm run build && node bench/gateway.ts
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";

const ROUNDS = 5;
const WARM_UP = 500;
const REQUESTS = { json: 3000, stream: 600 };
const CONNECTIONS = 16;
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

const ANSWER = JSON.stringify({
	id: "x",
	object: "chat.completion",
	model: "m",
	choices: [{ index: 0, message: { role: "assistant", content: "hello there" }, finish_reason: "stop" }],
	usage: { prompt_tokens: 200, completion_tokens: 20, total_tokens: 220 },
});
const EVENT = `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "m", choices: [{ index: 0, delta: { content: "word " }, finish_reason: null }] })}\n\n`;
const LAST = `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", model: "m", choices: [], usage: { prompt_tokens: 200, completion_tokens: 50, total_tokens: 250 } })}\n\ndata: [DONE]\n\n`;

function upstream(): Server {
	return createServer((request, response) => {
		if (request.method === "GET") {
			response.end('{"object":"list","data":[{"id":"m","object":"model"}]}');
			return;
		}
		let stream = false;
		request.on("data", (chunk: Buffer) => {
			stream ||= chunk.includes('"stream":true');
		});
		request.on("end", () => {
			if (!stream) {
				response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length });
				response.end(ANSWER);
				return;
			}
			response.writeHead(200, { "content-type": "text/event-stream" });
			let left = 50;
			const next = () => {
				response.write(left > 0 ? EVENT : LAST);
				if (left-- > 0) setImmediate(next);
				else response.end();
			};
			next();
		});
	});
}

function bareProxy(target: string): Server {
	const pool = new Pool(target, { connections: null, headersTimeout: 0, bodyTimeout: 0 });
	return createServer((request, response) => {
		const chunks: Buffer[] = [];
		request.on("data", (chunk: Buffer) => chunks.push(chunk));
		request.on("end", () => {
			const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
			pool.dispatch(
				{
					path: request.url ?? "/",
					method: "POST",
					headers: ["content-type", "application/json", "content-length", String(body.length)],
					body,
				},
				{
					onRequestStart() {},
					onResponseStart(_, status, headers) {
						response.writeHead(status, headers as Record<string, string>);
					},
					onResponseData(_, chunk) {
						response.write(chunk);
					},
					onResponseEnd() {
						response.end();
					},
					onResponseError() {
						response.destroy();
					},
				},
			);
		});
	});
}

const role = process.argv[2];
if (role === "upstream" || role === "proxy") {
	const server = role === "upstream" ? upstream() : bareProxy(process.argv[3]!);
	server.listen(0, "127.0.0.1", () =>
		console.log(JSON.stringify({ event: "ready", data: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })),
	);
} else {
	await measure();
}

interface Measured {
	readonly name: string;
	readonly url: string;
	readonly pid: number;
}

async function measure(): Promise<void> {
	const self = fileURLToPath(import.meta.url);
	const folder = mkdtempSync(join(tmpdir(), "tokligence-bench-"));
	const children: ChildProcess[] = [];
	try {
		const { url } = await start(children, "upstream", [self, "upstream"]);
		const gateway = (name: string, ini: string) => {
			const config = join(folder, `${name}.ini`);
			writeFileSync(config, ini);
			const bin = fileURLToPath(new URL("../bin/tokligence.js", import.meta.url));
			return start(children, name, [
				bin,
				"start",
				"--config",
				config,
				"--upstream",
				url,
				"--data-dir",
				join(folder, name),
				"--port",
				"0",
				"--admin-port",
				"0",
				"--json",
			]);
		};
		const open = "[classifier.default]\nenabled = true\n[capacity]\nmax_concurrent = 64\n";
		const subjects = [
			await start(children, "bare proxy", [self, "proxy", url]),
			await gateway("gateway", open),
			await gateway("enabled = false", `${open}[request_scheduler]\nenabled = false\n`),
		];
		for (const kind of ["json", "stream"] as const) {
			const perRequest = new Map(subjects.map((subject) => [subject.name, [] as number[]]));
			for (const subject of subjects) await load(subject.url, kind, WARM_UP);
			for (let round = 0; round < ROUNDS; round++) {
				for (const subject of subjects) {
					const before = cpuMicros(subject.pid);
					await load(subject.url, kind, REQUESTS[kind]);
					perRequest.get(subject.name)!.push((cpuMicros(subject.pid) - before) / REQUESTS[kind]);
				}
			}
			const bare = median(perRequest.get("bare proxy")!);
			console.log(kind === "json" ? "JSON answers" : "streams of 50 events");
			for (const [name, values] of perRequest) {
				console.log(
					`  ${name.padEnd(16)} ${median(values).toFixed(0).padStart(6)} µs CPU per request  ${(median(values) / bare).toFixed(2)} × the bare proxy`,
				);
			}
		}
	} finally {
		for (const child of children) child.kill();
		rmSync(folder, { recursive: true, force: true });
	}
}

function start(children: ChildProcess[], name: string, args: readonly string[]): Promise<Measured> {
	const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
	children.push(child);
	return new Promise((resolve, reject) => {
		createInterface({ input: child.stdout! }).once("line", (line) =>
			resolve({ name, url: (JSON.parse(line) as { data: string }).data, pid: child.pid! }),
		);
		child.once("exit", () => reject(new Error(`${name} ended before it was ready`)));
	});
}

async function load(url: string, kind: "json" | "stream", count: number): Promise<void> {
	const pool = new Pool(url, { connections: CONNECTIONS });
	const body = JSON.stringify({
		model: "m",
		stream: kind === "stream",
		max_tokens: 50,
		messages: [{ role: "user", content: "x".repeat(900) }],
	});
	let left = count;
	const worker = async () => {
		while (left-- > 0) {
			const response = await pool.request({
				path: "/v1/chat/completions",
				method: "POST",
				headers: { "content-type": "application/json" },
				body,
			});
			if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}: ${await response.body.text()}`);
			await response.body.dump();
		}
	};
	await Promise.all(Array.from({ length: CONNECTIONS }, worker));
	await pool.close();
}

/** User and system time of a process, all threads. */
function cpuMicros(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

function median(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
