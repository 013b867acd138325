/**
 * What the mock LLM reads out of a request: prompt size (four characters to a token), answer length, form of the answer.
 *
 * Wrong input is a value (`problem`), worded as vLLM words it, so that clients see what they would see there.
 */
import type { Tokens } from "../core/model/units.ts";
import { answerSeedOf, naturalLength } from "./mock-text.ts";

export type MockOperation = "chat" | "completion" | "embedding" | "message" | "count_tokens";

export interface MockSequence {
	readonly promptTokens: Tokens;
	/** 0 for an embedding. */
	readonly outputTokens: Tokens;
	readonly seed: number;
	/** Ended by its limit rather than by itself. */
	readonly truncated: boolean;
}

export interface MockRequest {
	readonly operation: MockOperation;
	readonly model: string;
	readonly stream: boolean;
	readonly includeUsage: boolean;
	readonly sequences: readonly MockSequence[];
	/** Each prompt once, however many answers it gets. */
	readonly promptTokens: Tokens;
	/** Answer with a call of this tool. */
	readonly toolCall?: { readonly name: string; readonly argument: string };
	readonly dimensions: number;
	readonly base64: boolean;
}

export interface MockRequestOptions {
	readonly seed: number;
	readonly maxModelLength: Tokens;
	readonly header: (name: string) => string | undefined;
}

export interface MockProblem {
	readonly problem: string;
	readonly param: string | null;
}

const CHARS_PER_TOKEN = 4;
const DEFAULT_DIMENSIONS = 64;
const MAX_SEQUENCES = 128;

type Json = Record<string, unknown>;

export function readMockRequest(
	operation: MockOperation,
	body: unknown,
	options: MockRequestOptions,
): MockRequest | MockProblem {
	if (!isObject(body)) return { problem: "the body must be a JSON object", param: null };
	if (typeof body["model"] !== "string") return { problem: "model: a string is required", param: "model" };
	const stream = body["stream"] === true;
	const streamOptions = isObject(body["stream_options"]) ? body["stream_options"] : undefined;
	if (streamOptions !== undefined && !stream) {
		return { problem: "Stream options can only be defined when `stream=True`.", param: "stream_options" };
	}
	const prompts = promptsOf(operation, body);
	if ("problem" in prompts) return prompts;
	const answers = operation === "chat" || operation === "completion" ? (body["n"] ?? 1) : 1;
	if (!isCount(answers) || answers * prompts.list.length > MAX_SEQUENCES) {
		return { problem: `n: a whole number from 1 is required, at most ${MAX_SEQUENCES} sequences in all`, param: "n" };
	}
	const limit = body["max_completion_tokens"] ?? body["max_tokens"] ?? undefined;
	if (limit !== undefined && !isCount(limit)) {
		return {
			problem: `max_tokens: a whole number from 1 is required, got ${JSON.stringify(limit)}`,
			param: "max_tokens",
		};
	}
	if (operation === "message" && limit === undefined)
		return { problem: "max_tokens: Field required", param: "max_tokens" };
	const sequences: MockSequence[] = [];
	let promptTokens = 0;
	for (const prompt of prompts.list) {
		promptTokens += prompt.tokens;
		for (let answer = 0; answer < answers; answer++) {
			const sequence = sequenceOf(operation, body, prompt, limit, answer, options);
			if ("problem" in sequence) return sequence;
			sequences.push(sequence);
		}
	}
	const toolCall = toolCallOf(body, options);
	return {
		operation,
		model: body["model"],
		stream: stream && operation !== "embedding" && operation !== "count_tokens",
		includeUsage: streamOptions?.["include_usage"] === true,
		sequences,
		promptTokens,
		...(toolCall !== undefined && { toolCall }),
		dimensions: isCount(body["dimensions"]) ? Math.min(body["dimensions"], 4096) : DEFAULT_DIMENSIONS,
		base64: body["encoding_format"] === "base64",
	};
}

interface Prompt {
	readonly text: string;
	readonly tokens: Tokens;
}

