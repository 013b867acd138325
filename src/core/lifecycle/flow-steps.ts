/** `flow_path`: which keys of a request's identity make the steps along which fairness is shared. */
import type { RoutingMetadata } from "../model/routing.ts";
import { type FlowPath, flowPath } from "../schedule/flow-path.ts";

export const FLOW_STEPS = ["organisation", "account", "team", "environment", "token", "model"] as const;
export type FlowStep = (typeof FLOW_STEPS)[number];

/** The same steps below the environment: each environment is a sub-queue of its own, which those of the others share evenly with. */
export function belowEnvironment(steps: readonly FlowStep[]): readonly FlowStep[] {
	return ["environment", ...steps.filter((step) => step !== "environment")];
}

/** Makes paths and keeps the recent ones, so that a busy identity costs a look-up; bounded. */
export class FlowPaths {
	/** Outermost first. */
	readonly steps: readonly FlowStep[];
	readonly #known = new Map<string, FlowPath>();
	static readonly #KEEP = 10_000;

	/** @param steps outermost first; none is one flow for all */
	constructor(steps: readonly FlowStep[]) {
		this.steps = steps;
	}

	pathOf(metadata: RoutingMetadata, model: string): FlowPath {
		const { steps } = this;
		let id = steps.length === 0 ? "" : keyOf(steps[0]!, metadata, model);
		for (let index = 1; index < steps.length; index++) id += `\0${keyOf(steps[index]!, metadata, model)}`;
		let path = this.#known.get(id);
		if (path === undefined) {
			path = flowPath(steps.map((step) => keyOf(step, metadata, model)));
			if (this.#known.size >= FlowPaths.#KEEP) this.#known.clear();
			this.#known.set(id, path);
		}
		return path;
	}
}

/** An account without an organisation is its own. */
function keyOf(step: FlowStep, metadata: RoutingMetadata, model: string): string {
	switch (step) {
		case "organisation":
			return metadata.organisation ?? metadata.accountId;
		case "account":
			return metadata.accountId;
		case "team":
			return metadata.teamId ?? "";
		case "environment":
			return metadata.environment ?? "";
		case "token":
			return metadata.tokenId ?? "";
		case "model":
			return model;
	}
}
