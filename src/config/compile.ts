/**
 * From configuration to what the core runs on: allocator, queues, pools, scheduler settings. Done once per change of configuration.
 */
import type { Allocator } from "../core/allocate/allocator.ts";
import { createBucketAllocator } from "../core/allocate/bucket-allocator.ts";
import { type BucketSettings, baseCapacity, bucketUnit } from "../core/allocate/distribution.ts";
import { createPriorityAllocator } from "../core/allocate/priority-allocator.ts";
import {
	type CapacitySettings,
	type CoreSettings,
	coreSettings,
	DEFAULT_CAPACITY,
	type PoolSettings,
} from "../core/schedule/core-settings.ts";
import type { CapacityConfig, GatewayConfig, ProviderConfig } from "./gateway-config.ts";

/** A pool and where it comes from: a provider, or one family of its models. */
export interface CompiledPool {
	readonly name: string;
	readonly provider: ProviderConfig;
	/** Patterns of the models it serves. */
	readonly models: readonly string[];
	readonly maxContextLength: number;
	/** Where its limits come from. */
	readonly mode: CapacityConfig["mode"];
}

export interface CompiledConfig {
	readonly allocator: Allocator;
	readonly core: CoreSettings;
	/** In the order of `core.pools`: `failover_order` first, then the order of the sections. */
	readonly pools: readonly CompiledPool[];
	/** Priority levels that hints speak of. */
	readonly levelNames: readonly string[];
}

export function compile(config: GatewayConfig, ruleDepths: readonly number[]): CompiledConfig {
	const allocator = createAllocator(config);
	const pools = orderedPools(config);
	const priority = createPriorityAllocator(prioritySettings(config));
	const { scheduler, requestScheduler } = config;
	const core = coreSettings({
		allocator: requestScheduler.allocator,
		scheduler: requestScheduler.scheduler,
		queues: allocator.queues,
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
			quotas: allocator.queues.map(
				(_, queue) => scheduler.atleast.upgradeQuotas.get(queue) ?? scheduler.atleast.upgradeQuotaDefault,
			),
			maxTimeMs: scheduler.atleast.maxUpgradeTimeMs,
			softPreemption: scheduler.atleast.softPreemption,
		},
		maxWaiting: requestScheduler.maxWaiting,
		maxWaitingBytes: requestScheduler.maxWaitingBytes,
		ruleDepths,
	});
	return { allocator, core, pools, levelNames: priority.queues.map((queue) => queue.name) };
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

function createAllocator(config: GatewayConfig): Allocator {
	const { allocator, scheduler } = config.requestScheduler;
	if (allocator === "priority") return createPriorityAllocator(prioritySettings(config));
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
			});
		}
		const { name, models } = provider;
		pools.push({
			name,
			provider,
			models,
			maxContextLength: contextOf(provider.capacity),
			mode: provider.capacity.mode,
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

/** With queueing off nothing is bounded here; with buckets and no rate, the base is the pool's ceiling in its unit. */
function capacitySettings(capacity: CapacityConfig, config: GatewayConfig): CapacitySettings {
	const unlimited = Number.POSITIVE_INFINITY;
	if (!config.requestScheduler.enabled) {
		return { ...DEFAULT_CAPACITY, maxConcurrent: unlimited, maxPrefillTokens: unlimited, headroom: 0 };
	}
	const buckets = config.requestScheduler.allocator === "bucket" ? bucketSettings(config) : undefined;
	const rateIsOpen = capacity.maxRps === undefined && capacity.maxTokensPerSec === undefined;
	const base = buckets !== undefined && rateIsOpen ? baseCapacity(buckets) : undefined;
	const inRequests = buckets !== undefined && bucketUnit(buckets) === "rps";
	const spaceIsOpen = capacity.maxConcurrent === undefined && capacity.maxInflightTokens === undefined;
	return {
		maxConcurrent: capacity.maxConcurrent ?? (spaceIsOpen ? DEFAULT_CAPACITY.maxConcurrent : unlimited),
		maxInflightTokens: capacity.maxInflightTokens ?? unlimited,
		maxPrefillTokens: capacity.maxPrefillTokens === "off" ? unlimited : capacity.maxPrefillTokens,
		prefillWindowMs: capacity.prefillWindowMs,
		maxTokensPerSec: capacity.maxTokensPerSec ?? (inRequests ? unlimited : (base ?? unlimited)),
		maxRps: capacity.maxRps ?? (inRequests ? (base ?? unlimited) : unlimited),
		burstSeconds: capacity.burstSeconds,
		headroom: capacity.headroom === "auto" ? DEFAULT_CAPACITY.headroom : capacity.headroom,
		headroomFor: capacity.headroomFor,
	};
}
