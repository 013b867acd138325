import { expect, test } from "vitest";
import { ERROR_CODES } from "../core/model/error-code.ts";
import { dialectForPath } from "../protocol/dialects.ts";
import { errorAnswer } from "./error-response.ts";

const DIALECTS = [dialectForPath("/v1/chat/completions"), dialectForPath("/v1/messages")];

test("a time to retry after is in header and body, or in neither: 429, 503 and 529 have it", () => {
	for (const dialect of DIALECTS) {
		for (const code of ERROR_CODES) {
			const { status, headers, body } = errorAnswer(dialect, { code, message: "m", retryAfterMs: 1500 }, "req_1");
			const isTold = [429, 503, 529].includes(status);
			expect([code, headers.includes("retry-after")]).toEqual([code, isTold]);
			expect([code, JSON.parse(body).error.retry_after_ms]).toEqual([code, isTold ? 1500 : undefined]);
			expect([code, JSON.parse(body).error.code]).toEqual([code, code]);
		}
	}
});

test("Retry-After is a whole number from 1 to 60 whatever the wait; beyond a minute clients are told not to try", () => {
	for (const retryAfterMs of [0, 1, 999, 30_000, 60_000, 86_400_000, 1e12]) {
		const { headers } = errorAnswer(DIALECTS[0]!, { code: "rate_limited", message: "m", retryAfterMs }, "req_1");
		const seconds = headers[headers.indexOf("retry-after") + 1]!;
		expect(seconds).toMatch(/^([1-9]|[1-5]\d|60)$/);
		expect(headers.includes("x-should-retry")).toBe(retryAfterMs > 60_000);
	}
});
