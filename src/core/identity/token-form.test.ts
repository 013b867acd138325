import { expect, it } from "vitest";
import { hashPrefix, isTokenHash, tokenPrefix, tokenText } from "./token-form.ts";

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
