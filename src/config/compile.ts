/**
 * From configuration to what the core runs on: allocator, queues, pools, scheduler settings. Done once per change of configuration.
 */
import type { Allocator } from "../core/allocate/allocator.ts";
import { createBucketAllocator } from "../core/allocate/bucket-allocator.ts";
import {
	type BucketFigures,
	type BucketSettings,
	baseCapacity,
	bucketFigures,
	bucketUnit,
} from "../core/allocate/distribution.ts";
import { createPriorityAllocator } from "../core/allocate/priority-allocator.ts";
import { sharesOf, WeightedRouter } from "../core/allocate/weighted-router.ts";
import type { AdaptiveSettings } from "../core/capacity/adaptive-capacity.ts";
import type { GuardSettings } from "../core/capacity/capacity-guard.ts";
import type { ProtectionSettings } from "../core/capacity/protection.ts";
import type { AllocatorKind, QueueSettings } from "../core/model/policy.ts";
import {
	type BufferSettings,
	type CapacitySettings,
	type CoreSettings,
	coreSettings,
	DEFAULT_CAPACITY,
	type PoolSettings,
	type PreemptionSettings,
} from "../core/schedule/core-settings.ts";
import type { HalfSettings } from "../core/schedule/halves.ts";
import { measuredCapacity } from "./benchmark-report.ts";
import type { CapacityConfig, GatewayConfig, ProviderConfig } from "./gateway-config.ts";
import { protectionOf } from "./protection.ts";

/** Where adaptive capacity starts, and the most it tries where nobody set a maximum. */
const INITIAL_ADAPTIVE = 32;
const LARGEST_ADAPTIVE = 512;

/** A pool and where it comes from: a provider, or one family of its models. */
export interface CompiledPool {
	readonly name: string;
	readonly provider: ProviderConfig;
	/** Patterns of the models it serves. */
	readonly models: readonly string[];
	readonly maxContextLength: number;
	readonly control: CapacityControl;
	/** Where its limits come from. */
	readonly mode: CapacityConfig["mode"];
}

/** Where the numbers of a pool come from while it runs. */
export interface CapacityControl {
	/** What follows the engine; absent when nothing does. */
	readonly adaptive?: AdaptiveSettings;
	/** Numbers that nobody configured: what the engine says of itself is taken for them. */
	readonly engineMaySet: readonly EngineNumber[];
	/** Why a report could not be used, when `mode = measured` and it could not. */
	readonly unmeasured?: string;
}

export type EngineNumber = "maxConcurrent" | "maxInflightTokens" | "maxContextLength";

export interface CompiledConfig {
	/** With a router, its first: levels. */
	readonly allocator: Allocator;
	/** With `allocator = weighted_router`: what decides which of two allocators takes an account. */
	readonly router?: WeightedRouter;
	/** Decides without acting. */
	readonly shadow?: Allocator;
	readonly core: CoreSettings;
	/** In the order of the pools of `core`: `failover_order` first, then the order of the sections. */
	readonly pools: readonly CompiledPool[];
	/** What each bucket is worth, under the bucket allocator. */
	readonly buckets?: { readonly unit: "rps" | "tps"; readonly figures: readonly BucketFigures[] };
	readonly guard: GuardSettings;
	readonly protection: ProtectionSettings | undefined;
	/** Priority levels that hints speak of. */
	readonly levelNames: readonly string[];
}

export function compile(config: GatewayConfig, ruleDepths: readonly number[]): CompiledConfig {
	const { shadowAllocator } = config.requestScheduler;
	const kind = config.requestScheduler.allocator;
	const isRouter = kind === "weighted_router";
	const allocator = createAllocator(config, isRouter ? "priority" : kind);
	const router = isRouter ? createRouter(config, allocator) : undefined;
	const ofBuckets = router?.allocators[1] ?? allocator;
	const shadow = shadowAllocator === undefined ? undefined : createAllocator(config, shadowAllocator);
	const pools = orderedPools(config);
	const priority = createPriorityAllocator(prioritySettings(config));
	const { scheduler, requestScheduler } = config;
	const guard = guardSettings(config);
	const core = coreSettings({
		allocator: allocator.kind,
		scheduler: requestScheduler.scheduler,
		queues: requestScheduler.enabled ? allocator.queues : allocator.queues.map(withoutCeiling),
		...(router === undefined ? {} : { halves: halvesOf(router, requestScheduler.enabled) }),
		pools: pools.map((pool) => poolSettings(pool, config)),
		cost: {
			promptWeight: config.cost.promptWeight,
			completionWeight: config.cost.completionWeight,
			cachedWeight: config.cost.cachedWeight,
		},
		quantum: scheduler.drr.quantum,
		strictLevels: scheduler.hybrid.strictLevels,
		upgrades: {
			maxDistance: scheduler.atleast.maxUpgradeDistance,
			quotas: ofBuckets.queues.map(
				(_, queue) => scheduler.atleast.upgradeQuotas.get(queue) ?? scheduler.atleast.upgradeQuotaDefault,
			),
			maxTimeMs: scheduler.atleast.maxUpgradeTimeMs,
			softPreemption: scheduler.atleast.softPreemption,
		},
		...(guard.enabled && guard.buffer > 0 ? { buffer: bufferSettings(guard, config) } : {}),
		...(config.preemption.enabled ? { preemption: preemptionSettings(config) } : {}),
		maxWaiting: requestScheduler.maxWaiting,
		maxWaitingBytes: requestScheduler.maxWaitingBytes,
		ruleDepths,
	});
	const levelNames = priority.queues.map((queue) => queue.name);
	return {
		allocator,
		...(router === undefined ? {} : { router }),
		...(shadow === undefined ? {} : { shadow }),
		core,
		pools,
		guard,
		protection: protectionOf(config),
		levelNames,
		...bucketWorth(config),
	};
}

