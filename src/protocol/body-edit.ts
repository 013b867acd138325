/**
 * The closed list of changes that a request body may see on its way upstream (design 03 §1): model alias, usage in the stream,
 * `stream: true`, and the engine's own queue-jumping fields removed or set. Everything else stays byte for byte, big integers, key
 * order and white space included; a body without an edit is the same array.
 *
 * All occurrences of a duplicated key are edited, so no parser behind the gateway can pick an unedited one.
 */
import { asciiJson, concatBytes, encodeAscii } from "./bytes.ts";
import { findMembers, type JsonMember } from "./json-members.ts";

export interface BodyEdits {
	/** What the model is called upstream. */
	readonly model?: string;
	/** Sets `stream_options.include_usage`; only for bodies that stream, engines refuse it otherwise. */
	readonly includeStreamUsage?: boolean;
	/** Sets `stream: true` (`force_stream`). */
	readonly stream?: boolean;
	/** The engine's priority value, or `remove`. */
	readonly priority?: number | "remove";
	readonly removeRid?: boolean;
}

interface Splice {
	readonly start: number;
	readonly end: number;
	readonly text: string;
}

/** The edited bytes, or undefined when they are not a JSON object. */
export function editBody(body: Uint8Array, edits: BodyEdits): Uint8Array | undefined {
	const wanted = new Map<string, string | undefined>();
	if (edits.model !== undefined) wanted.set("model", asciiJson(edits.model));
	if (edits.stream === true) wanted.set("stream", "true");
	if (edits.priority === "remove") wanted.set("priority", undefined);
	else if (edits.priority !== undefined) wanted.set("priority", asciiJson(edits.priority));
	if (edits.removeRid === true) wanted.set("rid", undefined);
	const includeUsage = edits.includeStreamUsage === true;
	if (wanted.size === 0 && !includeUsage) return body;

	const found = findMembers(body);
	if (found === undefined) return undefined;
	const splices: Splice[] = [];
	const missing = new Map(wanted);
	let usageSeen = false;
	const { members } = found;
	const removed = members.map(({ key }) => wanted.has(key) && wanted.get(key) === undefined);
	// Members from here to the end all go, with the comma before them.
	let tail = members.length;
	while (tail > 0 && removed[tail - 1] === true) tail--;
	for (const [index, found] of members.entries()) {
		missing.delete(found.key);
		if (removed[index] === true) {
			if (index < tail) splices.push({ start: found.start, end: members[index + 1]!.start, text: "" });
			continue;
		}
		const replacement = wanted.get(found.key);
		if (replacement !== undefined) splices.push({ start: found.valueStart, end: found.end, text: replacement });
		else if (includeUsage && found.key === "stream_options") {
			usageSeen = true;
			splices.push(...usageSplices(body, found));
		}
	}
	if (tail < members.length) {
		const start = tail === 0 ? members[0]!.start : members[tail - 1]!.end;
		splices.push({ start, end: members.at(-1)!.end, text: "" });
	}
	const added: string[] = [];
	for (const [key, json] of missing) if (json !== undefined) added.push(`"${key}":${json}`);
	if (includeUsage && !usageSeen) added.push('"stream_options":{"include_usage":true}');
	if (added.length > 0) splices.unshift(insertion(found.open + 1, added, removed.includes(false)));
	return applySplices(body, splices);
}

function usageSplices(body: Uint8Array, options: JsonMember): Splice[] {
	const inner = findMembers(body, options.valueStart, options.end);
	// null, or a type that the request reader refuses anyway.
	if (inner === undefined) return [{ start: options.valueStart, end: options.end, text: '{"include_usage":true}' }];
	const flags = inner.members.filter(({ key }) => key === "include_usage");
	if (flags.length > 0) return flags.map(({ valueStart, end }) => ({ start: valueStart, end, text: "true" }));
	return [insertion(inner.open + 1, ['"include_usage":true'], inner.members.length > 0)];
}

function insertion(at: number, members: readonly string[], more: boolean): Splice {
	return { start: at, end: at, text: members.join(",") + (more ? "," : "") };
}

/** Splices are in order and do not overlap. */
function applySplices(body: Uint8Array, splices: readonly Splice[]): Uint8Array {
	if (splices.length === 0) return body;
	const pieces: Uint8Array[] = [];
	let at = 0;
	for (const { start, end, text } of splices) {
		pieces.push(body.subarray(at, start), encodeAscii(text));
		at = end;
	}
	pieces.push(body.subarray(at));
	return concatBytes(pieces);
}
