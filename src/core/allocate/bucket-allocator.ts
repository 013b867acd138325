/**
 * Capacity buckets (design 01 §3): 2 to 100 queues, 0 is the best. The tier's group gives a range of buckets; a priority (token
 * override → hint → rule's `assign_priority_in_range`) chooses within the range, else the group's default bucket. A rule's
 * `assign_queue` replaces the group: `group:NAME` by another one, `bucket:N` by a single bucket.
 *
 * All decisions are made when the allocator is made; `allocate` looks them up.
 */
import type { AllocationDecision, QueueMode, QueueSettings, RoutingRule, SchedulerKind } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import { type Allocator, clampLevel } from "./allocator.ts";
import { type BucketSettings, bucketFigures, bucketUnit, numbersAreWeights } from "./distribution.ts";
import { queueDefaults, withOverrides } from "./queue-defaults.ts";
import { type TierMapping, type TierMappingSettings, TierMappings } from "./tier-mapping.ts";

export interface BucketAllocatorSettings {
	readonly buckets: BucketSettings;
	/** Merged over the default groups. */
	readonly mappings: readonly TierMappingSettings[];
	readonly scheduler: SchedulerKind;
	/** Priority levels that hints, overrides and `assign_priority_in_range` are given in. */
	readonly levels: number;
	/** `[scheduler.hybrid] strict_range, atleast_range`, inclusive: win over the groups' modes. */
	readonly strictRange?: readonly [number, number];
	readonly atleastRange?: readonly [number, number];
}

/** The tier that no group is expected to cover. */
const DEFAULT_TIER = "default";

export function createBucketAllocator(settings: BucketAllocatorSettings): Allocator {
	return new BucketAllocator(settings);
}

/** The queues, best first: ceilings where the scheduler reads numbers as ceilings, weights everywhere. */
export function bucketQueues(
	settings: BucketAllocatorSettings,
	mappings: TierMappings = new TierMappings(settings.mappings, settings.buckets.count),
): readonly QueueSettings[] {
	const { buckets, scheduler } = settings;
	const unit = bucketUnit(buckets);
	const queues = bucketFigures(buckets, scheduler).map((figures, index) => {
		const { maxDepth, timeoutMs } = queueDefaults(index, buckets.count);
		const covering = mappings.mappings.find((mapping) => mapping.first <= index && index <= mapping.last);
		const limited = !figures.bestEffort && !numbersAreWeights(scheduler);
		const queue: QueueSettings = {
			label: `B${index}`,
			name: `bucket-${index}`,
			maxDepth,
			timeoutMs,
			weight: figures.weight,
			...(limited && unit === "rps" ? { limitRps: figures.ceiling } : {}),
			...(limited && unit === "tps" ? { limitTps: figures.ceiling } : {}),
			...(figures.bestEffort ? { bestEffort: true } : {}),
			mode: modeOf(settings, index, covering?.mode ?? "atleast"),
		};
		return withOverrides(queue, buckets.overrides?.get(index));
	});
	if (scheduler !== "drr") return queues;
	// A turn is quantum × weight: capacities as they are would make one last for minutes.
	const largest = Math.max(...queues.map(({ weight }) => weight));
	return queues.map((queue) => ({ ...queue, weight: queue.weight / largest }));
}

function modeOf(settings: BucketAllocatorSettings, bucket: number, mode: QueueMode): QueueMode {
	if (within(settings.strictRange, bucket)) return "strict";
	return within(settings.atleastRange, bucket) ? "atleast" : mode;
}

function within(range: readonly [number, number] | undefined, bucket: number): boolean {
	return range !== undefined && range[0] <= bucket && bucket <= range[1];
}

/** The decisions of one group (or one bucket): without a priority, and by priority for each source of it. */
interface Target {
	readonly plain: AllocationDecision;
	readonly byToken: readonly AllocationDecision[];
	readonly byHint: readonly AllocationDecision[];
	readonly byRule: readonly AllocationDecision[];
}

class BucketAllocator implements Allocator {
	readonly kind = "bucket";
	readonly queues: readonly QueueSettings[];
	readonly #settings: BucketAllocatorSettings;
	readonly #mappings: TierMappings;
	readonly #byMapping = new Map<TierMapping, Target>();
	readonly #byAssignedMapping = new Map<TierMapping, Target>();
	readonly #byBucket: readonly Target[];
	readonly #ofDefaultTier: Target;
	readonly #unmapped: Target;
	/** What a rule's `assign_queue` means, read at its first use; `undefined` for one that names nothing here. */
	readonly #assigned = new WeakMap<RoutingRule, { readonly target: Target | undefined }>();

