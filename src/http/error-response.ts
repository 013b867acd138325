/** Turns refusals into answers: the one place that knows statuses, `Retry-After` and `x-should-retry`. */
import type { ServerResponse } from "node:http";
import { redactTokens } from "../core/identity/token-form.ts";
import type { Refusal } from "../core/model/error-code.ts";
import type { Millis } from "../core/model/units.ts";
import type { Dialect } from "../protocol/dialect.ts";
import { errorStatus } from "../protocol/error-status.ts";

/** What every official client obeys. */
const LONGEST_RETRY_AFTER_S = 60;

export interface ErrorAnswer {
	readonly status: number;
	/** Names and values in turn. */
	readonly headers: readonly string[];
	readonly body: string;
}

/** `Retry-After` as whole seconds from 1 to 60, up to a fifth later than asked: those refused together do not come back together. */
function retryAfter(waitMs: Millis): string {
	const jittered = (waitMs / 1000) * (1 + Math.random() / 5);
	return String(Math.min(LONGEST_RETRY_AFTER_S, Math.max(1, Math.ceil(jittered))));
}

function saysWhenToRetry(status: number): boolean {
	return status === 429 || status === 503 || status === 529;
}

/** What stands for an engine's own `Retry-After`, which may be missing or one that clients read as "at once". */
export function obeyedRetryAfter(status: number): (sent: string | undefined) => string | undefined {
	return (sent) => {
		const seconds = sent === undefined ? Number.NaN : Number(sent);
		if (!saysWhenToRetry(status)) return sent;
		return retryAfter(Number.isFinite(seconds) ? seconds * 1000 : 1000);
	};
}

export function errorAnswer(dialect: Dialect, refusal: Refusal, requestId: string): ErrorAnswer {
	const status = errorStatus(refusal.code, dialect.name);
	const headers = ["content-type", "application/json"];
	if (saysWhenToRetry(status)) {
		const waitMs = refusal.retryAfterMs ?? 1000;
		if (waitMs > LONGEST_RETRY_AFTER_S * 1000 || refusal.retryable === false) headers.push("x-should-retry", "false");
		headers.push("retry-after", retryAfter(waitMs));
		if (refusal.retryAfterMs !== undefined) headers.push("x-queue-estimated-wait-ms", String(Math.ceil(waitMs)));
	} else if (refusal.retryable === false || (status < 500 && status !== 408)) {
		headers.push("x-should-retry", "false");
	}
	const { code, message, param, retryAfterMs } = refusal;
	const body = dialect.errorBody({
		status,
		code,
		message: redactTokens(message),
		requestId,
		...(param === undefined ? {} : { param }),
		...(retryAfterMs === undefined || !saysWhenToRetry(status) ? {} : { retryAfterMs }),
	});
	return { status, headers, body };
}

/** Answers with an error if nothing was sent yet; otherwise ends a stream with the protocol's error event. */
export function sendError(
	response: ServerResponse,
	dialect: Dialect,
	refusal: Refusal,
	requestId: string,
	/** Names and values in turn; `X-Request-ID` is among them, when there are any. */
	own: readonly string[] = [],
): void {
	if (response.writableEnded || response.destroyed) return;
	const answer = errorAnswer(dialect, refusal, requestId);
	if (response.headersSent) {
		const { code, message } = refusal;
		response.end(dialect.errorEvent({ status: answer.status, code, message, requestId }));
		return;
	}
	response.writeHead(answer.status, [
		...answer.headers,
		...(own.length > 0 ? own : ["X-Request-ID", requestId]),
		"content-length",
		String(Buffer.byteLength(answer.body)),
	]);
	response.end(answer.body);
}
