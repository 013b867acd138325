import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ENGINES } from "./engines/detect-engine.ts";
import { ENGINE_NAMES, type EngineName } from "./engines/engine.ts";
import { classifyErrorEvent, classifyUpstreamResponse, type UpstreamErrorKind } from "./upstream-error.ts";

describe("classifyUpstreamResponse", () => {
	it.each<[EngineName, number, string, UpstreamErrorKind, boolean, string]>([
		[
			"vllm",
			400,
			'{"error":{"message":"This model\'s maximum context length is 10","type":"BadRequestError","param":"input_tokens","code":400}}',
			"context",
			false,
			"This model's maximum context length is 10",
		],
		["vllm", 401, '{"error":"Unauthorized"}', "auth", false, "Unauthorized"],
		["vllm", 503, '{"error":"scaling"}', "busy", true, "scaling"],
		[
			"vllm",
			404,
			'{"error":{"message":"The model `x` does not exist.","code":404}}',
			"not_found",
			false,
			"The model `x` does not exist.",
		],
		[
			"sglang",
			400,
			'{"object":"error","message":"longer than the model\'s context length","type":"BadRequest","code":400}',
			"context",
			false,
			"longer than the model's context length",
		],
		[
			"sglang",
			503,
			'{"object":"error","message":"The request queue is full.","code":503}',
			"busy",
			true,
			"The request queue is full.",
		],
		["tgi", 429, '{"error":"Model is overloaded","error_type":"overloaded"}', "busy", true, "Model is overloaded"],
		[
			"tgi",
			422,
			'{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}',
			"context",
			false,
			"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
		],
		["tgi", 424, '{"error":"CUDA","error_type":"generation"}', "server", false, "CUDA"],
		[
			"ollama",
			404,
			'{"error":{"message":"model not found","type":"not_found_error","code":null}}',
			"not_found",
			false,
			"model not found",
		],
		[
			"llamacpp",
			400,
			'{"error":{"code":400,"message":"too large","type":"exceed_context_size_error","n_ctx":512}}',
			"context",
			false,
			"too large",
		],
		[
			"llamacpp",
			500,
			'{"error":{"code":500,"message":"[json.exception.parse_error.101] parse error","type":"server_error"}}',
			"client",
			false,
			"[json.exception.parse_error.101] parse error",
		],
		[
			"llamacpp",
			500,
			'{"error":{"code":500,"message":"decode failed","type":"server_error"}}',
			"server",
			false,
			"decode failed",
		],
		[
			"llamacpp",
			503,
			'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
			"busy",
			true,
			"Loading model",
		],
		[
			"generic",
			529,
			'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
			"busy",
			true,
			"Overloaded",
		],
		["generic", 429, '{"error":{"message":"no money","type":"insufficient_quota"}}', "client", false, "no money"],
		["generic", 422, '{"detail":[{"msg":"field required"}]}', "client", false, "field required"],
		["generic", 502, "<html>bad gateway</html>", "server", true, "<html>bad gateway</html>"],
		["generic", 500, "", "server", false, "status 500"],
		["generic", 302, "", "protocol", true, "unexpected status 302"],
	])("%s %i %s", (engine, status, body, kind, retryable, message) => {
		expect(classifyUpstreamResponse(status, body, ENGINES[engine])).toMatchObject({ kind, retryable, message });
	});

	it("counts neither busy nor client errors against an endpoint", () => {
		expect(classifyUpstreamResponse(503, "")?.countsForBreaker).toBe(false);
		expect(classifyUpstreamResponse(400, "")?.countsForBreaker).toBe(false);
		expect(classifyUpstreamResponse(500, "")?.countsForBreaker).toBe(true);
	});

	it("takes a 200 without a body for a failure", () => {
		expect(classifyUpstreamResponse(200, "")).toMatchObject({ kind: "protocol", retryable: true });
		expect(classifyUpstreamResponse(200, new Uint8Array(0))?.kind).toBe("protocol");
		expect(classifyUpstreamResponse(200, "{}")).toBeUndefined();
		expect(classifyUpstreamResponse(200, undefined)).toBeUndefined();
	});

	it("never throws", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 100, max: 999 }),
				fc.oneof(fc.string(), fc.uint8Array(), fc.json()),
				fc.anything(),
				fc.constantFrom(...ENGINE_NAMES),
				(status, body, payload, engine) => {
					classifyUpstreamResponse(status, body, ENGINES[engine]);
					expect(classifyErrorEvent(payload, ENGINES[engine]).message).not.toBe("");
				},
			),
		);
	});
});
