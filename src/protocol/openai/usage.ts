/**
 * Usage in the OpenAI spellings: `prompt_tokens`/`completion_tokens` (chat, completions, embeddings) and `input_tokens`/`output_tokens`
 * (responses). Both counts of the prompt include what came from the prefix cache. Reasoning tokens are part of the completion
 * wherever an engine lists them (SGLang: at the top level, the others: in the details), so they are never added.
 */
import type { ReportedUsage } from "../dialect.ts";
import { member } from "../json.ts";
import { tokenCount } from "../usage.ts";

export function readOpenaiUsage(usage: unknown): ReportedUsage | undefined {
	const promptTokens = tokenCount(usage, "prompt_tokens") ?? tokenCount(usage, "input_tokens");
	const completionTokens = tokenCount(usage, "completion_tokens") ?? tokenCount(usage, "output_tokens");
	if (promptTokens === undefined && completionTokens === undefined) return undefined;
	const cachedTokens =
		tokenCount(member(usage, "prompt_tokens_details"), "cached_tokens") ??
		tokenCount(member(usage, "input_tokens_details"), "cached_tokens");
	return {
		...(promptTokens === undefined ? {} : { promptTokens }),
		...(completionTokens === undefined ? {} : { completionTokens }),
		...(cachedTokens === undefined ? {} : { cachedTokens }),
	};
}

/** Ollama repeats zeros until the last event and llama.cpp reports `n > 1` in several chunks: the largest figure is the best one. */
export function mergeOpenaiUsage(before: ReportedUsage | undefined, next: ReportedUsage): ReportedUsage {
	if (before === undefined) return next;
	const promptTokens = larger(before.promptTokens, next.promptTokens);
	const completionTokens = larger(before.completionTokens, next.completionTokens);
	const cachedTokens = larger(before.cachedTokens, next.cachedTokens);
	return {
		...(promptTokens === undefined ? {} : { promptTokens }),
		...(completionTokens === undefined ? {} : { completionTokens }),
		...(cachedTokens === undefined ? {} : { cachedTokens }),
	};
}

function larger(a: number | undefined, b: number | undefined): number | undefined {
	if (a === undefined || b === undefined) return a ?? b;
	return Math.max(a, b);
}
