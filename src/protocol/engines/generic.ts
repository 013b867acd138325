/**
 * Any other server of either wire form, cloud APIs among them: nothing is known beyond the form itself.
 */
import { member } from "../json.ts";
import { type Engine, KEEP_ALIVE_MS } from "./engine.ts";
import { contextLength, listedModel } from "./models-list.ts";

export const generic: Engine = {
	name: "generic",
	healthPath: "/v1/models",
	unhealthyWhileLoading: false,
	cancelLagMs: { stream: 0, nonStream: 0 },
	reuseAfterStream: true,
	keepAliveMs: KEEP_ALIVE_MS,
	loadSources: [],
	contextSources: [
		{ path: "/v1/models", read: (answer, model) => contextLength(member(listedModel(answer, model), "max_model_len")) },
	],
	headersMean: "accepted",
};
