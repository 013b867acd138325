import { expect, it } from "vitest";
import { hashPrefix, isTokenHash, redactTokens, tokenPrefix, tokenText } from "./token-form.ts";

const RANDOM = "AbCdEfGhIjKlMnOpQrStUvWxYz012_-9";

it("has tier, environment if any, and the random part", () => {
	expect(tokenText("internal", "production", RANDOM)).toBe(`tok_internal_production_${RANDOM}`);
	expect(tokenText("external", undefined, RANDOM)).toBe(`tok_external_${RANDOM}`);
	expect(tokenText("external", "Odd Name!", RANDOM)).toBe(`tok_external_${RANDOM}`);
});

it("shows at most twenty characters", () => {
	expect(tokenPrefix(`tok_external_${RANDOM}`)).toBe("tok_external_AbCdEfG****");
	expect(hashPrefix("0123456789abcdef")).toBe("sha256:01234567****");
	expect([isTokenHash("a".repeat(64)), isTokenHash("A".repeat(64)), isTokenHash("a")]).toEqual([true, false, false]);
});

it("a token in a text is cut to its prefix, words that only begin like one are not", () => {
	const random = "aB-_".repeat(8);
	expect(redactTokens(`model "tok_internal_${random}" is not served, nor tok_${random}.`)).toBe(
		'model "tok_internal_aB-_aB-****" is not served, nor tok_aB-_aB-_aB-_aB-_****.',
	);
	expect(redactTokens("tok_production is no token")).toBe("tok_production is no token");
});
