import type { Millis, Tokens } from "../model/units.ts";
import type { FlowPath } from "./flow-path.ts";
import type { OtherPlace } from "./halves.ts";

/** What the core needs to know of a request. The object may be reused by the caller after `submit`. */
export interface SubmitRequest {
	/** Pools that may serve it, in order of preference; it waits in the first healthy one. At least one. */
	pools: readonly number[];
	/** Queue index, the same in every one of these pools. */
	queue: number;
	flow: FlowPath;
	/** Over all sequences. */
	promptTokens: Tokens;
	/** Expected, over all sequences. */
	completionTokens: Tokens;
	/** Of the prompt, expected in the engine's prefix cache (cost only). */
	cachedTokens: Tokens;
	/** Slots it takes on its endpoint; at least 1. */
	sequences: number;
	/** Weight of its flow at the last step of the path; above 0. */
	weight: number;
	/** Longest wait; evicted (`queue_timeout`) when it is over. `Infinity` never. */
	timeoutMs: Millis;
	/** Shed at once (`deadline_unmeetable`) when the estimated start is later than this; `Infinity` for no such wish. */
	startWithinMs: Millis;
	/** Keep to the own bucket, or may use idle better ones (`atleast`, `hybrid` with buckets). */
	mayUpgrade: boolean;
	/** Scales the bounds on waiting that it is held to; 1 as a rule. */
	depthMultiplier: number;
	/** Index of the rule whose `maxQueueDepth` counts it, or -1. */
	rule: number;
	/** Bytes held while it waits (`max_waiting_bytes`). */
	bodyBytes: number;
	/** Whether first token and progress are seen as they come (a stream, or `force_stream`). */
	observed: boolean;
	/** The client gets nothing before the end, so that taking the request back costs it only time. */
	buffered: boolean;
	/** Preferred endpoint of its first pool (affinity), or -1. */
	affinityEndpoint: number;
	/** In a core with halves: where it waits when its half has no room for it, or its account moves. */
	other: OtherPlace | undefined;
}

/** A request with every optional wish at its neutral value. */
export function submitRequest(
	required: Pick<SubmitRequest, "flow" | "promptTokens" | "completionTokens"> & Partial<SubmitRequest>,
): SubmitRequest {
	return {
		pools: [0],
		queue: 0,
		cachedTokens: 0,
		sequences: 1,
		weight: 1,
		timeoutMs: Number.POSITIVE_INFINITY,
		startWithinMs: Number.POSITIVE_INFINITY,
		mayUpgrade: false,
		depthMultiplier: 1,
		rule: -1,
		bodyBytes: 0,
		observed: true,
		buffered: false,
		affinityEndpoint: -1,
		other: undefined,
		...required,
	};
}
