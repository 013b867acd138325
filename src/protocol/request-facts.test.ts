import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestFacts } from "../core/model/request-facts.ts";
import { DATA_PATHS } from "./dialects.ts";
import { AUDIO_TOKENS, DOCUMENT_TOKENS, IMAGE_TOKENS, LOW_DETAIL_IMAGE_TOKENS } from "./prompt-meter.ts";
import { readRequestFacts } from "./request-facts.ts";

const CHAT = "/v1/chat/completions";

function facts(path: string, body: unknown): RequestFacts {
	const reading = readRequestFacts(path, body);
	if (!reading.ok) throw new Error(reading.refusal.message);
	return reading.facts;
}

function refusal(path: string, body: unknown) {
	const reading = readRequestFacts(path, body);
	if (reading.ok) throw new Error("was accepted");
	return reading.refusal;
}

const chat = { model: "m", messages: [{ role: "user", content: "hello" }] };
const message = { model: "m", max_tokens: 9, messages: [{ role: "user", content: "hello" }] };

describe("readRequestFacts", () => {
	it("reads a chat request", () => {
		const body = {
			...chat,
			stream: true,
			stream_options: { include_usage: true },
			n: 2,
			max_tokens: 5,
			max_completion_tokens: 7,
			tools: [{ type: "function", function: { name: "f", parameters: { a: "bc" } } }],
		};
		expect(facts(CHAT, body)).toMatchObject({
			operation: "chat",
			model: "m",
			stream: true,
			wantsStreamUsage: true,
			promptChars: "hello".length + "typefunctionfunctionnamefparametersabc".length,
			promptExtraTokens: 0,
			maxTokens: 7,
			sequences: 2,
			hasTools: true,
		});
	});

	it("counts pictures, sound and files by constants, not by their base64", () => {
		const content = [
			{ type: "text", text: "see" },
			{ type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(9000)}` } },
			{ type: "image_url", image_url: { url: "http://x", detail: "low" } },
			{ type: "input_audio", input_audio: { data: "A".repeat(9000) } },
			{ type: "file", file: { file_data: "A".repeat(9000) } },
		];
		expect(facts(CHAT, { ...chat, messages: [{ role: "user", content }] })).toMatchObject({
			promptChars: 3,
			promptExtraTokens: IMAGE_TOKENS + LOW_DETAIL_IMAGE_TOKENS + AUDIO_TOKENS + DOCUMENT_TOKENS,
		});
	});

	it("reads system, tool results and text documents of the Anthropic form", () => {
		const body = {
			...message,
			system: [{ type: "text", text: "sys" }],
			messages: [
				{
					role: "user",
					content: [
						{ type: "document", source: { type: "text", media_type: "text/plain", data: "docs" } },
						{ type: "tool_result", tool_use_id: "t", content: [{ type: "image", source: { data: "AAAA" } }] },
					],
				},
			],
		};
		expect(facts("/v1/messages", body)).toMatchObject({
			operation: "message",
			promptChars: 7,
			promptExtraTokens: IMAGE_TOKENS,
			maxTokens: 9,
			wantsStreamUsage: true,
		});
		expect(facts("/v1/messages/count_tokens", body).maxTokens).toBeUndefined();
	});

	it("multiplies prompt arrays with n and best_of", () => {
		const of = (body: object) => facts("/v1/completions", { model: "m", ...body });
		expect(of({ prompt: ["a", "bc"], n: 2, best_of: 3 })).toMatchObject({ sequences: 6, promptChars: 3 });
		expect(of({ prompt: [1, 2, 3] })).toMatchObject({ sequences: 1, promptExtraTokens: 3 });
		expect(of({ prompt: [[1], [2, 3]] })).toMatchObject({ sequences: 2, promptExtraTokens: 3 });
		expect(of({ prompt: "x", max_tokens: 0 }).maxTokens).toBe(0);
		expect(facts("/v1/embeddings", { model: "m", input: ["a", "b"] })).toMatchObject({ sequences: 2, promptChars: 2 });
	});

	it("reads responses", () => {
		const body = { model: "m", instructions: "ab", input: [{ role: "user", content: "cde" }], max_output_tokens: 4 };
		expect(facts("/v1/responses", body)).toMatchObject({ promptChars: 5, maxTokens: 4, operation: "response" });
		expect(facts("/v1/responses", { model: "m", input: "abc" }).promptChars).toBe(3);
	});

	it("gives every turn of a conversation one key, and other conversations another", () => {
		const turn = (...texts: string[]) =>
			facts(CHAT, {
				model: "m",
				messages: [
					{ role: "system", content: "s" },
					...texts.map((content, index) => ({ role: index % 2 === 0 ? "user" : "assistant", content })),
				],
			}).conversationKey;
		expect(turn("hi")).toBe(turn("hi", "hello", "more"));
		expect(turn("hi")).not.toBe(turn("ho"));
	});

	it.each<[string, unknown, string]>([
		[CHAT, null, "the body is null; allowed: a JSON object"],
		[CHAT, [], "the body is a list of 0; allowed: a JSON object"],
		[CHAT, {}, "model is missing; allowed: the name of a model, 1 to 256 characters"],
		[CHAT, { ...chat, model: 4 }, "model: 4 is not allowed; allowed: the name of a model, 1 to 256 characters"],
		[CHAT, { ...chat, stream: "yes" }, 'stream: "yes" is not allowed; allowed: true or false'],
		[CHAT, { ...chat, max_tokens: -1 }, "max_tokens: -1 is not allowed; allowed: a whole number from 1 to 10000000"],
		[CHAT, { ...chat, max_tokens: 0 }, "max_tokens: 0 is not allowed; allowed: a whole number from 1 to 10000000"],
		[
			CHAT,
			{ ...chat, max_tokens: 1e300 },
			"max_tokens: 1e+300 is not allowed; allowed: a whole number from 1 to 10000000",
		],
		[
			CHAT,
			{ ...chat, max_tokens: Number.NaN },
			"max_tokens: NaN is not allowed; allowed: a whole number from 1 to 10000000",
		],
		[CHAT, { ...chat, n: 129 }, "n: 129 is not allowed; allowed: a whole number from 1 to 128"],
		[CHAT, { ...chat, stream_options: [] }, "stream_options: a list of 0 is not allowed; allowed: an object"],
		[CHAT, { model: "m" }, "messages is missing; allowed: a list of messages"],
		[CHAT, { model: "m", messages: [] }, "messages is empty; allowed: at least one message"],
		[
			CHAT,
			{ model: "m", messages: ["x"] },
			'messages[0]: "x" is not allowed; allowed: an object with role and content',
		],
		[CHAT, { ...chat, tools: {} }, "tools: an object is not allowed; allowed: a list"],
		["/v1/messages", { ...message, system: 1 }, "system: 1 is not allowed; allowed: a string or a list of text blocks"],
		["/v1/embeddings", { model: "m", input: [-1] }, "input: -1 is not allowed; allowed: token ids from 0"],
		["/v1/nothing", chat, 'path "/v1/nothing" is not served here'],
	])("%s refuses %j", (path, body, text) => {
		expect(refusal(path, body).message).toBe(text);
	});

	it("refuses depth bombs and ignores prototype keys", () => {
		const bomb = JSON.parse(
			`{"model":"m","messages":[{"role":"user","content":${"[".repeat(9000)}${"]".repeat(9000)}}]}`,
		);
		expect(refusal(CHAT, bomb)).toMatchObject({ code: "invalid_request", param: "body" });
		const odd = JSON.parse('{"__proto__":{"model":"evil","stream":true},"constructor":1,"messages":[{"role":"user"}]}');
		expect(refusal(CHAT, odd).param).toBe("model");
		expect(({} as Record<string, unknown>)["model"]).toBeUndefined();
	});

	it("never throws, and gives sound numbers to whatever it accepts", () => {
		const loose = fc.oneof(fc.jsonValue({ maxDepth: 4 }), fc.anything({ maxDepth: 2 }));
		const body = fc.record(
			{
				model: fc.oneof(fc.constant("m"), loose),
				messages: fc.oneof(fc.array(fc.record({ role: fc.constant("user"), content: loose })), loose),
				prompt: loose,
				input: loose,
				system: loose,
				tools: loose,
				n: loose,
				stream_options: loose,
				max_tokens: fc.oneof(fc.integer({ min: 1, max: 99 }), loose),
			},
			{ requiredKeys: [] },
		);
		fc.assert(
			fc.property(fc.constantFrom(...DATA_PATHS.map(({ path }) => path)), fc.oneof(body, loose), (path, value) => {
				const reading = readRequestFacts(path, value);
				if (!reading.ok) {
					expect(reading.refusal.message).not.toBe("");
					return;
				}
				const { promptChars, promptExtraTokens, sequences, maxTokens } = reading.facts;
				for (const figure of [promptChars, promptExtraTokens, maxTokens ?? 0]) {
					expect(Number.isInteger(figure)).toBe(true);
					expect(figure).toBeGreaterThanOrEqual(0);
				}
				expect(sequences).toBeGreaterThanOrEqual(1);
			}),
		);
	});
});
