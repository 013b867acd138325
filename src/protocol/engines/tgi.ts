/**
 * TGI (in maintenance): overload is 429 `overloaded`, and inside a stream an event that claims status 422 whatever happened. Sends
 * empty comments every 15 s. No priority field.
 */
import { member } from "../json.ts";
import { type Engine, KEEP_ALIVE_MS, METRICS_POLL_MS } from "./engine.ts";
import { contextLength } from "./models-list.ts";
import { readLoadMetrics } from "./prometheus.ts";

const NAMES = { running: "tgi_batch_current_size", waiting: "tgi_queue_size" };

export const tgi: Engine = {
	name: "tgi",
	healthPath: "/health",
	unhealthyWhileLoading: true,
	// Noticed at the next token.
	cancelLagMs: { stream: 100, nonStream: 100 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [{ path: "/metrics", pollMs: METRICS_POLL_MS, read: (text) => readLoadMetrics(text, NAMES) }],
	contextSources: [{ path: "/info", read: (answer) => contextLength(member(answer, "max_total_tokens")) }],
	headersMean: "accepted",
	classifyError: ({ words }) => (/\boverloaded\b/i.test(words) ? "busy" : undefined),
};
