/**
 * SGLang: a full queue is an error event inside a 200; closing a connection is noticed after 2 s (stream) or up to 4 s. Priority
 * needs `--enable-priority-scheduling`; there the higher value goes first, a missing one is the worst, and a running
 * request is preempted only by one that is more than 10 better.
 */
import { isJsonObject, member, numberMember, tryParseJson } from "../json.ts";
import { type Engine, type EngineLoad, type ExpressedPriority, KEEP_ALIVE_MS, METRICS_POLL_MS } from "./engine.ts";
import { contextLength, listedModel } from "./models-list.ts";
import { readLoadMetrics } from "./prometheus.ts";

/** More than `--priority-scheduling-preemption-threshold` (10). */
const PREEMPTING_DISTANCE = 20;
const NAMES = { running: "sglang:num_running_reqs", waiting: "sglang:num_queue_reqs", kvUse: "sglang:token_usage" };

/** One entry per data-parallel rank; older forms wrap the list or give one object. */
function readLoads(text: string): EngineLoad | undefined {
	const answer = tryParseJson(text);
	const list = member(answer, "loads") ?? answer;
	const ranks = (Array.isArray(list) ? list : [list]).filter(isJsonObject);
	const sum = (name: string) => total(ranks.map((rank) => numberMember(rank, name)));
	const running = sum("num_running_reqs");
	const waiting = sum("num_waiting_reqs");
	if (running === undefined && waiting === undefined) return undefined;
	const uses = ranks.map((rank) => numberMember(rank, "token_usage")).filter((use) => use !== undefined);
	const maxRunning = sum("max_running_requests");
	const maxTokens = sum("max_total_num_tokens");
	return {
		...(running === undefined ? {} : { running }),
		...(waiting === undefined ? {} : { waiting }),
		...(uses.length === 0 ? {} : { kvUse: Math.max(...uses) }),
		...(maxRunning === undefined ? {} : { maxRunning }),
		...(maxTokens === undefined ? {} : { maxTokens }),
	};
}

function total(values: readonly (number | undefined)[]): number | undefined {
	const known = values.filter((value) => value !== undefined);
	return known.length === 0 ? undefined : known.reduce((sum, value) => sum + value, 0);
}

/** /v1/messages has no field for it. */
function express(value: number, operation: string): ExpressedPriority {
	return operation === "message" ? {} : { body: value };
}

export const sglang: Engine = {
	name: "sglang",
	healthPath: "/health",
	unhealthyWhileLoading: true,
	cancelLagMs: { stream: 2000, nonStream: 4000 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [
		{ path: "/v1/loads", pollMs: 1000, read: readLoads },
		{ path: "/metrics", pollMs: METRICS_POLL_MS, read: (text) => readLoadMetrics(text, NAMES) },
	],
	contextSources: [
		{ path: "/v1/models", read: (answer, model) => contextLength(member(listedModel(answer, model), "max_model_len")) },
	],
	priority: {
		direction: "higher_first",
		ofLevel: (level, levels, operation) => express(levels - 1 - level, operation),
		ofShare: (guaranteed, operation) => express(guaranteed ? PREEMPTING_DISTANCE : 0, operation),
	},
	headersMean: "first_output",
};