function sequenceOf(
	operation: MockOperation,
	body: Json,
	prompt: Prompt,
	limit: number | undefined,
	answer: number,
	options: MockRequestOptions,
): MockSequence | MockProblem {
	const seed = answerSeedOf(options.seed, prompt.text, answer);
	if (operation === "embedding" || operation === "count_tokens") {
		if (operation === "embedding" && prompt.tokens > options.maxModelLength) return tooLong(prompt.tokens, 0, options);
		return { promptTokens: prompt.tokens, outputTokens: 0, seed, truncated: false };
	}
	const room = options.maxModelLength - prompt.tokens;
	if (room < 1 || (limit ?? 1) > room) return tooLong(prompt.tokens, limit ?? 1, options);
	const wanted = Number(options.header("x-mock-output-tokens") ?? Number.NaN);
	const natural = isCount(wanted)
		? wanted
		: body["ignore_eos"] === true && limit !== undefined
			? Number.POSITIVE_INFINITY
			: naturalLength(seed);
	const most = limit ?? room;
	return { promptTokens: prompt.tokens, outputTokens: Math.min(natural, most), seed, truncated: natural > most };
}

function tooLong(prompt: Tokens, output: Tokens, options: MockRequestOptions): MockProblem {
	return {
		problem: `This model's maximum context length is ${options.maxModelLength} tokens. However, you requested ${prompt + output} tokens (${prompt} in the messages, ${output} in the completion).`,
		param: "input_tokens",
	};
}

function promptsOf(operation: MockOperation, body: Json): { list: Prompt[] } | MockProblem {
	if (operation === "embedding" || operation === "completion") {
		const name = operation === "embedding" ? "input" : "prompt";
		const value = body[name];
		if (typeof value === "string") return { list: [promptOf(value)] };
		if (!Array.isArray(value) || value.length === 0) return { problem: `${name}: Field required`, param: name };
		if (typeof value[0] === "number") return { list: [{ text: value.join(), tokens: value.length }] };
		return {
			list: value.map((one) =>
				Array.isArray(one) ? { text: one.join(), tokens: Math.max(1, one.length) } : promptOf(String(one)),
			),
		};
	}
	const messages = body["messages"];
	if (!Array.isArray(messages) || messages.length === 0 || !messages.every(isObject)) {
		return { problem: "messages: a list of messages is required", param: "messages" };
	}
	let text = textOf(body["system"]);
	for (const message of messages) {
		text += textOf(message["content"]);
		if (message["tool_calls"] !== undefined) text += JSON.stringify(message["tool_calls"]);
	}
	if (Array.isArray(body["tools"])) text += JSON.stringify(body["tools"]);
	return { list: [promptOf(text)] };
}

function promptOf(text: string): Prompt {
	return { text, tokens: Math.max(1, Math.ceil(text.length / CHARS_PER_TOKEN)) };
}

/** A string, or parts in either dialect; parts that are no text count as their JSON, image data aside. */
function textOf(content: unknown): string {
	if (typeof content === "string") return content;
	if (!Array.isArray(content)) return "";
	let text = "";
	for (const part of content) {
		if (!isObject(part)) continue;
		if (typeof part["text"] === "string") text += part["text"];
		else if (part["type"] === "tool_use") text += JSON.stringify(part["input"] ?? {});
		else if (part["type"] === "tool_result") text += textOf(part["content"]);
	}
	return text;
}

function toolCallOf(body: Json, options: MockRequestOptions): MockRequest["toolCall"] {
	const tools = body["tools"];
	if (!Array.isArray(tools) || tools.length === 0) return undefined;
	const choice = body["tool_choice"];
	const forced =
		choice === "required" || (isObject(choice) && ["any", "tool", "function"].includes(String(choice["type"])));
	if (!forced && options.header("x-mock-tool-call") !== "1") return undefined;
	const tool = isObject(tools[0]) ? tools[0] : {};
	const described = isObject(tool["function"]) ? tool["function"] : tool;
	const schema = described["parameters"] ?? described["input_schema"];
	const properties = isObject(schema) && isObject(schema["properties"]) ? Object.keys(schema["properties"]) : [];
	return { name: String(described["name"] ?? "tool"), argument: properties[0] ?? "text" };
}

function isObject(value: unknown): value is Json {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
	return typeof value === "number" && Number.isInteger(value) && value >= 1;
}
