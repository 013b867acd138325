/**
 * `tokligence/core`: the scheduling core as a library. Pure: no I/O, clock, timers or packages. Guide: docs/core.md.
 *
 * Start with {@link SchedulingCore}, {@link coreSettings}, {@link submitRequest} and {@link flowPath}. Units: milliseconds, tokens; cost is
 * weighted tokens.
 *
 * @example Two tenants, one slot: the one that comes later does not wait for the other's backlog.
 * ```ts
 * const queues = priorityQueues({ levels: 2, defaultPriority: 1 });
 * const capacity = { ...DEFAULT_CAPACITY, maxConcurrent: 1, headroom: 0 };
 * const core = new SchedulingCore(coreSettings({ queues, pools: [{ name: "gpu", endpoints: 1, capacity }] }));
 * const submit = (tenant) =>
 * 	core.submit(submitRequest({ flow: flowPath([tenant]), queue: 1, promptTokens: 10, completionTokens: 10 }), 0);
 * const [first, second, other] = ["acme", "acme", "globex"].map(submit);
 * const usage = { promptTokens: 10, completionTokens: 10, cachedTokens: 0 };
 * const started = [];
 * for (let decision = core.next(); decision !== undefined; decision = core.next()) {
 * 	if (decision.kind !== "dispatch") continue;
 * 	started.push(decision.ticket);
 * 	core.finish(decision.ticket, usage, 0);
 * }
 * console.log(started.indexOf(other) < started.indexOf(second)); // → true
 * ```
 */

export { bucketQueues } from "./allocate/bucket-allocator.ts";
export { priorityQueues } from "./allocate/priority-allocator.ts";
export type { QueueSettings } from "./model/policy.ts";
export type { Cost, CostWeights, Millis, Tokens } from "./model/units.ts";
export {
	type CapacitySettings,
	type CoreSettings,
	coreSettings,
	DEFAULT_CAPACITY,
	type PoolSettings,
	type PreemptionSettings,
	type UpgradeSettings,
} from "./schedule/core-settings.ts";
export type { Decision, DecisionKind, Reason, Ticket } from "./schedule/decision.ts";
export { type FlowPath, flowPath } from "./schedule/flow-path.ts";
export { type CoreEvent, RecordingCore, replay } from "./schedule/recording.ts";
export { type FinalUsage, type QueueChange, SchedulingCore } from "./schedule/scheduling-core.ts";
export type {
	CoreSnapshot,
	EndpointSnapshot,
	PoolSnapshot,
	QueueSnapshot,
	RequestSnapshot,
} from "./schedule/snapshot.ts";
export type { StartEstimate } from "./schedule/start-estimate.ts";
export { type SubmitRequest, submitRequest } from "./schedule/submit-request.ts";