function bucketWorth(config: GatewayConfig): Pick<CompiledConfig, "buckets"> {
	const { allocator, scheduler } = config.requestScheduler;
	if (allocator === "priority") return {};
	const settings = bucketSettings(config);
	const share = allocator === "weighted_router" ? sharesOfConfig(config)[1] : 1;
	const figures = bucketFigures(settings, scheduler).map((figure) => ({
		...figure,
		capacity: figure.capacity * share,
		guarantee: figure.guarantee * share,
	}));
	return { buckets: { unit: bucketUnit(settings), figures } };
}

/** Levels and buckets side by side: a half has its share of every pool, and of what its queues are limited to and assured of. */
function createRouter(config: GatewayConfig, levels: Allocator): WeightedRouter {
	const [ofLevels, share] = sharesOfConfig(config);
	// Where nobody set a rate the base of the buckets is theirs; levels have none then.
	const rateIsOpen = config.providers.every(({ capacity, families }) =>
		[capacity, ...families.map((family) => family.capacity)].every(hasOpenRate),
	);
	const settings = bucketSettings(config);
	const base = rateIsOpen && config.requestScheduler.enabled && share > 0 ? baseCapacity(settings) * share : undefined;
	const ceiling =
		base === undefined ? {} : bucketUnit(settings) === "rps" ? { maxRps: base } : { maxTokensPerSec: base };
	return new WeightedRouter([levels, createAllocator(config, "bucket")], [{ share: ofLevels }, { share, ...ceiling }]);
}

function sharesOfConfig({ allocator }: GatewayConfig): readonly [number, number] {
	return sharesOf(allocator.weightedRouter.priorityWeight, allocator.weightedRouter.bucketWeight);
}

function halvesOf({ allocators, halves }: WeightedRouter, enabled: boolean): readonly HalfSettings[] {
	return allocators.map(({ kind, queues }, at) => ({
		...halves[at]!,
		allocator: kind,
		queues: queues.map((queue) => (enabled ? scaledQueue(queue, halves[at]!.share) : withoutCeiling(queue))),
	}));
}

function scaledQueue(queue: QueueSettings, share: number): QueueSettings {
	// Nothing runs in a half without a share, whatever its queues are allowed.
	if (share === 0) return queue;
	const { limitTps, limitRps, reservedTps } = queue;
	return {
		...queue,
		...(limitTps === undefined ? {} : { limitTps: limitTps * share }),
		...(limitRps === undefined ? {} : { limitRps: limitRps * share }),
		...(reservedTps === undefined ? {} : { reservedTps: reservedTps * share }),
	};
}

/** `max_tps`, else what the pools may do together, else nothing to compare with. */
export function guardSettings(config: GatewayConfig): GuardSettings {
	const { capacityGuard: guard } = config;
	const ceilings = orderedPools(config).map((pool) => poolSettings(pool, config).capacity.maxTokensPerSec);
	return {
		enabled: guard.enabled && config.requestScheduler.enabled,
		maxTps: guard.maxTps ?? ceilings.reduce((sum, ceiling) => sum + ceiling, 0),
		internalLimit: guard.internalLimitPct,
		resume: guard.resumePct,
		buffer: guard.bufferPct,
		bufferFor: guard.bufferFor,
		externalTiers: guard.externalTiers,
		action: guard.action,
	};
}

