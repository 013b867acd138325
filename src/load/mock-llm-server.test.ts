import { once } from "node:events";
import http from "node:http";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ENGINE_PROFILES } from "../simulate/engine-profiles.ts";
import { type MockLlm, startMockLlm } from "./mock-llm-server.ts";

let mock: MockLlm;
let openai: OpenAI;
let anthropic: Anthropic;

/** Fast enough that no test waits for the engine. */
const SPEED = 200;

beforeEach(async () => {
	mock = await startMockLlm({ seed: 5, speed: SPEED });
	openai = new OpenAI({ baseURL: `${mock.url}/v1`, apiKey: "none", maxRetries: 0 });
	anthropic = new Anthropic({ baseURL: mock.url, apiKey: "none", maxRetries: 0 });
});

afterEach(() => mock.close());

const messages = [{ role: "user" as const, content: "x".repeat(400) }];
const tools = [
	{
		type: "function" as const,
		function: { name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } },
	},
];

function post(path: string, body: object, headers: Record<string, string> = {}): Promise<Response> {
	return fetch(mock.url + path, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify(body),
	});
}

/** Reads the ledger again and again, letting the sockets' events through, until it says so. */
async function ledgerUntil(holds: (ledger: ReturnType<MockLlm["ledger"]>) => boolean) {
	for (;;) {
		const ledger = mock.ledger();
		if (holds(ledger)) return ledger;
		await new Promise((resolve) => setImmediate(resolve));
	}
}

describe("the official OpenAI client", () => {
	it("completes a chat, with tokens as counted by the ledger", async () => {
		const completion = await openai.chat.completions.create({ model: "m", messages, max_tokens: 20 });
		expect(completion.usage).toEqual({ prompt_tokens: 100, completion_tokens: 20, total_tokens: 120 });
		expect(completion.choices[0]?.finish_reason).toBe("length");
		expect(completion.choices[0]?.message.content?.split(" ").length).toBe(20);
		expect(mock.ledger().totals).toMatchObject({
			finished: 1,
			prompt_tokens: 100,
			completion_tokens: 20,
			sent_tokens: 20,
		});
	});

	it("streams the same text that it gets at once, one token an event, usage last", async () => {
		const whole = await openai.chat.completions.create({ model: "m", messages, max_tokens: 30 });
		const stream = await openai.chat.completions.create({
			model: "m",
			messages,
			max_tokens: 30,
			stream: true,
			stream_options: { include_usage: true },
		});
		let text = "";
		let events = 0;
		let usage: unknown;
		let reason: unknown;
		for await (const chunk of stream) {
			const content = chunk.choices[0]?.delta.content ?? "";
			if (content !== "") events++;
			text += content;
			reason = chunk.choices[0]?.finish_reason ?? reason;
			if (chunk.usage) usage = chunk.usage;
		}
		expect(text).toBe(whole.choices[0]?.message.content);
		expect(events).toBe(30);
		expect(reason).toBe("length");
		expect(usage).toEqual({ prompt_tokens: 100, completion_tokens: 30, total_tokens: 130 });
	});

	it("gets tool calls, streamed and not", async () => {
		const headers = { "x-mock-tool-call": "1" };
		const whole = await openai.chat.completions.create({ model: "m", messages, tools, max_tokens: 9 }, { headers });
		const call = whole.choices[0]?.message.tool_calls?.[0];
		expect(whole.choices[0]?.finish_reason).toBe("tool_calls");
		expect(call?.type === "function" && call.function.name).toBe("weather");
		const expected = call?.type === "function" ? call.function.arguments : "";
		expect(Object.keys(JSON.parse(expected))).toEqual(["city"]);
		const stream = openai.chat.completions.stream({ model: "m", messages, tools, max_tokens: 9 }, { headers });
		const final = await stream.finalChatCompletion();
		const streamed = final.choices[0]?.message.tool_calls?.[0];
		expect(streamed?.type === "function" && streamed.function.arguments).toBe(expected);
	});

	it("lists models, completes prompts in parallel, and embeds", async () => {
		expect((await openai.models.list()).data.map((model) => model.id)).toEqual(["mock-model"]);
		const two = await openai.completions.create({ model: "m", prompt: ["abcd", "efgh"], n: 2, max_tokens: 3 });
		expect(two.choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3]);
		expect(two.usage).toEqual({ prompt_tokens: 2, completion_tokens: 12, total_tokens: 14 });
		const embedding = await openai.embeddings.create({ model: "m", input: ["abcd", "abcd", "efgh"], dimensions: 8 });
		expect(embedding.data.map((one) => one.embedding.length)).toEqual([8, 8, 8]);
		expect(embedding.data[0]?.embedding).toEqual(embedding.data[1]?.embedding);
		expect(embedding.data[0]?.embedding).not.toEqual(embedding.data[2]?.embedding);
		expect(embedding.usage.prompt_tokens).toBe(3);
	});

	it("sees errors as vLLM words them", async () => {
		await expect(openai.chat.completions.create({ model: "m", messages, max_tokens: 200_000 })).rejects.toMatchObject({
			status: 400,
			param: "input_tokens",
			message: expect.stringContaining("maximum context length is 200000 tokens"),
		});
		const headers = { "x-mock-fault": "429" };
		await expect(openai.chat.completions.create({ model: "m", messages }, { headers })).rejects.toMatchObject({
			status: 429,
		});
		const overload = { headers: { "x-mock-fault": "overload-200" } };
		const stream = await openai.chat.completions.create({ model: "m", messages, stream: true }, overload);
		await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow("queue is full");
	});

	it("aborts, and the engine drops the request at once", async () => {
		const slow = await startMockLlm({ seed: 5 });
		try {
			const client = new OpenAI({ baseURL: `${slow.url}/v1`, apiKey: "none", maxRetries: 0 });
			const stream = await client.chat.completions.create({ model: "m", messages, max_tokens: 10_000, stream: true });
			for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
			stream.controller.abort();
			for (;;) {
				const { totals, requests } = slow.ledger();
				if (totals.aborted === 1) {
					expect(requests[0]?.completion_tokens).toBeGreaterThan(0);
					expect(requests[0]?.completion_tokens).toBeLessThan(1000);
					break;
				}
				await new Promise((resolve) => setImmediate(resolve));
			}
		} finally {
			await slow.close();
		}
	});
});

