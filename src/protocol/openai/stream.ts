/**
 * Streams of the OpenAI form. Chat and completions: unnamed events, usage in an event of its own or in the last one, `[DONE]`.
 * Responses: named events, usage inside `response.completed`, no `[DONE]`. Some engines add one all the same; it does no harm.
 */
import { type EventInterest, type EventMeaning, type StreamReader, UNREMARKABLE } from "../dialect.ts";
import { member, stringMember } from "../json.ts";

export const openaiStream: StreamReader = {
	terminator: "[DONE]",

	interest(name: string): EventInterest {
		if (name === "" || name === "message") return "scan";
		if (name.endsWith(".delta")) return "token";
		return READ.has(name) ? "read" : "skip";
	},

	read(_name: string, data: unknown): EventMeaning {
		const error = member(data, "error");
		if (error !== undefined && error !== null) return { ...UNREMARKABLE, error: data };
		const type = stringMember(data, "type");
		if (type !== undefined && (type === "error" || type.startsWith("response."))) return readResponseEvent(type, data);
		const usage = member(data, "usage") ?? undefined;
		const choices = member(data, "choices");
		const usageOnly = usage !== undefined && Array.isArray(choices) && choices.length === 0;
		const tokenBearing = Array.isArray(choices) && choices.some(hasToken);
		return { tokenBearing, terminator: false, usageOnly, ...(usage === undefined ? {} : { usage }) };
	},
};

const READ: ReadonlySet<string> = new Set([
	"error",
	"response.completed",
	"response.incomplete",
	"response.failed",
	"response.error",
]);

function readResponseEvent(type: string, data: unknown): EventMeaning {
	const response = member(data, "response");
	const usage = member(response, "usage") ?? undefined;
	const failed = type === "error" || type === "response.failed" || type === "response.error";
	if (failed) return { ...UNREMARKABLE, error: { error: member(response, "error") ?? data } };
	return {
		tokenBearing: type.endsWith(".delta"),
		terminator: type === "response.completed" || type === "response.incomplete",
		usageOnly: false,
		...(usage === undefined ? {} : { usage }),
	};
}

/** Text, reasoning or tool arguments; the opening event with its role and empty content is none. */
function hasToken(choice: unknown): boolean {
	const text = stringMember(choice, "text");
	if (text !== undefined && text !== "") return true;
	const delta = member(choice, "delta");
	for (const name of ["content", "reasoning_content", "reasoning", "refusal"]) {
		const value = stringMember(delta, name);
		if (value !== undefined && value !== "") return true;
	}
	const calls = member(delta, "tool_calls");
	return (Array.isArray(calls) && calls.length > 0) || member(delta, "function_call") instanceof Object;
}
