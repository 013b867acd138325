import type { Tokens } from "./units.ts";

/**
 * What a request really used. `estimated` marks figures that no engine reported (a cut stream, an engine silent about
 * usage). `promptTokens` includes `cachedTokens`.
 */
export interface Usage {
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly cachedTokens: Tokens;
	readonly source: "measured" | "estimated";
}