describe("the official Anthropic client", () => {
	const body = { model: "m", messages, max_tokens: 25 };

	it("gets a message, streamed and not", async () => {
		const whole = await anthropic.messages.create(body);
		expect(whole.usage).toMatchObject({ input_tokens: 100, output_tokens: 25 });
		expect(whole.stop_reason).toBe("max_tokens");
		const events: string[] = [];
		const stream = anthropic.messages.stream(body).on("streamEvent", (event) => events.push(event.type));
		const final = await stream.finalMessage();
		expect(final.content).toMatchObject(whole.content);
		expect(final.usage).toMatchObject({ input_tokens: 100, output_tokens: 25 });
		expect(events).toEqual([
			"message_start",
			"content_block_start",
			...new Array<string>(25).fill("content_block_delta"),
			"content_block_stop",
			"message_delta",
			"message_stop",
		]);
	});

	it("gets tool calls, counts tokens, and sees errors in its envelope", async () => {
		const tool = { name: "weather", input_schema: { type: "object" as const, properties: { city: {} } } };
		const forced = { ...body, tools: [tool], tool_choice: { type: "any" as const } };
		const whole = await anthropic.messages.create(forced);
		expect(whole.stop_reason).toBe("tool_use");
		const final = await anthropic.messages.stream(forced).finalMessage();
		expect(final.content[0]).toMatchObject({ type: "tool_use", name: "weather" });
		expect(final.content[0]?.type === "tool_use" && final.content[0].input).toEqual(
			whole.content[0]?.type === "tool_use" && whole.content[0].input,
		);
		expect(await anthropic.messages.countTokens({ model: "m", messages })).toEqual({ input_tokens: 100 });
		await expect(anthropic.messages.create(body, { headers: { "x-mock-fault": "error:529" } })).rejects.toMatchObject({
			status: 529,
			error: { type: "error", error: { type: "overloaded_error" } },
		});
	});
});

