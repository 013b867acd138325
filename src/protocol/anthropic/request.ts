/**
 * Requests of the Anthropic form: messages and count_tokens. `max_tokens` is required there, but engines are the ones to insist.
 */
import type { Operation, RequestFacts } from "../../core/model/request-facts.ts";
import { conversationKey } from "../conversation-key.ts";
import type { FieldReader } from "../field-reader.ts";
import { PromptMeter } from "../prompt-meter.ts";
import { MAX_COMPLETION_TOKENS, readCommon, readMessages, readTools } from "../request-fields.ts";

export function readAnthropicRequest(operation: Operation, fields: FieldReader): RequestFacts | undefined {
	const meter = new PromptMeter();
	const common = readCommon(fields);
	const system = fields.value("system");
	if (system !== undefined && typeof system !== "string" && !Array.isArray(system))
		fields.wrong("system", system, "a string or a list of text blocks");
	meter.content(system);
	const messages = readMessages(fields, meter);
	const hasTools = readTools(fields, meter);
	const maxTokens = fields.wholeNumber("max_tokens", 1, MAX_COMPLETION_TOKENS);
	if (meter.tooDeep) fields.refuse("body", "the body is nested too deeply; allowed: at most 100 levels");
	if (fields.refusal !== undefined || common === undefined) return undefined;
	const key = conversationKey(system, messages);
	return {
		operation,
		model: common.model,
		stream: operation === "message" && common.stream,
		// Usage is part of every stream.
		wantsStreamUsage: true,
		promptChars: meter.chars,
		promptExtraTokens: meter.extraTokens,
		...(maxTokens === undefined || operation === "count_tokens" ? {} : { maxTokens }),
		sequences: 1,
		hasTools,
		...(key === undefined ? {} : { conversationKey: key }),
	};
}
