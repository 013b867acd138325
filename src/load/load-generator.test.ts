import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LoadRequest, LoadResult } from "./load-generator.ts";
import { generateLoad } from "./load-generator.ts";
import { type MockLlm, startMockLlm } from "./mock-llm-server.ts";

let mock: MockLlm;

beforeEach(async () => {
	mock = await startMockLlm({ speed: 100 });
});

afterEach(() => mock.close());

function requestOf(extra: Partial<LoadRequest> & { stream?: boolean; tokens?: number } = {}): LoadRequest {
	const { stream = true, tokens = 10, ...rest } = extra;
	const path = rest.path ?? "/v1/chat/completions";
	const body = {
		model: "m",
		messages: [{ role: "user", content: "x".repeat(80) }],
		prompt: "x".repeat(80),
		max_tokens: tokens,
		ignore_eos: true,
		...(stream && { stream, stream_options: { include_usage: true } }),
	};
	return { atMs: 0, tier: "production", path, body: JSON.stringify(body), ...rest };
}

async function results(requests: Iterable<LoadRequest>, extra: { baseUrl?: string; maxInFlight?: number } = {}) {
	const list: LoadResult[] = [];
	const summary = await generateLoad({
		baseUrl: mock.url,
		requests,
		onResult: (result) => list.push(result),
		...extra,
	});
	return { list, summary };
}

describe("generateLoad", () => {
	it.each([
		["/v1/chat/completions", true],
		["/v1/chat/completions", false],
		["/v1/completions", true],
		["/v1/messages", true],
		["/v1/messages", false],
	])("reads tokens and times of %s, streaming %s", async (path, stream) => {
		const { list, summary } = await results([requestOf({ path, stream })]);
		expect(summary).toMatchObject({ sent: 1, notSent: 0 });
		expect(list[0]).toMatchObject({
			tier: "production",
			status: 200,
			promptTokens: 20,
			completionTokens: 10,
			aborted: false,
		});
		expect(list[0]).not.toHaveProperty("errorCode");
		expect(list[0]?.ttftMs).toBeGreaterThan(0);
		expect(list[0]?.totalMs).toBeGreaterThanOrEqual(list[0]?.ttftMs ?? Number.NaN);
	});

	it("agrees with the ledger over many requests of several tiers", async () => {
		const plan = Array.from({ length: 200 }, (_, index) =>
			requestOf({
				atMs: index / 2,
				tier: index % 2 ? "batch" : "production",
				tokens: 1 + (index % 30),
				stream: index % 3 > 0,
			}),
		);
		const { list } = await results(plan);
		expect(list.length).toBe(200);
		expect(list.filter((result) => result.tier === "batch").length).toBe(100);
		const tokens = list.reduce((sum, result) => sum + result.completionTokens, 0);
		expect(mock.ledger().totals).toMatchObject({ finished: 200, completion_tokens: tokens, prompt_tokens: 4000 });
	});

	it("names what went wrong", async () => {
		const withFault = (fault: string, stream = true) => requestOf({ headers: { "x-mock-fault": fault }, stream });
		const codeOf = async (request: LoadRequest) => (await results([request])).list[0];
		expect(await codeOf(withFault("503"))).toMatchObject({ status: 503, errorCode: "ServiceUnavailable" });
		expect(await codeOf(withFault("overload-200"))).toMatchObject({ status: 200, errorCode: "SERVICE_UNAVAILABLE" });
		expect(await codeOf(withFault("no-done"))).toMatchObject({ status: 200, errorCode: "cut" });
		expect((await codeOf(withFault("cut:after=2")))?.errorCode).toMatch(/UND_ERR_SOCKET|ECONNRESET/);
		const unused = http.createServer().listen(0, "127.0.0.1");
		await new Promise((resolve) => unused.once("listening", resolve));
		const { port } = unused.address() as AddressInfo;
		await new Promise((resolve) => unused.close(resolve));
		const { list } = await results([requestOf()], { baseUrl: `http://127.0.0.1:${port}` });
		expect(list[0]).toMatchObject({ status: 0, errorCode: "ECONNREFUSED" });
	});

	it("leaves when told to, and is bounded", async () => {
		const endless = requestOf({ headers: { "x-mock-fault": "stall:after=1" }, abortAfterMs: 100 });
		const { list, summary } = await results([endless, endless, endless], { maxInFlight: 2 });
		expect(summary).toMatchObject({ sent: 2, notSent: 1 });
		expect(list.map((result) => result.errorCode)).toEqual(["not_sent", "aborted", "aborted"]);
		expect(list.map((result) => result.aborted)).toEqual([false, true, true]);
	});

	it("stops an endless plan at the signal", async () => {
		const controller = new AbortController();
		function* endless(): Generator<LoadRequest> {
			for (let atMs = 0; ; atMs += 5) yield requestOf({ atMs });
		}
		let finished = 0;
		const summary = await generateLoad({
			baseUrl: mock.url,
			requests: endless(),
			signal: controller.signal,
			onResult: (result) => {
				if (result.errorCode === undefined && ++finished === 5) controller.abort();
			},
		});
		expect(finished).toBeGreaterThanOrEqual(5);
		expect(summary.sent).toBeGreaterThanOrEqual(5);
	});
});
