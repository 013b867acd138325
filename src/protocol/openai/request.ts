/**
 * Requests of the OpenAI form: chat completions, completions, embeddings, responses, with the fields that vLLM, SGLang and
 * llama.cpp add. Engines check the rest; here only what scheduling relies on has to be right.
 */
import type { Operation, RequestFacts } from "../../core/model/request-facts.ts";
import type { Tokens } from "../../core/model/units.ts";
import { conversationKey } from "../conversation-key.ts";
import type { FieldReader } from "../field-reader.ts";
import { member, stringMember } from "../json.ts";
import { PromptMeter } from "../prompt-meter.ts";
import { MAX_COMPLETION_TOKENS, MAX_SEQUENCES, readCommon, readMessages, readTools } from "../request-fields.ts";

export function readOpenaiRequest(operation: Operation, fields: FieldReader): RequestFacts | undefined {
	const meter = new PromptMeter();
	const common = readCommon(fields);
	const options = fields.object("stream_options");
	const includeUsage = member(options, "include_usage");
	if (includeUsage !== undefined && includeUsage !== null && typeof includeUsage !== "boolean")
		fields.wrong("stream_options.include_usage", includeUsage, "true or false");
	let sequences = readSequences(fields);
	let key: string | undefined;
	if (operation === "chat") {
		const messages = readMessages(fields, meter);
		key = conversationKey(undefined, messages);
	} else if (operation === "completion") {
		sequences *= readTexts(fields, "prompt", meter, true);
		meter.content(fields.text("suffix"));
	} else if (operation === "embedding") {
		if (fields.value("input") === undefined && fields.value("messages") !== undefined) readMessages(fields, meter);
		else sequences = readTexts(fields, "input", meter, true);
	} else key = readResponseInput(fields, meter);
	const hasTools = operation !== "embedding" && readTools(fields, meter);
	const maxTokens = readMaxTokens(fields, operation);
	if (meter.tooDeep) fields.refuse("body", "the body is nested too deeply; allowed: at most 100 levels");
	key = fields.text("prompt_cache_key") ?? key;
	if (fields.refusal !== undefined || common === undefined) return undefined;
	return {
		operation,
		model: common.model,
		stream: common.stream,
		// Responses always end with usage; there is nothing to ask for and nothing to remove.
		wantsStreamUsage: operation === "response" || includeUsage === true,
		promptChars: meter.chars,
		promptExtraTokens: meter.extraTokens,
		...(maxTokens === undefined ? {} : { maxTokens }),
		sequences,
		hasTools,
		...(key === undefined ? {} : { conversationKey: key }),
	};
}

function readSequences(fields: FieldReader): number {
	const n = fields.wholeNumber("n", 1, MAX_SEQUENCES) ?? 1;
	const bestOf = fields.wholeNumber("best_of", 1, MAX_SEQUENCES) ?? n;
	return Math.max(n, bestOf);
}

/** Both spellings count, since engines differ in which one they read: the larger is what might be produced. */
function readMaxTokens(fields: FieldReader, operation: Operation): Tokens | undefined {
	if (operation === "embedding") return undefined;
	if (operation === "response") return fields.wholeNumber("max_output_tokens", 1, MAX_COMPLETION_TOKENS);
	// Completions of zero tokens are how prompts are scored.
	const least = operation === "completion" ? 0 : 1;
	const older = fields.wholeNumber("max_tokens", least, MAX_COMPLETION_TOKENS);
	const newer = fields.wholeNumber("max_completion_tokens", least, MAX_COMPLETION_TOKENS);
	if (older === undefined || newer === undefined) return older ?? newer;
	return Math.max(older, newer);
}

const TEXTS_ALLOWED = "a string, a list of strings, a list of token ids, or a list of such lists";

/** A prompt or a list of prompts; returns how many. */
function readTexts(fields: FieldReader, name: string, meter: PromptMeter, required: boolean): number {
	const value = fields.value(name);
	if (value === undefined) {
		if (required) fields.missing(name, TEXTS_ALLOWED);
		return 1;
	}
	if (typeof value === "string") {
		meter.content(value);
		return 1;
	}
	if (!Array.isArray(value) || value.length === 0) {
		fields.wrong(name, value, TEXTS_ALLOWED);
		return 1;
	}
	if (typeof value[0] === "number") return readTokenIds(fields, name, value, meter);
	for (const item of value) {
		if (typeof item === "string") meter.content(item);
		else if (Array.isArray(item)) readTokenIds(fields, name, item, meter);
		// Pictures and text as parts, which embedding servers take beside strings.
		else if (typeof item === "object" && item !== null) meter.content(item);
		else fields.wrong(name, item, TEXTS_ALLOWED);
	}
	return value.length;
}

function readTokenIds(fields: FieldReader, name: string, ids: readonly unknown[], meter: PromptMeter): number {
	for (const id of ids)
		if (typeof id !== "number" || !Number.isInteger(id) || id < 0) fields.wrong(name, id, "token ids from 0");
	meter.extraTokens += ids.length;
	return 1;
}

/** `input` may be absent when a stored prompt or an earlier response stands in for it. */
function readResponseInput(fields: FieldReader, meter: PromptMeter): string | undefined {
	const input = fields.value("input");
	const instructions = fields.value("instructions");
	meter.content(instructions);
	if (input === undefined) return undefined;
	if (typeof input === "string") {
		meter.content(input);
		return conversationKey(instructions, [{ role: "user", content: input }]);
	}
	if (!Array.isArray(input)) return fields.wrong("input", input, "a string or a list of items");
	for (const item of input) {
		if (typeof item === "object" && item !== null) meter.content(item);
		else fields.wrong("input", item, "items that are objects");
	}
	return conversationKey(
		instructions,
		input.filter((item) => stringMember(item, "role") !== undefined),
	);
}
