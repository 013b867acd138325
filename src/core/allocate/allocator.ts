/**
 * Layer 2: which queue a request waits in. Two implementations, priority levels and capacity buckets; nothing above or below
 * asks which one it is.
 *
 * Pure and immutable: a change of settings makes a new allocator. `allocate` neither allocates memory nor depends on load.
 */
import type { AllocationDecision, AllocatorKind, QueueSettings, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";

export interface Allocator {
	readonly kind: AllocatorKind;
	/** Best first; `AllocationDecision.queue` is an index into it. */
	readonly queues: readonly QueueSettings[];
	/** `hintedPriority` stands for `metadata.priorityHint` when given. The decision is shared: do not keep or change it per request. */
	allocate(metadata: RoutingMetadata, rule: RoutingRule, hintedPriority?: number): AllocationDecision;
}

/** Nearest level that exists. */
export function clampLevel(level: number, levels: number): number {
	return Math.min(Math.max(Math.trunc(level), 0), levels - 1);
}
