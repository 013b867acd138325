/**
 * Puts a whole answer together from its stream (`force_stream`): what the client would have got had it been asked for whole, in the same wire form.
 *
 * Chat and text completions: chunks of one choice are merged, text and tool arguments joined. Messages: content blocks are built from their
 * deltas, tool input is parsed at the end. Fields that only one of the two forms has are left as the stream gave them. Answers undefined for a stream that
 * is no such thing.
 */
import type { Operation } from "../core/model/request-facts.ts";
import { isJsonObject, type JsonObject, numberMember, stringMember, tryParseJson } from "./json.ts";

/** Operations whose streams can be put together. */
export function canAssemble(operation: Operation): boolean {
	return operation === "chat" || operation === "completion" || operation === "message";
}

/** @param text all events of a stream that ended well */
export function assembleStream(operation: Operation, text: string): JsonObject | undefined {
	const events = dataOf(text);
	if (operation === "message") return assembleMessage(events);
	return assembleCompletion(events, operation === "chat" ? "chat.completion" : "text_completion");
}

function dataOf(text: string): readonly JsonObject[] {
	const events: JsonObject[] = [];
	for (const event of text.split(/\r?\n\r?\n|\r\r/)) {
		const data = event
			.split(/\r\n|\n|\r/)
			.filter((line) => line.startsWith("data:"))
			.map((line) => line.slice(line.startsWith("data: ") ? 6 : 5))
			.join("\n");
		const parsed = data === "" || data === "[DONE]" ? undefined : tryParseJson(data);
		if (isJsonObject(parsed)) events.push(parsed);
	}
	return events;
}

type Fields = Record<string, unknown>;

function assembleCompletion(chunks: readonly JsonObject[], object: string): JsonObject | undefined {
	if (chunks.length === 0) return undefined;
	const whole: Fields = {};
	const choices = new Map<number, Fields>();
	for (const chunk of chunks) {
		for (const [name, value] of Object.entries(chunk)) {
			if (name !== "choices" && value !== null) whole[name] = value;
			else if (name === "choices" && Array.isArray(value)) for (const choice of value) addChoice(choices, choice);
		}
	}
	const { usage, ...rest } = whole;
	return {
		...rest,
		object,
		choices: [...choices.entries()].sort(([a], [b]) => a - b).map(([, choice]) => choice),
		...(usage === undefined ? {} : { usage }),
	};
}

function addChoice(choices: Map<number, Fields>, choice: unknown): void {
	if (!isJsonObject(choice)) return;
	const index = numberMember(choice, "index") ?? 0;
	const known = choices.get(index) ?? { index };
	choices.set(index, known);
	const { delta, ...rest } = choice;
	merge(known, rest);
	if (isJsonObject(delta)) {
		const message = (known["message"] as Fields | undefined) ?? { role: "assistant", content: null };
		known["message"] = message;
		merge(message, delta);
	}
}

/** Said once, though often repeated; other text goes on where it stopped. */
const SAID_ONCE: ReadonlySet<string> = new Set([
	"role",
	"id",
	"type",
	"name",
	"finish_reason",
	"stop_reason",
	"object",
	"model",
]);

function merge(into: Fields, more: JsonObject): void {
	for (const [name, value] of Object.entries(more)) {
		const known = into[name];
		if (value === null) into[name] ??= null;
		else if (typeof value === "string" && typeof known === "string" && !SAID_ONCE.has(name)) into[name] = known + value;
		else if (Array.isArray(value)) into[name] = mergeLists(Array.isArray(known) ? known : [], value);
		else if (isJsonObject(value) && isJsonObject(known)) merge(known as Fields, value);
		else if (isJsonObject(value)) {
			const copy: Fields = {};
			merge(copy, value);
			into[name] = copy;
		} else into[name] = value;
	}
}

/** Entries with an index are parts of the one with the same; others come after what was there. */
function mergeLists(known: readonly unknown[], more: readonly unknown[]): unknown[] {
	const list = [...known];
	for (const entry of more) {
		const index = isJsonObject(entry) ? numberMember(entry, "index") : undefined;
		if (!isJsonObject(entry) || index === undefined) {
			list.push(entry);
			continue;
		}
		const { index: _, ...fields } = entry;
		const there = list[index];
		if (isJsonObject(there)) merge(there as Fields, fields);
		else {
			const copy: Fields = {};
			merge(copy, fields);
			list[index] = copy;
		}
	}
	return list.filter((entry) => entry !== undefined);
}

function assembleMessage(events: readonly JsonObject[]): JsonObject | undefined {
	let message: Fields | undefined;
	const blocks: Fields[] = [];
	const inputs = new Map<number, string>();
	for (const event of events) {
		const index = numberMember(event, "index") ?? 0;
		switch (stringMember(event, "type")) {
			case "message_start":
				if (isJsonObject(event["message"])) message = { ...event["message"] };
				break;
			case "content_block_start":
				if (isJsonObject(event["content_block"])) blocks[index] = { ...event["content_block"] };
				break;
			case "content_block_delta":
				if (blocks[index] !== undefined && isJsonObject(event["delta"])) {
					addDelta(blocks[index], event["delta"], index, inputs);
				}
				break;
			case "message_delta":
				if (message === undefined) break;
				if (isJsonObject(event["delta"])) Object.assign(message, event["delta"]);
				if (isJsonObject(event["usage"])) message["usage"] = withoutNulls(message["usage"], event["usage"]);
				break;
		}
	}
	if (message === undefined) return undefined;
	for (const [index, json] of inputs) blocks[index]!["input"] = json === "" ? {} : (tryParseJson(json) ?? json);
	return { ...message, content: blocks.filter((block) => block !== undefined) };
}

function addDelta(block: Fields, delta: JsonObject, index: number, inputs: Map<number, string>): void {
	const append = (field: string, text: unknown) => {
		if (typeof text === "string") block[field] = `${typeof block[field] === "string" ? block[field] : ""}${text}`;
	};
	switch (stringMember(delta, "type")) {
		case "text_delta":
			append("text", delta["text"]);
			break;
		case "thinking_delta":
			append("thinking", delta["thinking"]);
			break;
		case "signature_delta":
			append("signature", delta["signature"]);
			break;
		case "input_json_delta":
			inputs.set(index, (inputs.get(index) ?? "") + (stringMember(delta, "partial_json") ?? ""));
			break;
		case "citations_delta":
			block["citations"] = [...(Array.isArray(block["citations"]) ? block["citations"] : []), delta["citation"]];
			break;
	}
}

/** Totals overwrite, where they say something. */
function withoutNulls(known: unknown, more: JsonObject): JsonObject {
	const said = Object.entries(more).filter(([, value]) => value !== null);
	return { ...(isJsonObject(known) ? known : {}), ...Object.fromEntries(said) };
}