describe("faults", () => {
	const stream = { model: "m", messages, max_tokens: 10, stream: true, stream_options: { include_usage: true } };
	const fault = (specification: string, id = "r") => ({ "x-mock-fault": specification, "x-request-id": id });

	it("cut: breaks the connection after so many tokens", async () => {
		const response = await post("/v1/chat/completions", stream, fault("cut:after=3"));
		let text = "";
		await expect(
			(async () => {
				const decoder = new TextDecoder();
				for await (const chunk of response.body ?? []) text += decoder.decode(chunk, { stream: true });
			})(),
		).rejects.toThrow();
		expect(text.match(/"content":"[^"]/g)?.length).toBe(3);
		expect(mock.ledger("r").requests[0]).toMatchObject({ status: "failed", completion_tokens: 3, sent_tokens: 3 });
		await expect(
			post("/v1/chat/completions", { ...stream, stream: false, stream_options: null }, fault("cut:after=3")).then(
				(cut) => cut.text(),
			),
		).rejects.toThrow();
	});

	it("stall: says nothing more, until the client leaves", async () => {
		const controller = new AbortController();
		const response = await fetch(`${mock.url}/v1/messages`, {
			method: "POST",
			headers: fault("stall:after=2"),
			body: JSON.stringify(stream),
			signal: controller.signal,
		});
		const reader = response.body?.getReader();
		let text = "";
		while ((text.match(/text_delta/g)?.length ?? 0) < 2)
			text += new TextDecoder().decode((await reader?.read())?.value);
		expect(mock.engine()).toMatchObject({ waiting: 0 });
		expect(mock.ledger().totals.running).toBe(1);
		controller.abort();
		const { requests } = await ledgerUntil(({ totals }) => totals.running === 0);
		expect(requests[0]).toMatchObject({ status: "aborted", completion_tokens: 2 });
	});

	it("no-usage, no-done, garbage, slow-first-byte, an unknown one", async () => {
		const text = async (specification: string) =>
			(await post("/v1/chat/completions", stream, fault(specification))).text();
		const whole = await text("slow-first-byte:1");
		expect(whole).toContain('"usage"');
		expect(whole.endsWith("data: [DONE]\n\n")).toBe(true);
		expect(await text("no-usage")).not.toContain('"usage"');
		const both = await text("no-usage;no-done");
		expect(both).not.toContain('"usage"');
		expect(both).not.toContain("[DONE]");
		expect(await text("garbage")).toContain('{"choices":[{]');
		expect(await text("gremlins")).toContain('fault \\"gremlins\\" is unknown; allowed are');
	});

	it("overload as an error inside a 200, per engine and dialect", async () => {
		const sglang = await post("/v1/chat/completions", stream, fault("overload-200"));
		expect([sglang.status, await sglang.text()]).toEqual([200, expect.stringContaining('"code":503')]);
		const tgi = await post("/v1/chat/completions", stream, fault("overload-200:tgi"));
		expect([tgi.status, await tgi.text()]).toEqual([200, expect.stringContaining('"http_status_code":422')]);
		const message = await post("/v1/messages", stream, fault("overload-200"));
		expect(await message.text()).toMatch(/^event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error"/);
	});

	it("strike the share of requests that the flag says, the same for a seed", async () => {
		const refused = async () => {
			const flaky = await startMockLlm({ seed: 3, speed: SPEED, fault: { status: 500 }, faultRate: 0.3 });
			try {
				const statuses: number[] = [];
				for (let turn = 0; turn < 40; turn++) {
					const body = JSON.stringify({ model: "m", prompt: "a", max_tokens: 1 });
					const response = await fetch(`${flaky.url}/v1/completions`, { method: "POST", body });
					await response.text();
					statuses.push(response.status);
				}
				return statuses;
			} finally {
				await flaky.close();
			}
		};
		const first = await refused();
		const share = first.filter((status) => status === 500).length / 40;
		expect(share).toBeGreaterThan(0.1);
		expect(share).toBeLessThan(0.5);
		expect(await refused()).toEqual(first);
	});
});

