/**
 * Nothing is lost: after any mix of success, failure, abort and cut over real sockets every counter is back at zero, every request that went
 * upstream has one ledger row, and what was metered is what the engine counted.
 */
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { startMockLlm } from "../../src/load/mock-llm-server.ts";
import { Random } from "../../src/simulate/random.ts";
import { atRest, OPEN, openTestBed, type TestBed, until } from "./running-gateway.ts";

const FAULTS = [
	undefined,
	undefined,
	undefined,
	"error:500",
	"cut:after=3",
	"overload-200",
	"garbage",
	"no-usage",
	"no-done",
	"429",
	"503",
];

interface Sent {
	readonly path: string;
	readonly stream: boolean;
	readonly fault: string | undefined;
	/** Leaves after so many bytes. */
	readonly leaveAfter: number | undefined;
}

/** Sends one request; resolves when it is over on the client's side, with its id if the answer was whole. */
function send(bed: TestBed, sent: Sent): Promise<{ status: number; requestId: string | undefined; whole: boolean }> {
	const body = JSON.stringify({
		model: "mock",
		max_tokens: 20,
		stream: sent.stream,
		messages: [{ role: "user", content: "hi there" }],
	});
	return new Promise((resolve) => {
		const request = httpRequest(
			`${bed.gateway.dataUrl}${sent.path}`,
			{
				method: "POST",
				headers: {
					"content-type": "application/json",
					...(sent.fault === undefined ? {} : { "x-mock-fault": sent.fault }),
				},
			},
			(response) => {
				const requestId = response.headers["x-request-id"] as string | undefined;
				let bytes = 0;
				let tail = "";
				response.on("data", (chunk: Buffer) => {
					bytes += chunk.length;
					tail = (tail + chunk.toString()).slice(-200);
					if (sent.leaveAfter !== undefined && bytes > sent.leaveAfter) request.destroy();
				});
				response.on("close", () =>
					resolve({
						status: response.statusCode ?? 0,
						requestId,
						whole: response.complete && !tail.includes('"error"'),
					}),
				);
			},
		);
		request.on("error", () => resolve({ status: 0, requestId: undefined, whole: false }));
		if (sent.leaveAfter === 0) setImmediate(() => request.destroy());
		request.end(body);
	});
}

test("200 requests of every kind: counters at zero, one row each, tokens as the engine counted them", async () => {
	const bed = await openTestBed(`${OPEN}[capacity]\nmax_concurrent = 8\n`);
	try {
		const random = new Random(4);
		const results = await Promise.all(
			Array.from({ length: 200 }, () =>
				send(bed, {
					path: random.chance(0.5) ? "/v1/chat/completions" : "/v1/messages",
					stream: random.chance(0.6),
					fault: FAULTS[Math.floor(random.next() * FAULTS.length)],
					leaveAfter: random.chance(0.15) ? Math.floor(random.next() * 3) * 100 : undefined,
				}),
			),
		);
		// Faults in a row may have opened the endpoint's breaker: once it is well again, plain requests are all served.
		await until("the endpoint is well", () => bed.gateway.plane.engine.core.pools[0]!.isUp);
		for (let n = 0; n < 40; n++) {
			const path = n % 2 === 0 ? "/v1/chat/completions" : "/v1/messages";
			results.push(await send(bed, { path, stream: n % 4 < 2, fault: undefined, leaveAfter: undefined }));
		}
		await until("all is given back", () => atRest(bed));
		await bed.gateway.plane.journal.flushed();
		await until("the ledger has caught up", () => bed.gateway.plane.journal.status().unsentRecords === 0);
		expect(bed.gateway.plane.journal.status().openRecords).toBe(0);
		const { items } = await bed.gateway.stores.ledger.list({}, { limit: 1000 });
		expect(new Set(items.map((row) => row.requestId)).size).toBe(items.length);
		let compared = 0;
		for (const result of results) {
			if (result.status !== 200 || !result.whole) continue;
			const row = items.find((item) => item.requestId === result.requestId);
			expect(row, `no ledger row for ${result.requestId}`).toBeDefined();
			const [engine] = bed.mock.ledger(result.requestId!).requests.slice(-1);
			if (row!.usageSource !== "measured" || engine === undefined) continue;
			expect([row!.promptTokens, row!.completionTokens]).toEqual([engine.prompt_tokens, engine.completion_tokens]);
			compared++;
		}
		expect(compared).toBeGreaterThan(30);
		expect(results.some((result) => result.status >= 500)).toBe(true);
	} finally {
		await bed.close();
	}
});

