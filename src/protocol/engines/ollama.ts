/**
 * Ollama: no metrics, no priority, a loaded model queues without limit. Over-long prompts are cut in silence, and an error in
 * mid-stream is an empty chunk and the end: only the missing terminator tells. A full queue is 503 while the model loads.
 */
import { isJsonObject, member } from "../json.ts";
import { type Engine, KEEP_ALIVE_MS } from "./engine.ts";
import { contextLength } from "./models-list.ts";

/** `model_info` names it after the architecture: `llama.context_length`. It is the model's limit, not the configured one. */
function readShow(answer: unknown): number | undefined {
	const info = member(answer, "model_info");
	if (!isJsonObject(info)) return undefined;
	const key = Object.keys(info).find((name) => name.endsWith(".context_length"));
	return key === undefined ? undefined : contextLength(info[key]);
}

export const ollama: Engine = {
	name: "ollama",
	healthPath: "/",
	unhealthyWhileLoading: false,
	cancelLagMs: { stream: 100, nonStream: 100 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [],
	contextSources: [{ path: "/api/show", requestBody: (model) => JSON.stringify({ model }), read: readShow }],
	headersMean: "first_output",
};
