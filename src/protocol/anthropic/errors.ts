/**
 * Errors as Anthropic clients read them: `{"type":"error","error":{type,message,code},"request_id"}`; in a stream only an event *named*
 * `error` is seen by them. `code` is ours, so that the reason is the same word in both dialects.
 */
import type { WireError } from "../dialect.ts";

export const ANTHROPIC_PING = 'event: ping\ndata: {"type": "ping"}\n\n';

export function anthropicErrorBody(error: WireError): string {
	return JSON.stringify({
		type: "error",
		error: {
			type: anthropicErrorType(error),
			message: error.message,
			code: error.code,
			...(error.param === undefined ? {} : { param: error.param }),
			...(error.retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(error.retryAfterMs) }),
		},
		request_id: error.requestId ?? null,
	});
}

export function anthropicErrorEvent(error: WireError): string {
	return `event: error\ndata: ${anthropicErrorBody(error)}\n\n`;
}

export function anthropicErrorType({ status }: Pick<WireError, "status">): string {
	switch (status) {
		case 401:
			return "authentication_error";
		case 403:
			return "permission_error";
		case 404:
			return "not_found_error";
		case 408:
		case 504:
			return "timeout_error";
		case 413:
			return "request_too_large";
		case 429:
			return "rate_limit_error";
		case 529:
			return "overloaded_error";
		default:
			return status >= 500 ? "api_error" : "invalid_request_error";
	}
}