function bufferSettings(guard: GuardSettings, config: GatewayConfig): BufferSettings {
	return {
		tokensPerSec: (1 - guard.buffer) * guard.maxTps,
		burstSeconds: config.capacity.burstSeconds,
		keptFor: guard.bufferFor,
	};
}

function preemptionSettings({ preemption }: GatewayConfig): PreemptionSettings {
	return {
		victims: preemption.preemptPriorities,
		preemptorMax: preemption.preemptorMaxPriority,
		maxPerRequest: preemption.maxPreemptionsPerRequest,
		flowing: preemption.flowing,
		maxAgeMs: preemption.preemptMaxAgeMs,
	};
}

function prioritySettings(config: GatewayConfig) {
	const { priority } = config.allocator;
	return {
		levels: priority.priorityLevels,
		defaultPriority: config.requestScheduler.defaultPriority,
		overrides: priority.levels,
		...(priority.weights === undefined ? {} : { weights: priority.weights }),
	};
}

function bucketSettings(config: GatewayConfig): BucketSettings {
	const { bucket } = config.allocator;
	return {
		count: bucket.bucketCount,
		distribution: bucket.distributionModel,
		decayRatio: bucket.decayRatio,
		basis: bucket.capacityBasis,
		overrides: bucket.buckets,
		...(bucket.baseCapacityRps === undefined ? {} : { baseCapacityRps: bucket.baseCapacityRps }),
		...(bucket.baseCapacityTps === undefined ? {} : { baseCapacityTps: bucket.baseCapacityTps }),
		...(bucket.minCapacity === undefined ? {} : { minCapacity: bucket.minCapacity }),
		...(bucket.capacities === undefined ? {} : { capacities: bucket.capacities }),
	};
}

function createAllocator(config: GatewayConfig, kind: AllocatorKind): Allocator {
	const { scheduler } = config.requestScheduler;
	if (kind === "priority") return createPriorityAllocator(prioritySettings(config));
	const { strictRange, atleastRange } = config.scheduler.hybrid;
	const hybrid = scheduler === "hybrid";
	return createBucketAllocator({
		buckets: bucketSettings(config),
		mappings: config.allocator.bucket.tierMappings,
		scheduler,
		levels: config.allocator.priority.priorityLevels,
		...(hybrid && strictRange !== undefined ? { strictRange } : {}),
		...(hybrid && atleastRange !== undefined ? { atleastRange } : {}),
	});
}

function orderedPools(config: GatewayConfig): readonly CompiledPool[] {
	const rank = (provider: ProviderConfig) => {
		const at = config.failoverOrder.indexOf(provider.name);
		return at < 0 ? config.failoverOrder.length : at;
	};
	const pools: CompiledPool[] = [];
	for (const provider of config.providers.toSorted((a, b) => rank(a) - rank(b))) {
		for (const family of provider.families) {
			const name = `${provider.name}/${family.name}`;
			pools.push({
				name,
				provider,
				models: family.models,
				maxContextLength: contextOf(family.capacity),
				mode: family.capacity.mode,
				control: controlOf(family.capacity, config),
			});
		}
		const { name, models } = provider;
		pools.push({
			name,
			provider,
			models,
			maxContextLength: contextOf(provider.capacity),
			mode: provider.capacity.mode,
			control: controlOf(provider.capacity, config),
		});
	}
	return pools;
}

function contextOf(capacity: CapacityConfig): number {
	return capacity.maxContextLength ?? Number.POSITIVE_INFINITY;
}

function poolSettings(pool: CompiledPool, config: GatewayConfig): PoolSettings {
	const family = pool.provider.families.find(({ name }) => pool.name === `${pool.provider.name}/${name}`);
	const capacity = (family ?? pool.provider).capacity;
	return { name: pool.name, endpoints: pool.provider.endpoints.length, capacity: capacitySettings(capacity, config) };
}

function controlOf(capacity: CapacityConfig, config: GatewayConfig): CapacityControl {
	const { mode } = capacity;
	if (!config.requestScheduler.enabled) return { engineMaySet: [] };
	const isUnset = {
		maxConcurrent: capacity.maxConcurrent === undefined,
		maxInflightTokens: capacity.maxInflightTokens === undefined,
		maxContextLength: capacity.maxContextLength === undefined,
	};
	// A limit that is written down or followed is not the engine's to say; how much its cache holds is.
	const allowed: readonly EngineNumber[] =
		mode === "engine"
			? ["maxConcurrent", "maxInflightTokens", "maxContextLength"]
			: mode === "adaptive"
				? ["maxInflightTokens", "maxContextLength"]
				: ["maxContextLength"];
	const engineMaySet = allowed.filter((key) => isUnset[key]);
	const adaptive = adaptiveSettings(capacity, config);
	const measured = mode === "measured" ? measuredCapacity(capacity.capacityFrom) : undefined;
	return {
		engineMaySet,
		...(adaptive === undefined ? {} : { adaptive }),
		...(measured === undefined || measured.ok ? {} : { unmeasured: measured.why }),
	};
}

