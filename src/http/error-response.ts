/** Turns refusals into answers: the one place that knows statuses, `Retry-After` and `x-should-retry`. */
import type { ServerResponse } from "node:http";
import type { Refusal } from "../core/model/error-code.ts";
import type { Dialect } from "../protocol/dialect.ts";
import { errorStatus } from "../protocol/error-status.ts";

/** What every official client obeys. */
const LONGEST_RETRY_AFTER_S = 60;

export interface ErrorAnswer {
	readonly status: number;
	readonly headers: Readonly<Record<string, string>>;
	readonly body: string;
}

export function errorAnswer(dialect: Dialect, refusal: Refusal, requestId: string): ErrorAnswer {
	const status = errorStatus(refusal.code, dialect.name);
	const headers: Record<string, string> = { "content-type": "application/json", "x-request-id": requestId };
	if (status === 429 || status === 503 || status === 529) {
		const waitMs = refusal.retryAfterMs ?? 1000;
		if (waitMs > LONGEST_RETRY_AFTER_S * 1000 || refusal.retryable === false) headers["x-should-retry"] = "false";
		// Up to a fifth more, so that those refused together do not come back together.
		const jittered = (waitMs / 1000) * (1 + Math.random() / 5);
		headers["retry-after"] = String(Math.min(LONGEST_RETRY_AFTER_S, Math.max(1, Math.ceil(jittered))));
		if (refusal.retryAfterMs !== undefined) headers["x-queue-estimated-wait-ms"] = String(Math.ceil(waitMs));
	} else if (refusal.retryable === false || (status < 500 && status !== 408)) {
		headers["x-should-retry"] = "false";
	}
	const { code, message, param, retryAfterMs } = refusal;
	const body = dialect.errorBody({
		status,
		code,
		message,
		requestId,
		...(param === undefined ? {} : { param }),
		...(retryAfterMs === undefined ? {} : { retryAfterMs }),
	});
	return { status, headers, body };
}

/** Answers with an error if nothing was sent yet; otherwise ends a stream with the protocol's error event. */
export function sendError(
	response: ServerResponse,
	dialect: Dialect,
	refusal: Refusal,
	requestId: string,
	extraHeaders: Readonly<Record<string, string>> = {},
): void {
	if (response.writableEnded || response.destroyed) return;
	const answer = errorAnswer(dialect, refusal, requestId);
	if (response.headersSent) {
		const { code, message } = refusal;
		response.end(dialect.errorEvent({ status: answer.status, code, message, requestId }));
		return;
	}
	response.writeHead(answer.status, {
		...answer.headers,
		...extraHeaders,
		"content-length": Buffer.byteLength(answer.body),
	});
	response.end(answer.body);
}
