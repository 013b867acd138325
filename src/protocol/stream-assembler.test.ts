import { describe, expect, test } from "vitest";
import { assembleStream, canAssemble } from "./stream-assembler.ts";

const events = (...data: unknown[]) => data.map((one) => `data: ${JSON.stringify(one)}\n\n`).join("");
const chunk = (choices: unknown[], more: object = {}) => ({
	id: "c1",
	object: "chat.completion.chunk",
	created: 7,
	model: "m",
	choices,
	...more,
});

describe("chat completions", () => {
	test("text of several choices, finish reasons and usage", () => {
		const text = `${events(
			chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }]),
			chunk([{ index: 1, delta: { role: "assistant", content: "Yes" }, finish_reason: null }]),
			chunk([{ index: 0, delta: { content: "Hel" }, finish_reason: null }]),
			chunk([{ index: 0, delta: { content: "lo" }, finish_reason: "stop" }]),
			chunk([{ index: 1, delta: {}, finish_reason: "length" }]),
			chunk([], { usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 } }),
		)}data: [DONE]\n\n`;
		expect(assembleStream("chat", text)).toEqual({
			id: "c1",
			object: "chat.completion",
			created: 7,
			model: "m",
			choices: [
				{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" },
				{ index: 1, message: { role: "assistant", content: "Yes" }, finish_reason: "length" },
			],
			usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
		});
	});

	test("tool calls by their index, logprobs one after the other, reasoning apart from content", () => {
		const call = (index: number, fields: object) => ({ index, ...fields });
		const text = events(
			chunk([{ index: 0, delta: { role: "assistant", content: null, reasoning_content: "think " } }]),
			chunk([{ index: 0, delta: { reasoning_content: "hard" }, logprobs: { content: [{ token: "a" }] } }]),
			chunk([
				{
					index: 0,
					delta: { tool_calls: [call(0, { id: "t0", type: "function", function: { name: "f", arguments: "" } })] },
				},
			]),
			chunk([
				{
					index: 0,
					delta: { tool_calls: [call(0, { function: { arguments: '{"x"' } })] },
					logprobs: { content: [{ token: "b" }] },
				},
			]),
			chunk([
				{
					index: 0,
					delta: { tool_calls: [call(1, { id: "t1", type: "function", function: { name: "g", arguments: "{}" } })] },
				},
			]),
			chunk([
				{ index: 0, delta: { tool_calls: [call(0, { function: { arguments: ":1}" } })] }, finish_reason: "tool_calls" },
			]),
		);
		expect(assembleStream("chat", text)!["choices"]).toEqual([
			{
				index: 0,
				finish_reason: "tool_calls",
				logprobs: { content: [{ token: "a" }, { token: "b" }] },
				message: {
					role: "assistant",
					content: null,
					reasoning_content: "think hard",
					tool_calls: [
						{ id: "t0", type: "function", function: { name: "f", arguments: '{"x":1}' } },
						{ id: "t1", type: "function", function: { name: "g", arguments: "{}" } },
					],
				},
			},
		]);
	});
});

test("text completions, with CRLF and a comment between", () => {
	const text = `: ping\r\n\r\n${events(
		{ id: "x", object: "text_completion", choices: [{ index: 0, text: "ab", finish_reason: null }] },
		{ id: "x", object: "text_completion", choices: [{ index: 0, text: "cd", finish_reason: "length" }] },
	).replaceAll("\n", "\r\n")}`;
	expect(assembleStream("completion", text)).toEqual({
		id: "x",
		object: "text_completion",
		choices: [{ index: 0, text: "abcd", finish_reason: "length" }],
	});
});

test("messages: text, thinking with its signature, tool input, totals that overwrite", () => {
	const text = events(
		{
			type: "message_start",
			message: {
				id: "m",
				type: "message",
				role: "assistant",
				content: [],
				stop_reason: null,
				usage: { input_tokens: 9, output_tokens: 1 },
			},
		},
		{ type: "content_block_start", index: 0, content_block: { type: "thinking", thinking: "" } },
		{ type: "ping" },
		{ type: "content_block_delta", index: 0, delta: { type: "thinking_delta", thinking: "hm" } },
		{ type: "content_block_delta", index: 0, delta: { type: "signature_delta", signature: "sig" } },
		{ type: "content_block_stop", index: 0 },
		{ type: "content_block_start", index: 1, content_block: { type: "text", text: "" } },
		{ type: "content_block_delta", index: 1, delta: { type: "text_delta", text: "Hi" } },
		{ type: "content_block_start", index: 2, content_block: { type: "tool_use", id: "t", name: "f", input: {} } },
		{ type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: '{"a":' } },
		{ type: "content_block_delta", index: 2, delta: { type: "input_json_delta", partial_json: "[1]}" } },
		{
			type: "message_delta",
			delta: { stop_reason: "tool_use", stop_sequence: null },
			usage: { input_tokens: null, output_tokens: 12 },
		},
		{ type: "message_stop" },
	);
	expect(assembleStream("message", text)).toEqual({
		id: "m",
		type: "message",
		role: "assistant",
		content: [
			{ type: "thinking", thinking: "hm", signature: "sig" },
			{ type: "text", text: "Hi" },
			{ type: "tool_use", id: "t", name: "f", input: { a: [1] } },
		],
		stop_reason: "tool_use",
		stop_sequence: null,
		usage: { input_tokens: 9, output_tokens: 12 },
	});
});

test("what is no such stream gives nothing, and other operations are not put together", () => {
	expect(assembleStream("chat", "data: [DONE]\n\n")).toBeUndefined();
	expect(assembleStream("message", events({ type: "ping" }))).toBeUndefined();
	expect(["chat", "embedding", "response", "count_tokens"].map((operation) => canAssemble(operation as never))).toEqual(
		[true, false, false, false],
	);
});
