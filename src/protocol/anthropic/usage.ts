/**
 * Usage in the Anthropic spelling. `input_tokens` leaves out what was read from or written to the cache, so the prompt is the sum of
 * the three. In a stream, `message_start` gives first figures and every `message_delta` totals of the whole message:
 * non-null ones replace, they never add. vLLM says the full prompt first and later the prompt net of cache beside the cached part;
 * replacing part by part gives the same total for both.
 */
import type { ReportedUsage } from "../dialect.ts";
import { tokenCount } from "../usage.ts";

/** The parts are kept apart until the end, since an event may replace only some of them. */
interface AnthropicUsage extends ReportedUsage {
	readonly input?: number;
	readonly cacheRead?: number;
	readonly cacheCreation?: number;
}

export function readAnthropicUsage(usage: unknown): ReportedUsage | undefined {
	return combine(
		tokenCount(usage, "input_tokens"),
		tokenCount(usage, "cache_read_input_tokens"),
		tokenCount(usage, "cache_creation_input_tokens"),
		tokenCount(usage, "output_tokens"),
	);
}

export function mergeAnthropicUsage(before: ReportedUsage | undefined, next: ReportedUsage): ReportedUsage {
	const a: AnthropicUsage = before ?? {};
	const b: AnthropicUsage = next;
	return (
		combine(
			b.input ?? a.input,
			b.cacheRead ?? a.cacheRead,
			b.cacheCreation ?? a.cacheCreation,
			b.completionTokens ?? a.completionTokens,
		) ?? {}
	);
}

function combine(
	input: number | undefined,
	cacheRead: number | undefined,
	cacheCreation: number | undefined,
	output: number | undefined,
): AnthropicUsage | undefined {
	if (input === undefined && output === undefined && cacheRead === undefined && cacheCreation === undefined)
		return undefined;
	const promptTokens = input === undefined ? undefined : input + (cacheRead ?? 0) + (cacheCreation ?? 0);
	return {
		...(promptTokens === undefined ? {} : { promptTokens }),
		...(output === undefined ? {} : { completionTokens: output }),
		...(cacheRead === undefined ? {} : { cachedTokens: cacheRead, cacheRead }),
		...(input === undefined ? {} : { input }),
		...(cacheCreation === undefined ? {} : { cacheCreation }),
	};
}
