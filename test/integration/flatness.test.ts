/**
 * Memory and handles stay where they are, whatever becomes of requests: heap, file descriptors, sockets and timers after many requests, a
 * tenth of them left by their clients, against those after the first many.
 *
 * The engine is a process of its own; its books grow. `TOKLIGENCE_TEST_FLAT` plays another number of requests (a million in the long run).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const REQUESTS = Number(process.env["TOKLIGENCE_TEST_FLAT"] ?? 1500);
/** Fills what is bounded: the last decisions, caches, histories, the code of hot functions. */
const WARM_UP = 1000;
const AT_ONCE = 16;
const LEAVE_EVERY = 10;
const HEAP_SLACK = 4_000_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

async function startEngine(): Promise<string> {
	const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
	const child: ChildProcess = spawn(process.execPath, [main, "mock-llm", "--port", "0", "--speed", "100", "--json"], {
		cwd: "/",
		stdio: ["ignore", "pipe", "inherit"],
	});
	onTestFinished(() => {
		child.kill();
	});
	let output = "";
	for await (const [chunk] of on(child)) {
		output += chunk;
		const url = /http:\/\/[\w.:]+/.exec(output)?.[0];
		if (url !== undefined) return url;
	}
	throw new Error(`the engine did not start: ${output}`);
}

async function* on(child: ChildProcess): AsyncGenerator<[Buffer]> {
	while (child.exitCode === null) yield (await once(child.stdout!, "data")) as [Buffer];
}

function one({ gateway }: TestBed, agent: Agent, at: number): Promise<void> {
	const body = JSON.stringify({
		model: "mock-model",
		max_tokens: 8,
		stream: at % 2 === 0,
		messages: [{ role: "user", content: `words to be counted ${at}` }],
	});
	const leaves = at % LEAVE_EVERY === 0;
	return new Promise((resolve) => {
		const path = at % 3 === 0 ? "/v1/messages" : "/v1/chat/completions";
		const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
		const request = httpRequest(gateway.dataUrl + path, { method: "POST", agent, headers }, (response) => {
			response.on("error", () => {});
			response.on("close", resolve);
			if (leaves) request.destroy();
			else response.resume();
		});
		request.on("error", () => resolve());
		request.end(body);
		// Half of them before there is an answer.
		if (leaves && at % (2 * LEAVE_EVERY) === 0) setImmediate(() => request.destroy());
	});
}

async function play(bed: TestBed, count: number): Promise<void> {
	const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
	let next = 0;
	const worker = async () => {
		while (next < count) await one(bed, agent, next++);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, worker));
	agent.destroy();
	await until("all is given back", () => atRest(bed));
	await until("the ledger has caught up", () => bed.gateway.plane.journal.status().unsentRecords === 0);
}

interface Footing {
	readonly heap: number;
	readonly files: number;
	readonly sockets: number;
	readonly timers: number;
}

/** Once idle connections are gone. */
async function footing(sockets: number): Promise<Footing> {
	const count = (kind: RegExp) => process.getActiveResourcesInfo().filter((name) => kind.test(name)).length;
	await until("idle connections are gone", () => count(/^TCPSocketWrap/) <= sockets);
	collect();
	// What a collection lets go is closed a turn later.
	await new Promise((resolve) => setImmediate(resolve));
	collect();
	return {
		heap: process.memoryUsage().heapUsed,
		files: readdirSync("/proc/self/fd").length,
		sockets: count(/^TCPSocketWrap/),
		timers: count(/^Timeout/),
	};
}

test(`${REQUESTS} requests, a tenth of them left by their clients: heap, files, sockets and timers stay where they are`, async () => {
	const bed = await openTestBed(OPEN, {}, await startEngine());
	onTestFinished(() => bed.close());
	await play(bed, WARM_UP);
	const before = await footing(0);
	await play(bed, REQUESTS);
	const after = await footing(0);
	console.log(`before ${JSON.stringify(before)}, after ${REQUESTS} requests ${JSON.stringify(after)}`);
	expect(after.sockets).toBe(before.sockets);
	expect(after.files).toBeLessThanOrEqual(before.files + 2);
	expect(after.timers).toBeLessThanOrEqual(before.timers + 3);
	expect(after.heap - before.heap).toBeLessThan(HEAP_SLACK);
	expect(bed.gateway.plane.tokenUse.size + bed.gateway.plane.exchanges.size).toBe(0);
}, 3_600_000);
