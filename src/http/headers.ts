/** Headers on both ways: which of the client's go upstream, which of the engine's come back. Raw lists, no header objects. */
import { isStrippedHeader } from "../protocol/engines/engine.ts";

/** Of one connection only (RFC 9110 §7.6.1), or set by us. */
const NOT_FORWARDED = new Set([
	"connection",
	"keep-alive",
	"proxy-authenticate",
	"proxy-authorization",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"host",
	"content-length",
	"content-encoding",
	"accept-encoding",
	"expect",
	"authorization",
	"x-api-key",
	"x-request-id",
	"x-forwarded-for",
	"x-priority",
	"x-request-class",
	"x-request-deadline-ms",
]);

const NOT_RETURNED = new Set([
	"connection",
	"keep-alive",
	"proxy-authenticate",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"content-length",
	"x-request-id",
	"request-id",
]);

/** The client's headers for the engine, as alternating names and values. */
export function upstreamHeaders(rawHeaders: readonly string[], bodyBytes: number, requestId: string): string[] {
	const headers: string[] = [];
	for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
		const name = rawHeaders[at]!.toLowerCase();
		if (NOT_FORWARDED.has(name) || isStrippedHeader(name)) continue;
		headers.push(name, rawHeaders[at + 1]!);
	}
	headers.push("accept-encoding", "identity", "content-length", String(bodyBytes), "x-request-id", requestId);
	return headers;
}

/**
 * The engine's headers for the client, with ours; `bodyBytes` when the answer is sent whole. `retryAfter` rewrites the header of that
 * name, which it is asked for even when there is none.
 */
export function clientHeaders(
	raw: readonly (Uint8Array | string)[],
	own: readonly string[],
	bodyBytes: number | undefined,
	retryAfter?: (sent: string | undefined) => string | undefined,
): string[] {
	const headers: string[] = [];
	for (let at = 0; at + 1 < raw.length; at += 2) {
		const name = text(raw[at]!);
		const lower = name.toLowerCase();
		if (NOT_RETURNED.has(lower) || (retryAfter !== undefined && lower === "retry-after")) continue;
		headers.push(name, text(raw[at + 1]!));
	}
	const retry = retryAfter?.(responseHeader(raw, "retry-after"));
	if (retry !== undefined) headers.push("retry-after", retry);
	headers.push(...own);
	if (bodyBytes !== undefined) headers.push("content-length", String(bodyBytes));
	return headers;
}

export function responseHeader(raw: readonly (Uint8Array | string)[], name: string): string | undefined {
	for (let at = 0; at + 1 < raw.length; at += 2) {
		if (text(raw[at]!).toLowerCase() === name) return text(raw[at + 1]!);
	}
	return undefined;
}

function text(value: Uint8Array | string): string {
	if (typeof value === "string") return value;
	const bytes = Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
	return bytes.toString("latin1");
}

/** The engine's headers of an answer that is handed on as something else than it came. */
export function withContentType(
	raw: readonly (Uint8Array | string)[],
	contentType: string,
): readonly (Uint8Array | string)[] {
	const headers: (Uint8Array | string)[] = [];
	for (let at = 0; at + 1 < raw.length; at += 2) {
		if (String(Buffer.from(raw[at]!)).toLowerCase() !== "content-type") headers.push(raw[at]!, raw[at + 1]!);
	}
	headers.push("content-type", contentType);
	return headers;
}
