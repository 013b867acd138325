/** From the bytes and headers of a request to what the life cycle is asked with, or to the refusal that says what is wrong. */
import type { IncomingHttpHeaders } from "node:http";
import type { Refusal } from "../core/model/error-code.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { Millis } from "../core/model/units.ts";
import { passthroughFacts, readRequestFacts } from "../protocol/request-facts.ts";
import { readDeadlineHeaders } from "../protocol/request-headers.ts";

const PASSTHROUGH_TOKENS = 512;

export interface ReadRequest {
	/** The body's JSON; undefined of a path that is only passed through and carries something else. */
	readonly parsed: unknown;
	readonly facts: RequestFacts;
	/** Nobody is served later than that. */
	readonly startWithinMs: Millis;
}

export function readRequest(
	path: string,
	headers: IncomingHttpHeaders,
	body: Uint8Array,
	isPassthrough: boolean,
): ReadRequest | Refusal {
	const parsed = parseJson(body);
	if (parsed === undefined && !isPassthrough)
		return { code: "invalid_request", message: "the body is not valid JSON", param: "body", retryable: false };
	const reading = isPassthrough
		? ({ ok: true, facts: passthroughFacts(parsed, PASSTHROUGH_TOKENS) } as const)
		: readRequestFacts(path, parsed);
	if (!reading.ok) return reading.refusal;
	const deadline = readDeadlineHeaders(headers);
	if (!deadline.ok) return deadline.refusal;
	// The official clients say when they will give up.
	const { deadlineMs, clientTimeoutMs } = deadline.value;
	return { parsed, facts: reading.facts, startWithinMs: deadlineMs ?? clientTimeoutMs ?? Number.POSITIVE_INFINITY };
}

function parseJson(body: Uint8Array): unknown {
	try {
		return JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8"));
	} catch {
		return undefined;
	}
}
