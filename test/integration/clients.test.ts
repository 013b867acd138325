/** The official clients, unmodified, against a gateway and a mock LLM. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { atRest, openTestBed, type TestBed, until } from "./running-gateway.ts";

let bed: TestBed;
let openai: OpenAI;
let anthropic: Anthropic;
const messages = [{ role: "user" as const, content: "hello" }];
const call = { model: "mock", max_tokens: 8, messages };

beforeAll(async () => {
	bed = await openTestBed();
	const { dataUrl } = bed.gateway;
	openai = new OpenAI({
		baseURL: `${dataUrl}/v1`,
		apiKey: "none",
		defaultHeaders: { Authorization: null },
		maxRetries: 0,
	});
	anthropic = new Anthropic({ baseURL: dataUrl, apiKey: "none", defaultHeaders: { "x-api-key": null }, maxRetries: 0 });
});

afterAll(() => bed.close());

describe("openai", () => {
	test("a whole answer, with our headers", async () => {
		const { data, response } = await openai.chat.completions.create(call).withResponse();
		expect(data.usage?.completion_tokens).toBeGreaterThan(0);
		expect(response.headers.get("x-request-id")).toMatch(/^req_/);
		expect(response.headers.get("x-tgw-queue")).toBe("P4");
		expect(response.headers.get("x-tgw-routed-by")).toBe("default");
		expect(response.headers.get("x-tokens-used")).toBe(String(data.usage?.total_tokens));
	});

	test("a stream, without the usage chunk that nobody asked for", async () => {
		let text = "";
		let usage = 0;
		for await (const chunk of await openai.chat.completions.create({ ...call, stream: true })) {
			text += chunk.choices[0]?.delta?.content ?? "";
			if (chunk.usage) usage++;
		}
		expect(text.length).toBeGreaterThan(0);
		expect(usage).toBe(0);
	});

	test("a stream with usage when it was asked for", async () => {
		let tokens = 0;
		const stream = await openai.chat.completions.create({
			...call,
			stream: true,
			stream_options: { include_usage: true },
		});
		for await (const chunk of stream) tokens = chunk.usage?.completion_tokens ?? tokens;
		expect(tokens).toBeGreaterThan(0);
	});

	test("tool calls pass through", async () => {
		const answer = await openai.chat.completions.create(
			{
				...call,
				tools: [
					{
						type: "function",
						function: { name: "look_up", parameters: { type: "object", properties: { q: { type: "string" } } } },
					},
				],
			},
			{ headers: { "x-mock-tool-call": "1" } },
		);
		expect(answer.choices[0]?.message.tool_calls?.[0]).toMatchObject({
			type: "function",
			function: { name: "look_up" },
		});
	});

	test("models are listed", async () => {
		const models = await openai.models.list();
		expect(models.data.length).toBeGreaterThan(0);
	});

	test("an abort in mid-stream reaches the engine and gives everything back", async () => {
		const before = bed.mock.ledger().totals.aborted;
		const stream = await openai.chat.completions.create(
			{ ...call, max_tokens: 5000, stream: true },
			{ headers: { "x-mock-output-tokens": "5000" } },
		);
		for await (const _ of stream) break;
		await until("the engine saw the abort", () => bed.mock.ledger().totals.aborted > before);
		await until("all is given back", () => atRest(bed));
	});

	test.each([
		["an unknown token", { headers: { Authorization: "Bearer tok_nobody" } }, 401, "unknown_token"],
		["a wrong hint", { headers: { "X-Priority": "urgent" } }, 400, "invalid_header_value"],
	])("%s is refused with its code", async (_, options, status, code) => {
		await expect(openai.chat.completions.create(call, options)).rejects.toMatchObject({ status, code });
	});

	test("a body with a wrong type is refused, naming the field", async () => {
		const wrong = { ...call, max_tokens: "many" } as unknown as typeof call;
		await expect(openai.chat.completions.create(wrong)).rejects.toMatchObject({
			status: 400,
			code: "invalid_request",
			param: "max_tokens",
		});
	});

	test("overload inside a 200 becomes a real status", async () => {
		const stream = openai.chat.completions.create(
			{ ...call, stream: true },
			{ headers: { "x-mock-fault": "overload-200" } },
		);
		await expect(stream).rejects.toMatchObject({ status: 502, code: "upstream_unavailable" });
	});

	test("a stream cut in the middle ends with an error, not as if it were whole", async () => {
		const stream = await openai.chat.completions.create(
			{ ...call, max_tokens: 50, stream: true },
			{ headers: { "x-mock-fault": "cut:after=3", "x-mock-output-tokens": "50" } },
		);
		await expect(
			(async () => {
				for await (const _ of stream);
			})(),
		).rejects.toThrow();
	});
});

describe("anthropic", () => {
	test("a whole answer and a stream", async () => {
		const answer = await anthropic.messages.create(call);
		expect(answer.usage.output_tokens).toBeGreaterThan(0);
		const final = await anthropic.messages.stream(call).finalMessage();
		expect(final.usage.output_tokens).toBeGreaterThan(0);
		expect(final.content[0]?.type).toBe("text");
	});

	test("errors wear its form", async () => {
		const refused = anthropic.messages.create({ ...call, max_tokens: -1 });
		await expect(refused).rejects.toMatchObject({
			status: 400,
			error: { type: "error", error: { code: "invalid_request" } },
		});
	});
});
