/**
 * From a parsed request body to the facts that scheduling works with, or to a refusal that says which field is wrong.
 */
import type { Refusal } from "../core/model/error-code.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import { dataPath } from "./dialects.ts";
import { FieldReader, show } from "./field-reader.ts";
import { isJsonObject, stringMember } from "./json.ts";

export type RequestReading =
	| { readonly ok: true; readonly facts: RequestFacts }
	| { readonly ok: false; readonly refusal: Refusal };

/** `path` without query string; `body` as JSON.parse gave it. Never throws. */
export function readRequestFacts(path: string, body: unknown): RequestReading {
	const found = dataPath(path);
	if (found === undefined) {
		const message = `path ${show(path)} is not served here`;
		return { ok: false, refusal: { code: "not_found", message, retryable: false } };
	}
	if (!isJsonObject(body)) {
		const message = `the body is ${body === null ? "null" : show(body)}; allowed: a JSON object`;
		return { ok: false, refusal: { code: "invalid_request", message, param: "body", retryable: false } };
	}
	const fields = new FieldReader(body);
	const facts = found.dialect.readRequest(found.operation, fields);
	if (facts !== undefined) return { ok: true, facts };
	const refusal = fields.refusal ?? {
		code: "invalid_request" as const,
		message: "the body cannot be understood",
		retryable: false,
	};
	return { ok: false, refusal };
}

/** Facts of a path that is only passed through: one sequence of unknown size, and a model if the body names one. */
export function passthroughFacts(body: unknown, estimatedTokens: number): RequestFacts {
	return {
		operation: "passthrough",
		model: stringMember(body, "model") ?? "",
		stream: false,
		wantsStreamUsage: true,
		promptChars: 0,
		promptExtraTokens: estimatedTokens,
		maxTokens: 0,
		sequences: 1,
		hasTools: false,
	};
}
