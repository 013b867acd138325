import { describe, expect, it } from "vitest";
import { ERROR_CODES } from "../core/model/error-code.ts";
import { anthropicDialect, DATA_PATHS, dataPath, dialectForPath, openaiDialect } from "./dialects.ts";
import { errorStatus } from "./error-status.ts";
import { StreamScanner } from "./stream-scanner.ts";

describe("error shapes", () => {
	it("wears the OpenAI form", () => {
		const error = { status: 503, code: "queue_full", message: "full", param: "x", retryAfterMs: 1500.2 } as const;
		expect(JSON.parse(openaiDialect.errorBody(error))).toEqual({
			error: {
				message: "full",
				type: "service_unavailable_error",
				param: "x",
				code: "queue_full",
				retry_after_ms: 1501,
			},
		});
	});

	it("wears the Anthropic form", () => {
		const error = { status: 529, code: "queue_full", message: "full", requestId: "r1" } as const;
		expect(JSON.parse(anthropicDialect.errorBody(error))).toEqual({
			type: "error",
			error: { type: "overloaded_error", message: "full", code: "queue_full" },
			request_id: "r1",
		});
	});

	it("is understood by our own reader in a stream, and pings by none", () => {
		for (const dialect of [openaiDialect, anthropicDialect]) {
			const scanner = new StreamScanner({ dialect, removeUsageEvent: true });
			scanner.push(new TextEncoder().encode(dialect.ping));
			expect(scanner.error).toBeUndefined();
			const event = dialect.errorEvent({ status: 503, code: "preempted", message: "two\n\nlines" });
			scanner.push(new TextEncoder().encode(event));
			expect(scanner.error?.message).toBe("two lines");
		}
	});

	it("has a status for every code; Anthropic says 529 but for outages", () => {
		for (const code of ERROR_CODES) {
			const status = errorStatus(code, "openai");
			const outage = code === "draining" || code === "stores_unavailable";
			expect(errorStatus(code, "anthropic")).toBe(status === 503 && !outage ? 529 : status);
		}
		expect(errorStatus("rate_limited", "anthropic")).toBe(429);
	});

	it("knows the dialect of every path, served or not", () => {
		for (const { path, dialect } of DATA_PATHS) expect(dialectForPath(path)).toBe(dialect);
		expect(dialectForPath("/v1/messages/nothing").name).toBe("anthropic");
		expect(dialectForPath("/nothing").name).toBe("openai");
		expect(dataPath("/v1/messagesx")).toBeUndefined();
	});
});