function adaptiveSettings(capacity: CapacityConfig, config: GatewayConfig): AdaptiveSettings | undefined {
	const { targetTtftP99Ms } = capacity;
	const max = capacity.maxConcurrent ?? LARGEST_ADAPTIVE;
	const concurrency =
		capacity.mode === "adaptive"
			? {
					initial: Math.max(capacity.minConcurrent, Math.min(INITIAL_ADAPTIVE, max)),
					min: Math.min(capacity.minConcurrent, max),
					max,
				}
			: undefined;
	if (concurrency === undefined && capacity.headroom !== "auto" && targetTtftP99Ms === undefined) return undefined;
	return {
		capacity: capacitySettings(capacity, config),
		...(concurrency === undefined ? {} : { concurrency }),
		...(capacity.headroom === "auto"
			? { headroom: { max: capacity.headroomMax, targetWaitMs: capacity.headroomTargetWaitMs } }
			: {}),
		...(targetTtftP99Ms === undefined ? {} : { targetTtftP99Ms }),
		degradation: {
			mode: capacity.degradationMode,
			tokensPerSec: capacity.estimatedTokensPerSec,
			maxConcurrent: capacity.estimatedMaxConcurrent,
		},
	};
}

function withoutCeiling({ limitTps: _, limitRps: __, ...queue }: QueueSettings): QueueSettings {
	return queue;
}

/** With queueing off nothing is bounded here; with buckets and no rate, the base is the pool's ceiling in its unit. */
function capacitySettings(capacity: CapacityConfig, config: GatewayConfig): CapacitySettings {
	const unlimited = Number.POSITIVE_INFINITY;
	if (!config.requestScheduler.enabled) {
		return { ...DEFAULT_CAPACITY, maxConcurrent: unlimited, maxPrefillTokens: unlimited, headroom: 0 };
	}
	const buckets = config.requestScheduler.allocator === "bucket" ? bucketSettings(config) : undefined;
	const base = buckets !== undefined && hasOpenRate(capacity) ? baseCapacity(buckets) : undefined;
	const inRequests = buckets !== undefined && bucketUnit(buckets) === "rps";
	const spaceIsOpen = capacity.maxConcurrent === undefined && capacity.maxInflightTokens === undefined;
	const found = foundCapacity(capacity);
	const concurrent =
		capacity.mode === "adaptive" ? found.maxConcurrent : (capacity.maxConcurrent ?? found.maxConcurrent);
	return {
		maxConcurrent: concurrent ?? (spaceIsOpen ? DEFAULT_CAPACITY.maxConcurrent : unlimited),
		maxInflightTokens: capacity.maxInflightTokens ?? unlimited,
		maxPrefillTokens: capacity.maxPrefillTokens === "off" ? unlimited : capacity.maxPrefillTokens,
		prefillWindowMs: capacity.prefillWindowMs,
		maxTokensPerSec:
			capacity.maxTokensPerSec ?? found.maxTokensPerSec ?? (inRequests ? unlimited : (base ?? unlimited)),
		maxRps: capacity.maxRps ?? (inRequests ? (base ?? unlimited) : unlimited),
		burstSeconds: capacity.burstSeconds,
		headroom: capacity.headroom === "auto" ? DEFAULT_CAPACITY.headroom : capacity.headroom,
		headroomFor: capacity.headroomFor,
	};
}

/** Nobody wrote down how fast it may be. */
function hasOpenRate({ maxRps, maxTokensPerSec }: CapacityConfig): boolean {
	return maxRps === undefined && maxTokensPerSec === undefined;
}

/** Limits that are not written in the configuration: where adaptive capacity starts, and what a benchmark measured or stands in for it. */
function foundCapacity(capacity: CapacityConfig): { maxConcurrent?: number; maxTokensPerSec?: number } {
	if (capacity.mode === "adaptive") {
		const max = capacity.maxConcurrent ?? LARGEST_ADAPTIVE;
		return { maxConcurrent: Math.max(capacity.minConcurrent, Math.min(INITIAL_ADAPTIVE, max)) };
	}
	if (capacity.mode !== "measured") return {};
	const measured = measuredCapacity(capacity.capacityFrom);
	if (measured.ok) return measured.capacity;
	return { maxConcurrent: capacity.estimatedMaxConcurrent, maxTokensPerSec: capacity.estimatedTokensPerSec };
}
