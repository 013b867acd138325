/**
 * Streams of the Anthropic form: named events from `message_start` to `message_stop`. llama.cpp's error event lacks the envelope
 * (`{"error":…}` or the bare error), SGLang sends `message_stop` after an error: an error seen is an error, whatever follows.
 */
import { type EventInterest, type EventMeaning, type StreamReader, UNREMARKABLE } from "../dialect.ts";
import { member, stringMember } from "../json.ts";

export const anthropicStream: StreamReader = {
	interest(name: string): EventInterest {
		switch (name) {
			case "content_block_delta":
				return "token";
			case "message_start":
			case "message_delta":
			case "message_stop":
			case "error":
			case "":
				return "read";
			default:
				return "skip";
		}
	},

	read(name: string, data: unknown): EventMeaning {
		const type = stringMember(data, "type") ?? name;
		const error = member(data, "error");
		if (name === "error" || type === "error" || (error !== undefined && error !== null))
			return { ...UNREMARKABLE, error: error === undefined || error === null ? { error: data } : data };
		const usage = member(type === "message_start" ? member(data, "message") : data, "usage") ?? undefined;
		return {
			tokenBearing: type === "content_block_delta",
			terminator: type === "message_stop",
			usageOnly: false,
			...(usage === undefined ? {} : { usage }),
		};
	},
};