test("a client that leaves while waiting is never sent upstream and costs nothing", async () => {
	const bed = await openTestBed(`${OPEN}[capacity]\nmax_concurrent = 1\n`, { speed: 1 });
	try {
		const long = send(bed, { path: "/v1/chat/completions", stream: true, fault: undefined, leaveAfter: undefined });
		await until("the first runs", () => bed.gateway.plane.engine.core.pools[0]!.endpoints[0]!.sequences === 1);
		const request = httpRequest(`${bed.gateway.dataUrl}/v1/chat/completions`, {
			method: "POST",
			headers: { "content-type": "application/json" },
		});
		request.on("error", () => {});
		request.end(JSON.stringify({ model: "mock", max_tokens: 4, messages: [{ role: "user", content: "hi" }] }));
		await until("the second waits", () => bed.gateway.plane.engine.core.waitingCount === 1);
		request.destroy();
		await until("it left its queue", () => bed.gateway.plane.engine.core.waitingCount === 0);
		await long;
		await until("all is given back", () => atRest(bed));
		expect(bed.mock.ledger().totals.requests).toBe(1);
	} finally {
		await bed.close();
	}
});

test("garbage, broken JSON, a huge body, a wrong path and method: a clear answer, and the process stays up", async () => {
	const bed = await openTestBed(`${OPEN}[gateway]\nmax_body = 1MB\n`);
	try {
		const { dataUrl } = bed.gateway;
		const post = (body: string, path = "/v1/chat/completions", headers: Record<string, string> = {}) =>
			fetch(`${dataUrl}${path}`, { method: "POST", body, headers: { "content-type": "application/json", ...headers } });
		expect((await post("{broken")).status).toBe(400);
		expect((await post("x".repeat(2_000_000))).status).toBe(413);
		expect((await post("{}", "/v1/nothing")).status).toBe(404);
		expect((await fetch(`${dataUrl}/v1/messages`)).status).toBe(405);
		const spoofed = await post('{"model":"mock","messages":[]}', undefined, { "x-tgw-source": "internal" });
		expect([200, 400]).toContain(spoofed.status);
		const answer = await new Promise<string>((resolve) => {
			const socket = connect(Number(new URL(dataUrl).port), "127.0.0.1", () =>
				socket.write(Buffer.from([0, 1, 2, 255, 13, 10, 13, 10])),
			);
			let text = "";
			socket.on("data", (chunk) => {
				text += chunk.toString();
			});
			socket.on("close", () => resolve(text));
			socket.on("error", () => resolve(text));
		});
		expect(answer).toMatch(/^HTTP\/1.1 400 /);
		expect((await post('{"model":"mock","max_tokens":2,"messages":[{"role":"user","content":"hi"}]}')).status).toBe(
			200,
		);
		await until("all is given back", () => atRest(bed));
	} finally {
		await bed.close();
	}
});

test("draining: not ready at once, new requests are told, streams under way end well", async () => {
	const bed = await openTestBed(OPEN, { speed: 5 });
	const stream = send(bed, { path: "/v1/chat/completions", stream: true, fault: undefined, leaveAfter: undefined });
	await until("it runs", () => bed.gateway.plane.engine.core.pools[0]!.endpoints[0]!.sequences === 1);
	const closed = bed.close();
	expect((await fetch(`${bed.gateway.adminUrl}/readyz`)).status).toBe(503);
	expect(await stream).toMatchObject({ status: 200, whole: true });
	await closed;
});

test("an upstream that is not there: 502 and not ready, and well again when it comes", async () => {
	const bed = await openTestBed();
	try {
		await bed.mock.close();
		const ask = () =>
			fetch(`${bed.gateway.dataUrl}/v1/chat/completions`, {
				method: "POST",
				headers: { "content-type": "application/json" },
				body: JSON.stringify({ model: "mock", max_tokens: 2, messages: [{ role: "user", content: "hi" }] }),
			});
		await until("it is told that nothing answers", async () => (await ask()).status === 502);
		await until("it is not ready", async () => {
			await ask();
			return (await fetch(`${bed.gateway.adminUrl}/readyz`)).status === 503;
		});
		await until("all is given back", () => atRest(bed));
		const again = await startMockLlm({ port: bed.mock.port, speed: 50 });
		await until("it is served again", async () => (await ask()).status === 200);
		await again.close();
	} finally {
		await bed.close();
	}
});
