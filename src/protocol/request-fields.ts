/**
 * Fields that mean the same in both dialects: model, stream, messages, tools.
 */
import type { Tokens } from "../core/model/units.ts";
import type { FieldReader } from "./field-reader.ts";
import { isJsonObject, member, stringMember } from "./json.ts";
import type { PromptMeter } from "./prompt-meter.ts";

/** Larger than any context window in use; beyond it a number is a mistake, and sums stay exact. */
export const MAX_COMPLETION_TOKENS: Tokens = 10_000_000;
/** What the OpenAI form allows for `n`. */
export const MAX_SEQUENCES = 128;
const MAX_MODEL_CHARS = 256;
const MODEL_ALLOWED = `the name of a model, 1 to ${MAX_MODEL_CHARS} characters`;

export interface CommonFields {
	readonly model: string;
	readonly stream: boolean;
}

export function readCommon(fields: FieldReader): CommonFields | undefined {
	const model = fields.value("model");
	const stream = fields.boolean("stream");
	if (model === undefined) return fields.missing("model", MODEL_ALLOWED);
	if (typeof model !== "string" || model === "" || model.length > MAX_MODEL_CHARS)
		return fields.wrong("model", model, MODEL_ALLOWED);
	return { model, stream };
}

/** Messages with a role each and content that is text, parts or (beside tool calls) nothing. */
export function readMessages(fields: FieldReader, meter: PromptMeter): readonly unknown[] {
	const messages = fields.list("messages");
	if (messages === undefined) {
		fields.missing("messages", "a list of messages");
		return [];
	}
	if (messages.length === 0) fields.refuse("messages", "messages is empty; allowed: at least one message");
	for (const [index, message] of messages.entries()) {
		if (!isJsonObject(message)) {
			fields.wrong(`messages[${index}]`, message, "an object with role and content");
			break;
		}
		if (stringMember(message, "role") === undefined)
			fields.wrong(`messages[${index}].role`, member(message, "role"), "a string such as user or assistant");
		const content = member(message, "content");
		if (content !== undefined && content !== null && typeof content !== "string" && !Array.isArray(content))
			fields.wrong(`messages[${index}].content`, content, "a string or a list of parts");
		meter.content(message);
	}
	return messages;
}

/** Whether there are tools; their definitions count as prompt. */
export function readTools(fields: FieldReader, meter: PromptMeter): boolean {
	const tools = fields.list("tools");
	const functions = fields.list("functions");
	meter.schema(tools);
	meter.schema(functions);
	return (tools?.length ?? 0) + (functions?.length ?? 0) > 0;
}
