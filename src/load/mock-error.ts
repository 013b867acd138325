/**
 * Errors of the mock LLM in the client's dialect: vLLM's nested body, or Anthropic's envelope.
 */

const VLLM_TYPES: Readonly<Record<number, string>> = {
	400: "BadRequestError",
	404: "NotFoundError",
	405: "MethodNotAllowed",
	413: "BadRequestError",
	429: "TooManyRequests",
	500: "InternalServerError",
	503: "ServiceUnavailable",
};

const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
	400: "invalid_request_error",
	401: "authentication_error",
	404: "not_found_error",
	413: "request_too_large",
	429: "rate_limit_error",
	503: "overloaded_error",
	529: "overloaded_error",
};

export function errorBody(anthropic: boolean, status: number, message: string, param: string | null = null): string {
	if (anthropic) {
		return JSON.stringify({ type: "error", error: { type: ANTHROPIC_TYPES[status] ?? "api_error", message } });
	}
	const type = VLLM_TYPES[status] ?? (status < 500 ? "BadRequestError" : "InternalServerError");
	return JSON.stringify({ error: { message, type, param, code: status } });
}

/** An overloaded engine that has already said 200: SGLang's and TGI's first event, or Anthropic's error event. */
export function overloadEvent(anthropic: boolean, engine: "sglang" | "tgi"): string {
	if (anthropic) return `event: error\ndata: ${errorBody(true, 529, "Overloaded")}\n\n`;
	if (engine === "tgi") {
		return `data: ${JSON.stringify({ error: { message: "Model is overloaded", http_status_code: 422 } })}\n\n`;
	}
	const error = {
		object: "error",
		message: "The request queue is full.",
		type: "SERVICE_UNAVAILABLE",
		param: null,
		code: 503,
	};
	return `data: ${JSON.stringify({ error })}\n\ndata: [DONE]\n\n`;
}
