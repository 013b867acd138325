/**
 * Errors as OpenAI clients read them: `{"error":{message,type,param,code}}`, the same object as an event in a stream. Pings are SSE
 * comments, which every client skips (a named ping event would be handed to the user as a chunk).
 */
import type { WireError } from "../dialect.ts";

export const OPENAI_PING = ": ping\n\n";

export function openaiErrorBody(error: WireError): string {
	return JSON.stringify({
		error: {
			message: error.message,
			type: openaiErrorType(error),
			param: error.param ?? null,
			code: error.code,
			...(error.retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(error.retryAfterMs) }),
		},
	});
}

export function openaiErrorEvent(error: WireError): string {
	return `data: ${openaiErrorBody(error)}\n\n`;
}

export function openaiErrorType({ code, status }: Pick<WireError, "code" | "status">): string {
	// The word for a spent budget, on which clients do not wait.
	if (code === "quota_exceeded") return "insufficient_quota";
	if (status === 401) return "authentication_error";
	if (status === 403) return "permission_error";
	if (status === 429) return "rate_limit_error";
	if (status === 503) return "service_unavailable_error";
	return status >= 500 ? "server_error" : "invalid_request_error";
}
