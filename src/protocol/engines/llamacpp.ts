/**
 * llama.cpp server (measured: design 07 §11): closes every connection just after a streamed answer although it promised to keep it,
 * looks for a closed connection once a second and only when nothing else was produced, answers 500 to malformed requests,
 * never refuses for load. Headers arrive when a slot is taken.
 */
import { isJsonObject, member, numberMember, tryParseJson } from "../json.ts";
import { blamesRequest } from "../upstream-error.ts";
import { type Engine, type EngineLoad, KEEP_ALIVE_MS, METRICS_POLL_MS } from "./engine.ts";
import { contextLength, listedModel } from "./models-list.ts";
import { readLoadMetrics } from "./prometheus.ts";

const NAMES = { running: "llamacpp:requests_processing", waiting: "llamacpp:requests_deferred" };

/** One entry per slot; requests that wait for one are not in it. */
function readSlots(text: string): EngineLoad | undefined {
	const answer = tryParseJson(text);
	if (!Array.isArray(answer) || answer.length === 0) return undefined;
	const slots = answer.filter((slot) => isJsonObject(slot) && Object.hasOwn(slot, "is_processing"));
	if (slots.length === 0) return undefined;
	return { running: slots.filter((slot) => member(slot, "is_processing") === true).length, maxRunning: slots.length };
}

export const llamacpp: Engine = {
	name: "llamacpp",
	healthPath: "/health",
	unhealthyWhileLoading: true,
	cancelLagMs: { stream: 1000, nonStream: 4000 },
	reuseAfterStream: false,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [
		{ path: "/metrics", pollMs: METRICS_POLL_MS, read: (text) => readLoadMetrics(text, NAMES) },
		{ path: "/slots", pollMs: METRICS_POLL_MS, read: readSlots },
	],
	contextSources: [
		{
			path: "/props",
			read: (answer) => contextLength(numberMember(member(answer, "default_generation_settings"), "n_ctx")),
		},
		{
			path: "/v1/models",
			read: (answer, model) => contextLength(member(member(listedModel(answer, model), "meta"), "n_ctx_train")),
		},
	],
	headersMean: "started",
	classifyError: ({ status, words }) => (status === 500 && blamesRequest(words) ? "client" : undefined),
};
