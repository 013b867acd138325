/**
 * The form of a token's text: `tok_<tier>[_<environment>]_<32 random url-safe characters>` (design 02 §1). Pure: randomness
 * and hashing stand beside the store.
 */

/** 24 random bytes as base64url: 192 bits. */
export const TOKEN_RANDOM_BYTES = 24;
export const TOKEN_RANDOM_LENGTH = 32;

const PREFIX_LENGTH = 20;
const WORD = /^[a-z0-9][a-z0-9-]{0,31}$/;

/** Whether `word` may stand in a token's text as its tier or environment. */
export function isTokenWord(word: string): boolean {
	return WORD.test(word);
}

/** `random` is `TOKEN_RANDOM_LENGTH` url-safe characters. A tier or environment of unusual form is left out of the text. */
export function tokenText(tier: string, environment: string | undefined, random: string): string {
	const words = ["tok", tier, ...(environment === undefined ? [] : [environment])].filter(isTokenWord);
	return `${words.join("_")}_${random}`;
}

/** What may be shown of a token later: its first 20 characters, of which at most 15 are random. */
export function tokenPrefix(token: string): string {
	return `${token.slice(0, PREFIX_LENGTH)}****`;
}

const TOKENS_IN_TEXT = new RegExp(`\\btok_[\\w-]{${TOKEN_RANDOM_LENGTH},}`, "g");

/** A text for logs and errors, in which somebody may have put a token where a name belongs. */
export function redactTokens(text: string): string {
	return text.includes("tok_") ? text.replaceAll(TOKENS_IN_TEXT, tokenPrefix) : text;
}

/** The same for a token known by its hash alone. */
export function hashPrefix(sha256: string): string {
	return `sha256:${sha256.slice(0, 8)}****`;
}

/** 64 lower-case hex digits. */
export function isTokenHash(text: string): boolean {
	return /^[0-9a-f]{64}$/.test(text);
}
