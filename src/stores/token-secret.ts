/** Randomness and hashing of tokens; their form is core/identity/token-form. */
import { hash, randomBytes } from "node:crypto";
import { TOKEN_RANDOM_BYTES, tokenText } from "../core/identity/token-form.ts";

export function newTokenText(tier: string, environment: string | undefined): string {
	return tokenText(tier, environment, randomBytes(TOKEN_RANDOM_BYTES).toString("base64url"));
}

/** SHA-256 as 64 lower-case hex digits: the only form in which a token is kept. */
export function tokenHash(token: string): string {
	return hash("sha256", token, "hex");
}
