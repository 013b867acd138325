import { describe, expect, it } from "vitest";
import { anthropicDialect, openaiDialect } from "./dialects.ts";
import { readBodyUsage } from "./usage.ts";

const bytes = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

describe("readBodyUsage", () => {
	it("reads the OpenAI spellings", () => {
		const chat = {
			choices: [{ x: 'no "usage": here' }],
			usage: { prompt_tokens: 5, completion_tokens: 3, reasoning_tokens: 2 },
		};
		expect(readBodyUsage(openaiDialect, bytes(chat))).toEqual({
			promptTokens: 5,
			completionTokens: 3,
			cachedTokens: 0,
			source: "measured",
		});
		const embedding = { data: [{ embedding: [0.1, -2e-5] }], usage: { prompt_tokens: 5, total_tokens: 5 } };
		expect(readBodyUsage(openaiDialect, bytes(embedding))).toMatchObject({ completionTokens: 0, source: "measured" });
		const response = { usage: { input_tokens: 9, output_tokens: 1, input_tokens_details: { cached_tokens: 4 } } };
		expect(readBodyUsage(openaiDialect, bytes(response))).toMatchObject({ promptTokens: 9, cachedTokens: 4 });
	});

	it("adds up the Anthropic parts and is not fooled by a tool's own usage", () => {
		const body = {
			content: [{ type: "tool_use", input: { usage: { input_tokens: 999 } } }],
			usage: { input_tokens: 1, cache_creation_input_tokens: 2, cache_read_input_tokens: 4, output_tokens: 8 },
		};
		expect(readBodyUsage(anthropicDialect, bytes(body))).toEqual({
			promptTokens: 7,
			completionTokens: 8,
			cachedTokens: 4,
			source: "measured",
		});
	});

	it("takes nonsense for silence", () => {
		for (const usage of [
			null,
			5,
			{},
			{ prompt_tokens: -1 },
			{ prompt_tokens: 1.5 },
			{ prompt_tokens: "3" },
			{ prompt_tokens: 1e300 },
		])
			expect(readBodyUsage(openaiDialect, bytes({ usage }))).toBeUndefined();
		expect(readBodyUsage(openaiDialect, bytes([]))).toBeUndefined();
		expect(readBodyUsage(openaiDialect, new TextEncoder().encode('{"usage":{"prompt_tokens":1'))).toBeUndefined();
	});
});
