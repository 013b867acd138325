/**
 * Finds the members of one JSON object in its bytes, without parsing their values: what the body editor and the usage readers need
 * to touch one key and leave every other byte alone.
 *
 * Expects bytes that a JSON parser accepted; on anything else it answers undefined and never throws or loops. Strings are
 * skipped with native byte searches, so the cost is that of the structural bytes. Duplicate keys are all reported, since
 * engines disagree on which one counts. Offsets are byte offsets into the array given.
 */
import { tryParseJson } from "./json.ts";

export interface JsonMember {
	readonly key: string;
	/** First byte of the key's opening quote. */
	readonly start: number;
	readonly valueStart: number;
	/** One past the last byte of the value. */
	readonly end: number;
}

export interface JsonMembers {
	/** Position of the opening brace. */
	readonly open: number;
	readonly members: readonly JsonMember[];
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

export function findMembers(bytes: Uint8Array, from = 0, to = bytes.length): JsonMembers | undefined {
	let start = from;
	if (bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf) start += 3;
	const open = skipSpace(bytes, start, to);
	if (bytes[open] !== OPEN_BRACE) return undefined;
	const members: JsonMember[] = [];
	let at = skipSpace(bytes, open + 1, to);
	if (bytes[at] === CLOSE_BRACE && at < to) return { open, members };
	while (at < to) {
		if (bytes[at] !== QUOTE) return undefined;
		const keyEnd = skipString(bytes, at, to);
		const colon = skipSpace(bytes, keyEnd, to);
		if (colon >= to || bytes[colon] !== COLON) return undefined;
		const valueStart = skipSpace(bytes, colon + 1, to);
		const end = skipValue(bytes, valueStart, to);
		if (end <= valueStart || end > to) return undefined;
		members.push({ key: keyText(bytes, at + 1, keyEnd - 1), start: at, valueStart, end });
		at = skipSpace(bytes, end, to);
		if (at >= to) return undefined;
		if (bytes[at] === CLOSE_BRACE) return { open, members };
		if (bytes[at] !== COMMA) return undefined;
		at = skipSpace(bytes, at + 1, to);
	}
	return undefined;
}

/** The last member of that name, which is the one that JSON.parse keeps. */
export function lastMember(found: JsonMembers | undefined, key: string): JsonMember | undefined {
	return found?.members.findLast((candidate) => candidate.key === key);
}

/** Keys that matter here are ASCII; others only have to be told apart from them. */
function keyText(bytes: Uint8Array, start: number, end: number): string {
	let text = "";
	let escaped = false;
	for (let index = start; index < end; index++) {
		const byte = bytes[index]!;
		if (byte === BACKSLASH) escaped = true;
		text += String.fromCharCode(byte);
	}
	if (!escaped) return text;
	const parsed = tryParseJson(`"${text}"`);
	return typeof parsed === "string" ? parsed : text;
}

function skipSpace(bytes: Uint8Array, from: number, to: number): number {
	let at = from;
	while (at < to) {
		const byte = bytes[at];
		if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
		at++;
	}
	return to;
}

/** From an opening quote to one past the closing one, or past `to` when there is none. */
function skipString(bytes: Uint8Array, quote: number, to: number): number {
	let at = quote + 1;
	for (;;) {
		const close = bytes.indexOf(QUOTE, at);
		if (close < 0 || close >= to) return to + 1;
		let first = close;
		while (first - 1 > quote && bytes[first - 1] === BACKSLASH) first--;
		if ((close - first) % 2 === 0) return close + 1;
		at = close + 1;
	}
}

/** One past the value that starts at `from`; `from` itself when there is none. Depth is a counter, so nesting costs no stack. */
function skipValue(bytes: Uint8Array, from: number, to: number): number {
	let depth = 0;
	let at = from;
	while (at < to) {
		const byte = bytes[at]!;
		if (byte === QUOTE) {
			at = skipString(bytes, at, to);
			if (depth === 0) return at;
			continue;
		}
		if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
		else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
			if (depth === 0) return at;
			depth--;
			if (depth === 0) return at + 1;
		} else if (depth === 0 && (byte === COMMA || byte <= 0x20)) return at;
		at++;
	}
	return depth === 0 ? at : to + 1;
}
