/** The public traces as the scenarios use them: whole where a folder of them is given, else the excerpts beside the tests. */
import path from "node:path";
import { openTrace, type TraceRequest } from "../../src/simulate/traces.ts";
import type { Scale } from "./claim.ts";

const EXCERPTS = path.resolve(import.meta.dirname, "../fixtures/traces");

/** Arrivals of an excerpt of a VTC run end here; what started later in the published run was shaped by arrivals that are missing. */
export const EXCERPT_END_MS = 180_000;

export const PUBLISHED_RUNS = [
	"overload",
	"on_off_overload",
	"poisson_short_long",
	"on_off_less",
	"proportional",
	"increase",
] as const;
export type PublishedRun = (typeof PUBLISHED_RUNS)[number];

/** A run of VTC on an A10G; `increase` has no excerpt, since its overload comes late. */
export function publishedRun(run: PublishedRun, scale: Scale, policy: "VTC" | "FCFS" = "VTC"): TraceRequest[] {
	const file =
		scale.data === undefined
			? path.join(EXCERPTS, `vtc-run-${run.replaceAll("_", "-")}.csv.gz`)
			: path.join(scale.data, "vtc_published", `${policy}__all_results_${run}.csv`);
	return [...openTrace(file).requests()];
}

/** A day of 73 clients, or its first two hours. */
export function servegenDay({ data }: Scale): TraceRequest[] {
	const file =
		data === undefined
			? path.join(EXCERPTS, "servegen-r1-day-3000.csv.gz")
			: path.join(data, "servegen_r1_day", "r1_day_x0.02.csv.gz");
	return [...openTrace(file).requests()];
}

/** An hour of conversations, or its first 200. */
export function azureConversations({ data }: Scale): TraceRequest[] {
	const file =
		data === undefined
			? path.join(EXCERPTS, "azure2023-conv-excerpt.csv")
			: path.join(data, "azure2023_conv", "AzureLLMInferenceTrace_conv.csv");
	return [...openTrace(file).requests()];
}

export const LENGTHS = ["sharegpt", "arxiv"] as const;

const LENGTH_FILES = {
	sharegpt: ["sharegpt-lengths-excerpt.csv", "sharegpt_lengths/sharegpt_8k_filtered_stats_llama2_tokenizer.csv"],
	arxiv: ["arxiv-lengths-excerpt.csv", "arxiv_lengths/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv"],
} as const;

/** Prompt and output lengths without times: chats, and summaries of papers. The first 5,000 of the whole files. */
export function lengths(of: (typeof LENGTHS)[number], { data }: Scale): TraceRequest[] {
	const [excerpt, whole] = LENGTH_FILES[of];
	const file = data === undefined ? path.join(EXCERPTS, excerpt) : path.join(data, whole);
	return [...openTrace(file).requests()].slice(0, 5000);
}

/** Very long prompts; the excerpt is too short to be served by. */
export function mooncake(data: string): TraceRequest[] {
	return [...openTrace(path.join(data, "mooncake_synthetic", "synthetic_trace.jsonl")).requests()];
}

/** `prompt + 2 · output`, as in the cost weights of the gateway. */
export function costOf({ promptTokens, outputTokens }: TraceRequest): number {
	return promptTokens + 2 * outputTokens;
}
