/**
 * vLLM: 200 and headers at admission, while the request still waits; queue without limit before 0.29; cancels at once. Priority needs
 * `--scheduling-policy priority`; it is ignored otherwise. /v1/messages has no body field for it, there the header is read.
 */
import { member } from "../json.ts";
import { type Engine, type EngineLoad, type ExpressedPriority, KEEP_ALIVE_MS, METRICS_POLL_MS } from "./engine.ts";
import { contextLength, listedModel } from "./models-list.ts";
import { readLabels, readLoadMetrics } from "./prometheus.ts";

const NAMES = {
	running: "vllm:num_requests_running",
	waiting: "vllm:num_requests_waiting",
	kvUse: "vllm:kv_cache_usage_perc",
};

function express(value: number, operation: string): ExpressedPriority {
	return operation === "message" ? { header: ["X-Vllm-Priority", String(value)] } : { body: value };
}

/** The cache is said as labels: `vllm:cache_config_info{block_size="16",num_gpu_blocks="12500",…} 1`, one line per engine. */
function readLoad(text: string): EngineLoad | undefined {
	const load = readLoadMetrics(text, NAMES);
	if (load === undefined) return undefined;
	let maxTokens = 0;
	for (const labels of readLabels(text, "vllm:cache_config_info")) {
		maxTokens += Number(labels.get("num_gpu_blocks")) * Number(labels.get("block_size"));
	}
	return Number.isSafeInteger(maxTokens) && maxTokens > 0 ? { ...load, maxTokens } : load;
}

export const vllm: Engine = {
	name: "vllm",
	healthPath: "/health",
	unhealthyWhileLoading: false,
	cancelLagMs: { stream: 0, nonStream: 0 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [{ path: "/metrics", pollMs: METRICS_POLL_MS, read: readLoad }],
	contextSources: [
		{ path: "/v1/models", read: (answer, model) => contextLength(member(listedModel(answer, model), "max_model_len")) },
	],
	priority: {
		direction: "lower_first",
		ofLevel: (level, _levels, operation) => express(level, operation),
		ofShare: (guaranteed, operation) => express(guaranteed ? 0 : 1, operation),
	},
	headersMean: "accepted",
};
