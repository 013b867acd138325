/**
 * One reading for the error bodies of all engines (design 07 §3): nested `{"error":{…}}` (vLLM, llama.cpp, Ollama, OpenAI), flat
 * `{"object":"error",…}` (SGLang), a string `{"error":"…"}` (Ollama, TGI with `error_type`, vLLM's 401), the Anthropic envelope, and
 * FastAPI's `{"detail":…}`. The same reading serves a failed answer and an error event inside a 200.
 */
import { decodeUtf8 } from "./bytes.ts";
import type { Engine } from "./engines/engine.ts";
import { member, numberMember, stringMember, tryParseJson } from "./json.ts";

/**
 * `busy`: no room now. `context`: prompt and answer do not fit, final. `client`: the request is wrong, final. `auth`: the provider's
 * key was refused. `not_found`: no such model or path there. `server`: the engine failed. `protocol`: not an answer at all.
 */
export type UpstreamErrorKind = "busy" | "context" | "client" | "auth" | "not_found" | "server" | "protocol";

export interface UpstreamError {
	readonly kind: UpstreamErrorKind;
	/** Another attempt, elsewhere or later, may succeed. */
	readonly retryable: boolean;
	/** Says that the endpoint is unwell: counts for its circuit breaker. */
	readonly countsForBreaker: boolean;
	/** The engine's own words, shortened; for logs and for the client's error. */
	readonly message: string;
}

interface ErrorFields {
	readonly message: string;
	readonly type: string;
	readonly code: string;
	/** A status that the body claims, for errors inside a 200. */
	readonly status: number | undefined;
}

const MAX_BODY_BYTES = 64 * 1024;
const MAX_MESSAGE_CHARS = 500;

const CONTEXT =
	/context[ _-]?(length|size|window|limit)|max_model_len|prompt is too long|too many tokens|inputs?`? (must have|tokens)/i;
const BUSY =
	/overload|queue is full|too many (concurrent )?requests|at capacity|server busy|server is busy|maximum pending requests|slow_down/i;
const CLIENT_IN_500 =
	/pars(e|ing) error|json\.exception|failed to parse|invalid (type|role|param|request|argument)|unsupported|not supported|must be (a|an|of)|missing required|expected/i;

/** The failure that an answer is, or undefined when it is a success. `body` may be a prefix; for a streamed success pass none. */
export function classifyUpstreamResponse(
	status: number,
	body: Uint8Array | string | undefined,
	engine?: Engine,
): UpstreamError | undefined {
	if (status >= 200 && status < 300) return classifySuccess(status, body);
	const text = toText(body);
	return classify(status, fieldsOf(tryParseJson(text), text), engine);
}

/** An error event of a stream whose status was 200: the body's own code decides. */
export function classifyErrorEvent(payload: unknown, engine?: Engine): UpstreamError {
	const fields = fieldsOf(payload, "");
	return classify(fields.status ?? 500, fields, engine);
}

/** An engine that saw its client's side half-closed answers 200 with nothing (llama.cpp). */
function classifySuccess(status: number, body: Uint8Array | string | undefined): UpstreamError | undefined {
	if (body === undefined || body.length > 0 || status === 204) return undefined;
	return failure("protocol", true, true, `empty body with status ${status}`);
}

function classify(status: number, fields: ErrorFields, engine: Engine | undefined): UpstreamError {
	const message = shorten(fields.message === "" ? `status ${status}` : fields.message);
	const words = `${fields.type} ${fields.code} ${fields.message}`;
	const own = engine?.classifyError?.({ status, words });
	if (own === "busy") return failure("busy", true, false, message);
	if (own === "client") return failure("client", false, false, message);
	// Money that is gone does not come back by waiting.
	if (words.includes("insufficient_quota")) return failure("client", false, false, message);
	if (status === 429 || status === 503 || status === 529) return failure("busy", true, false, message);
	if (status === 401 || status === 403) return failure("auth", false, false, message);
	if (status === 404) return failure("not_found", false, false, message);
	if (status === 408 || status === 409 || status === 425) return failure("server", true, false, message);
	const context = CONTEXT.test(words);
	if (status >= 400 && status < 500) {
		if (context) return failure("context", false, false, message);
		// TGI hard-codes 422 for errors inside a stream, overload included.
		if (BUSY.test(words)) return failure("busy", true, false, message);
		return failure(status === 424 || status === 499 ? "server" : "client", false, false, message);
	}
	if (status >= 500) {
		if (context) return failure("context", false, false, message);
		if (BUSY.test(words)) return failure("busy", true, false, message);
		return failure("server", status === 502, true, message);
	}
	return failure("protocol", true, true, `unexpected status ${status}`);
}

/** Words of a 500 that blame the request. */
export function blamesRequest(words: string): boolean {
	return CLIENT_IN_500.test(words);
}

function fieldsOf(body: unknown, text: string): ErrorFields {
	const inner = member(body, "error");
	const source = typeof inner === "object" && inner !== null ? inner : body;
	const message =
		stringMember(source, "message") ??
		(typeof inner === "string" ? inner : undefined) ??
		stringMember(body, "message") ??
		detailOf(body) ??
		(body === undefined ? text : "");
	const type = stringMember(source, "type") ?? stringMember(body, "error_type") ?? "";
	const code = stringMember(source, "code") ?? "";
	const status = numberMember(source, "code") ?? numberMember(source, "http_status_code") ?? statusOfType(type, code);
	return { message, type, code, status: status !== undefined && status >= 400 && status < 600 ? status : undefined };
}

/** FastAPI: a string, or a list of `{msg}`. */
function detailOf(body: unknown): string | undefined {
	const detail = member(body, "detail");
	if (typeof detail === "string") return detail;
	return Array.isArray(detail) ? stringMember(detail[0], "msg") : undefined;
}

function statusOfType(type: string, code: string): number | undefined {
	switch (type) {
		case "overloaded_error":
			return 529;
		case "overloaded":
			return 429;
		case "rate_limit_error":
			return 429;
		case "service_unavailable_error":
		case "SERVICE_UNAVAILABLE":
			return 503;
		case "invalid_request_error":
		case "BadRequestError":
		case "validation":
			return 400;
		case "authentication_error":
			return 401;
		case "permission_error":
			return 403;
		case "not_found_error":
			return 404;
		case "timeout_error":
			return 504;
		default:
			return code === "rate_limit_exceeded" ? 429 : code === "server_is_overloaded" ? 503 : undefined;
	}
}

function failure(
	kind: UpstreamErrorKind,
	retryable: boolean,
	countsForBreaker: boolean,
	message: string,
): UpstreamError {
	return { kind, retryable, countsForBreaker, message };
}

function toText(body: Uint8Array | string | undefined): string {
	if (body === undefined) return "";
	return typeof body === "string" ? body.slice(0, MAX_BODY_BYTES) : decodeUtf8(body.subarray(0, MAX_BODY_BYTES));
}

function shorten(message: string): string {
	const line = message.replace(/\s+/g, " ").trim();
	return line.length > MAX_MESSAGE_CHARS ? `${line.slice(0, MAX_MESSAGE_CHARS)}…` : line;
}
