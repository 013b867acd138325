/**
 * TGI (in maintenance): overload is 429 `overloaded`, and inside a stream an event that claims status 422 whatever happened. Sends
 * empty comments every 15 s. No priority field.
 */
import { member, numberMember, tryParseJson } from "../json.ts";
import { type Engine, type EngineLoad, KEEP_ALIVE_MS, METRICS_POLL_MS } from "./engine.ts";
import { contextLength } from "./models-list.ts";
import { readLoadMetrics } from "./prometheus.ts";

const NAMES = { running: "tgi_batch_current_size", waiting: "tgi_queue_size" };

/** What the router lets in at once, and the tokens that its batch may hold. */
function readInfo(text: string): EngineLoad | undefined {
	const answer = tryParseJson(text);
	const maxRunning = numberMember(answer, "max_concurrent_requests");
	const maxTokens = numberMember(answer, "max_batch_total_tokens");
	if (maxRunning === undefined && maxTokens === undefined) return undefined;
	return { ...(maxRunning === undefined ? {} : { maxRunning }), ...(maxTokens === undefined ? {} : { maxTokens }) };
}

export const tgi: Engine = {
	name: "tgi",
	healthPath: "/health",
	unhealthyWhileLoading: true,
	// Noticed at the next token.
	cancelLagMs: { stream: 100, nonStream: 100 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [
		{ path: "/metrics", pollMs: METRICS_POLL_MS, read: (text) => readLoadMetrics(text, NAMES) },
		{ path: "/info", pollMs: METRICS_POLL_MS, read: readInfo },
	],
	contextSources: [{ path: "/info", read: (answer) => contextLength(member(answer, "max_total_tokens")) }],
	headersMean: "accepted",
	classifyError: ({ words }) => (/\boverloaded\b/i.test(words) ? "busy" : undefined),
};
