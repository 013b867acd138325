/**
 * A name for a conversation, made of how it begins: the same for every turn of it, so that turns can go where their prefix
 * is cached. Two different conversations may share a name; then they share an engine, nothing more.
 *
 * FNV-1a over two 32-bit lanes and a bounded number of characters: cheap, not cryptographic.
 */
import { isJsonObject, member, stringMember } from "./json.ts";

const HASHED_CHARS = 256;

/** `system` and the first message that is not a system message. */
export function conversationKey(system: unknown, messages: readonly unknown[]): string | undefined {
	let first: unknown;
	let head = firstText(system);
	for (const message of messages) {
		const role = stringMember(message, "role");
		if (role !== "system" && role !== "developer") {
			first = member(message, "content");
			break;
		}
		head += firstText(member(message, "content"));
	}
	const text = firstText(first);
	return text === "" ? undefined : hash(head, text);
}

function firstText(content: unknown): string {
	if (typeof content === "string") return content;
	if (!Array.isArray(content)) return "";
	for (const part of content) {
		const text = isJsonObject(part) ? stringMember(part, "text") : undefined;
		if (text !== undefined) return text;
	}
	return "";
}

function hash(head: string, text: string): string {
	let low = 0x811c9dc5 ^ head.length;
	let high = 0x811c9dc5 ^ text.length;
	for (const part of [head, text]) {
		const end = Math.min(part.length, HASHED_CHARS);
		for (let index = 0; index < end; index++) {
			const code = part.charCodeAt(index);
			low = Math.imul(low ^ code, 0x01000193);
			high = Math.imul(high ^ (code + index), 0x01000193);
		}
	}
	return (low >>> 0).toString(36) + (high >>> 0).toString(36);
}
