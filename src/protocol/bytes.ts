/**
 * Bytes and text without a runtime: JSON and SSE are looked at as bytes, and decoded only where something interesting was found.
 */

// The WHATWG decoder exists in every runtime, but not in the ES2023 library that this folder is compiled against.
declare const TextDecoder: new () => { decode(bytes: Uint8Array): string };

const decoder = new TextDecoder();

/** Lone or broken UTF-8 becomes U+FFFD; a leading byte order mark is dropped. Never throws. */
export function decodeUtf8(bytes: Uint8Array): string {
	return decoder.decode(bytes);
}

/** One byte per character, for ASCII that this codebase made itself. */
export function encodeAscii(text: string): Uint8Array {
	const bytes = new Uint8Array(text.length);
	for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
	return bytes;
}

/** JSON text of pure ASCII, so that it can be spliced into bytes of any UTF-8 document. */
export function asciiJson(value: string | number | boolean): string {
	return JSON.stringify(value).replace(
		/[\u0080-\uffff]/g,
		(character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
}

export function concatBytes(pieces: readonly Uint8Array[]): Uint8Array {
	let length = 0;
	for (const piece of pieces) length += piece.length;
	const joined = new Uint8Array(length);
	let offset = 0;
	for (const piece of pieces) {
		joined.set(piece, offset);
		offset += piece.length;
	}
	return joined;
}

export function bytesEqualAscii(bytes: Uint8Array, start: number, end: number, ascii: string): boolean {
	if (end - start !== ascii.length) return false;
	for (let index = 0; index < ascii.length; index++) if (bytes[start + index] !== ascii.charCodeAt(index)) return false;
	return true;
}