	constructor(settings: BucketAllocatorSettings) {
		this.#settings = settings;
		this.#mappings = new TierMappings(settings.mappings, settings.buckets.count);
		this.queues = bucketQueues(settings, this.#mappings);
		for (const mapping of this.#mappings.mappings) {
			this.#byMapping.set(mapping, this.#target(mapping, `mapping:${mapping.group}`));
			this.#byAssignedMapping.set(mapping, this.#target(mapping, "rule"));
		}
		this.#byBucket = this.queues.map((_, bucket) => this.#target(this.#single(bucket), "rule"));
		const last = this.#single(this.queues.length - 1);
		this.#ofDefaultTier = this.#target(last, "default");
		this.#unmapped = this.#target(last, "unmapped", true);
	}

	allocate(metadata: RoutingMetadata, rule: RoutingRule, hintedPriority?: number): AllocationDecision {
		const target = (rule.assignQueue === undefined ? undefined : this.#assignedTarget(rule)) ?? this.#mapped(metadata);
		const override = metadata.token?.priorityOverride;
		if (override !== undefined) return pick(target.byToken, override);
		const hint = hintedPriority ?? metadata.priorityHint;
		if (hint !== undefined) return pick(target.byHint, hint);
		if (rule.assignPriorityInRange !== undefined) return pick(target.byRule, rule.assignPriorityInRange);
		return target.plain;
	}

	#mapped(metadata: RoutingMetadata): Target {
		const mapping = this.#mappings.find(metadata);
		if (mapping !== undefined) return this.#byMapping.get(mapping)!;
		return metadata.tier === DEFAULT_TIER ? this.#ofDefaultTier : this.#unmapped;
	}

	#assignedTarget(rule: RoutingRule): Target | undefined {
		let assigned = this.#assigned.get(rule);
		if (assigned === undefined) {
			assigned = { target: this.#readAssignQueue(rule.assignQueue ?? "") };
			this.#assigned.set(rule, assigned);
		}
		return assigned.target;
	}

	#readAssignQueue(assignQueue: string): Target | undefined {
		const queue = parseAssignQueue(assignQueue);
		if (queue?.kind === "bucket") return this.#byBucket[queue.bucket];
		const mapping = queue === undefined ? undefined : this.#mappings.group(queue.group);
		return mapping === undefined ? undefined : this.#byAssignedMapping.get(mapping);
	}

	#single(bucket: number): TierMapping {
		const mode = this.queues[bucket]!.mode!;
		return { group: `bucket:${bucket}`, first: bucket, last: bucket, defaultBucket: bucket, mode };
	}

	#target(mapping: TierMapping, via: string, unmapped = false): Target {
		const decide = (bucket: number, how: string): AllocationDecision => ({
			queue: bucket,
			mode: modeOf(this.#settings, bucket, mapping.mode),
			via: how,
			...(unmapped ? { unmapped } : {}),
		});
		const byPriority = (how: string): readonly AllocationDecision[] =>
			Array.from({ length: this.#settings.levels }, (_, priority) =>
				decide(bucketInRange(mapping, priority, this.#settings.levels), how),
			);
		return {
			plain: decide(mapping.defaultBucket, via),
			byToken: byPriority("token_override"),
			byHint: byPriority("header_hint"),
			byRule: byPriority("rule"),
		};
	}
}

function pick(decisions: readonly AllocationDecision[], priority: number): AllocationDecision {
	return decisions[clampLevel(priority, decisions.length)]!;
}

/** `min + floor(priority / (levels−1) × (size−1))`, on whole numbers. */
export function bucketInRange(
	range: { readonly first: number; readonly last: number },
	priority: number,
	levels: number,
): number {
	return range.first + Math.floor((priority * (range.last - range.first)) / (levels - 1));
}

export type AssignedQueue =
	| { readonly kind: "bucket"; readonly bucket: number }
	| { readonly kind: "group"; readonly group: string };

/** Reads a rule's `assign_queue`: `bucket:N` or `group:NAME`; anything else is `undefined`. */
export function parseAssignQueue(assignQueue: string): AssignedQueue | undefined {
	const bucket = /^bucket:(\d{1,3})$/.exec(assignQueue);
	if (bucket !== null) return { kind: "bucket", bucket: Number(bucket[1]) };
	const group = /^group:(.+)$/.exec(assignQueue);
	return group === null ? undefined : { kind: "group", group: group[1]! };
}