describe("the server", () => {
	it("answers wrong input with a clear 400 and stays up", async () => {
		const broken = await fetch(`${mock.url}/v1/chat/completions`, { method: "POST", body: "{" });
		expect([broken.status, await broken.text()]).toEqual([400, expect.stringContaining("not JSON")]);
		const cases: [object, string][] = [
			[{ messages }, "model"],
			[{ model: "m" }, "messages"],
			[{ model: "m", messages, max_tokens: -1 }, "max_tokens"],
			[{ model: "m", messages, n: 0 }, "n:"],
			[{ model: "m", messages, stream_options: { include_usage: true } }, "Stream options"],
		];
		for (const [body, words] of cases) {
			const response = await post("/v1/chat/completions", body);
			expect([response.status, await response.text()]).toEqual([400, expect.stringContaining(words)]);
		}
		expect((await fetch(`${mock.url}/v1/chat/completions`)).status).toBe(405);
		expect((await fetch(`${mock.url}/nowhere`)).status).toBe(404);
		expect((await fetch(`${mock.url}/health`)).status).toBe(200);
		expect(mock.ledger().totals.requests).toBe(0);
	});

	it("draws natural lengths by seed and prompt, and honours the exact one", async () => {
		const lengthOf = async (content: string, headers: Record<string, string> = {}) => {
			const body = { model: "m", messages: [{ role: "user", content }] };
			const answer = (await (await post("/v1/chat/completions", body, headers)).json()) as OpenAI.ChatCompletion;
			expect(answer.choices[0]?.finish_reason).toBe("stop");
			return answer.usage?.completion_tokens;
		};
		const first = await lengthOf("one");
		expect(await lengthOf("one")).toBe(first);
		expect(await lengthOf("two")).not.toBe(first);
		expect(await lengthOf("two", { "x-mock-output-tokens": "17" })).toBe(17);
	});

	it("queues first in, first out when its slots are full, and shows it under vLLM's names", async () => {
		const narrow = await startMockLlm({ profile: { ...ENGINE_PROFILES["a100-8b"], slots: 2 }, speed: 20 });
		try {
			const order: number[] = [];
			const ask = async (index: number) => {
				const body = JSON.stringify({ model: "m", prompt: `${index}`, max_tokens: 40 });
				await (await fetch(`${narrow.url}/v1/completions`, { method: "POST", body })).text();
				order.push(index);
			};
			const asked = [];
			for (let index = 0; index < 6; index++) {
				asked.push(ask(index));
				while (narrow.ledger().totals.requests <= index) await new Promise((resolve) => setImmediate(resolve));
			}
			const metrics = await (await fetch(`${narrow.url}/metrics`)).text();
			expect(metrics).toMatch(/^vllm:num_requests_running\{model_name="mock-model",engine="0"\} 2$/m);
			expect(metrics).toMatch(/^vllm:num_requests_waiting\{[^}]*\} [1-4]$/m);
			expect(metrics).toMatch(/^vllm:kv_cache_usage_perc\{[^}]*\} 0\.000\d+$/m);
			await Promise.all(asked);
			expect(order.map((index) => Math.floor(index / 2))).toEqual([0, 0, 1, 1, 2, 2]);
			const after = await (await fetch(`${narrow.url}/metrics`)).text();
			expect(after).toMatch(/^vllm:generation_tokens_total\{[^}]*\} 240$/m);
			expect(after).toMatch(/^vllm:time_to_first_token_seconds_count\{[^}]*\} 6$/m);
			expect(after).toMatch(/^vllm:request_success_total\{finished_reason="length",[^}]*\} 6$/m);
		} finally {
			await narrow.close();
		}
	});

	it("keeps nothing for a client that does not read, yet delivers all once it does", async () => {
		const tokens = 60_000;
		const fast = await startMockLlm({ profile: { ...ENGINE_PROFILES["a100-8b"], stepBaseMs: 1 }, speed: 5000 });
		try {
			const request = http.request(`${fast.url}/v1/chat/completions`, { method: "POST" });
			request.end(JSON.stringify({ model: "m", messages, max_tokens: tokens, ignore_eos: true, stream: true }));
			const [response] = (await once(request, "response")) as [http.IncomingMessage];
			response.pause();
			while (fast.ledger().requests[0]?.completion_tokens !== tokens) {
				await new Promise((resolve) => setImmediate(resolve));
			}
			// Far from all sent: what is not in the sockets' buffers is only a number.
			expect(fast.ledger().requests[0]?.sent_tokens).toBeLessThan(tokens / 2);
			let events = 0;
			let rest = "";
			for await (const chunk of response) {
				const lines = (rest + String(chunk)).split("\n\n");
				rest = lines.pop() ?? "";
				events += lines.filter((line) => /"content":"[^"]/.test(line)).length;
			}
			expect(events).toBe(tokens);
			expect(fast.ledger().totals).toMatchObject({ finished: 1, sent_tokens: tokens, completion_tokens: tokens });
		} finally {
			await fast.close();
		}
	});
});
