/**
 * `tokligence/core`: the scheduling core as a library. Pure: no I/O, clock, timers or packages.
 *
 * Start with {@link SchedulingCore}, {@link coreSettings}, {@link submitRequest} and {@link flowPath}.
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
export { type FinalUsage, type QueueChange, SchedulingCore } from "./schedule/scheduling-core.ts";
export { type SubmitRequest, submitRequest } from "./schedule/submit-request.ts";
