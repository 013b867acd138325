/**
 * The requests of a benchmark, in the form of `/v1/chat/completions`. Every prompt begins differently, so that no prefix cache flatters
 * the server; `max_tokens` with `ignore_eos` (which vLLM and SGLang honour, others ignore) makes answers as long as the mix says.
 */
import type { Millis } from "../core/model/units.ts";
import { Random } from "../simulate/random.ts";
import type { BenchmarkMix } from "./benchmark-mix.ts";
import type { LoadRequest } from "./load-generator.ts";
import type { WorkloadRequest } from "./workload-profiles.ts";

/** What a request's result is grouped by. */
export const STREAMED = "streamed";
export const WHOLE = "whole";

const CHARS_PER_TOKEN = 4;
const TOOLS = [
	{
		type: "function",
		function: {
			name: "look_up",
			description: "Looks a word up",
			parameters: { type: "object", properties: { word: { type: "string" } }, required: ["word"] },
		},
	},
];

export interface BenchmarkTarget {
	readonly baseUrl: string;
	readonly path: string;
}

/** A base URL, with or without `/v1`, or the full address of the chat completions; nothing when it is no http URL. */
export function benchmarkTarget(endpoint: string): BenchmarkTarget | undefined {
	const url = URL.parse(endpoint);
	if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
	const path = url.pathname.replace(/\/+$/, "");
	const full = path.endsWith("/chat/completions")
		? path
		: path.endsWith("/v1")
			? `${path}/chat/completions`
			: `${path}/v1/chat/completions`;
	return { baseUrl: url.origin, path: full + url.search };
}

export class BenchmarkWorkload {
	readonly #requests: Generator<WorkloadRequest, never>;
	readonly #gaps: Generator<number, never>;
	readonly #random: Random;
	readonly #model: string;
	readonly #path: string;
	readonly #headers: Readonly<Record<string, string>>;
	#count = 0;

	constructor(
		mix: BenchmarkMix,
		model: string,
		path: string,
		seed: number,
		headers: Readonly<Record<string, string>> = {},
	) {
		this.#requests = mix.requests(seed);
		this.#gaps = mix.gaps(seed);
		this.#random = new Random(`prompts ${seed}`);
		this.#model = model;
		this.#path = path;
		this.#headers = headers;
	}

	/** Until the next request. */
	gapMs(ratePerSecond: number): Millis {
		return (this.#gaps.next().value * 1000) / ratePerSecond;
	}

	request(atMs: Millis): LoadRequest {
		const { promptTokens, completionTokens, streaming, tools } = this.#requests.next().value;
		const start = `${this.#count++} ${this.#random.uint32().toString(36)} `;
		const length = promptTokens * CHARS_PER_TOKEN;
		const content = (start + "word ".repeat(Math.ceil(length / 5))).slice(0, Math.max(1, length));
		return {
			atMs,
			tier: streaming ? STREAMED : WHOLE,
			path: this.#path,
			headers: this.#headers,
			body: JSON.stringify({
				model: this.#model,
				max_tokens: completionTokens,
				ignore_eos: true,
				messages: [{ role: "user", content }],
				...(streaming && { stream: true, stream_options: { include_usage: true } }),
				...(tools && { tools: TOOLS, tool_choice: "auto" }),
			}),
		};
	}
}
