/**
 * `/metrics` of the mock LLM under the names of vLLM's V1 engine, in the Prometheus text format; seconds of the real clock.
 */
import type { MockEngine } from "./mock-engine.ts";

const TTFT_BUCKETS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const INTERVAL_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];

class Histogram {
	readonly #bounds: readonly number[];
	readonly #counts: number[];
	#sum = 0;
	#count = 0;

	constructor(bounds: readonly number[]) {
		this.#bounds = bounds;
		this.#counts = bounds.map(() => 0);
	}

	observe(seconds: number, times = 1): void {
		const bucket = this.#bounds.findIndex((bound) => seconds <= bound);
		if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] as number) + times;
		this.#sum += seconds * times;
		this.#count += times;
	}

	lines(name: string, labels: string): string {
		let text = `# TYPE ${name} histogram\n`;
		let below = 0;
		for (const [index, bound] of this.#bounds.entries()) {
			below += this.#counts[index] as number;
			text += `${name}_bucket{le="${bound}",${labels}} ${below}\n`;
		}
		text += `${name}_bucket{le="+Inf",${labels}} ${this.#count}\n`;
		return `${text}${name}_sum{${labels}} ${this.#sum}\n${name}_count{${labels}} ${this.#count}\n`;
	}
}

export class MockMetrics {
	readonly #timeToFirstToken = new Histogram(TTFT_BUCKETS);
	readonly #interTokenLatency = new Histogram(INTERVAL_BUCKETS);
	#promptTokens = 0;
	readonly #successes = new Map([
		["stop", 0],
		["length", 0],
		["abort", 0],
	]);

	firstToken(seconds: number, promptTokens: number): void {
		this.#timeToFirstToken.observe(seconds);
		this.#promptTokens += promptTokens;
	}

	ended(reason: "stop" | "length" | "abort", decodeSeconds: number, tokensAfterFirst: number): void {
		this.#successes.set(reason, (this.#successes.get(reason) ?? 0) + 1);
		if (tokensAfterFirst > 0) this.#interTokenLatency.observe(decodeSeconds / tokensAfterFirst, tokensAfterFirst);
	}

	text(engine: MockEngine, model: string): string {
		const labels = `model_name="${model.replaceAll(/["\\\n]/g, "_")}",engine="0"`;
		const line = (type: string, name: string, value: number): string =>
			`# TYPE ${name} ${type}\n${name}{${labels}} ${value}\n`;
		const { model: state } = engine;
		const { preemptions, producedTokens } = state.totals;
		let text =
			line("gauge", "vllm:num_requests_running", state.running) +
			line("gauge", "vllm:num_requests_waiting", state.waiting) +
			line("gauge", "vllm:kv_cache_usage_perc", state.kvUsed / state.profile.kvTokens) +
			`# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{block_size="1",num_gpu_blocks="${state.profile.kvTokens}",engine="0"} 1\n` +
			line("counter", "vllm:num_preemptions_total", preemptions) +
			line("counter", "vllm:prompt_tokens_total", this.#promptTokens) +
			line("counter", "vllm:generation_tokens_total", producedTokens) +
			line("counter", "vllm:prefix_cache_queries_total", this.#promptTokens) +
			line("counter", "vllm:prefix_cache_hits_total", 0) +
			"# TYPE vllm:request_success_total counter\n";
		for (const [reason, count] of this.#successes) {
			text += `vllm:request_success_total{finished_reason="${reason}",${labels}} ${count}\n`;
		}
		return (
			text +
			this.#timeToFirstToken.lines("vllm:time_to_first_token_seconds", labels) +
			this.#interTokenLatency.lines("vllm:inter_token_latency_seconds", labels)
		);
	}
}
