/**
 * What `bucket-scheduler visualize` shows, as data: each queue's ceiling, guarantee and weight, and which tenants arrive where. The terminal
 * chart, the SVG and the JSON are three faces of it.
 *
 * Units: rates in `unit` (requests/s or tokens/s); with priority levels there is none, and bars are weights.
 */
import { bucketSettingsOf } from "../config/checks.ts";
import { type CompiledConfig, compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { type BucketUnit, baseCapacity, bucketFigures, bucketUnit } from "../core/allocate/distribution.ts";
import { type TierMapping, TierMappings } from "../core/allocate/tier-mapping.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import { ALLOCATORS, type AllocatorKind, type QueueSettings, type SchedulerKind } from "../core/model/policy.ts";

export interface ChartQueue {
	readonly label: string;
	readonly name: string;
	/** Length of the light bar. */
	readonly ceiling: number | undefined;
	/** Length of the full bar. */
	readonly guarantee: number | undefined;
	readonly weight: number;
	/** Part of all weights. */
	readonly share: number;
	/** Tokens per second; undefined for none. */
	readonly reservedTps: number | undefined;
	readonly lendable: boolean;
	readonly limitTps: number | undefined;
	readonly bestEffort: boolean;
	readonly maxDepth: number;
	readonly timeoutMs: number;
	/** Who arrives here: groups with buckets, default rules with levels. */
	readonly arrivals: readonly string[];
	/** Groups that may be here, with a priority. */
	readonly groups: readonly string[];
}

export interface ChartData {
	readonly allocator: AllocatorKind;
	readonly scheduler: SchedulerKind;
	readonly unit: BucketUnit | undefined;
	readonly poolCapacity: number | undefined;
	readonly queues: readonly ChartQueue[];
	readonly mappings: readonly TierMapping[];
	/** What holds between queues: guard, buffer, preemption, headroom; a sentence each. */
	readonly promises: readonly string[];
	/** Part of every pool and of the accounts, of one of two allocators side by side. */
	readonly half?: number;
}

/** One chart, or one for each of the two allocators of a weighted router, whose numbers are their shares of what is configured. */
export function chartsOf(config: GatewayConfig): readonly ChartData[] {
	const { allocator } = config.requestScheduler;
	const { router } = compile(config, []);
	if (allocator !== "weighted_router") return [chartData(config, allocator)];
	return ALLOCATORS.map((kind, half) => chartData(config, kind, router!.halves[half]!.share));
}

function chartData(config: GatewayConfig, allocator: AllocatorKind, half?: number): ChartData {
	const { scheduler } = config.requestScheduler;
	const compiled = compile({ ...config, requestScheduler: { ...config.requestScheduler, allocator } }, []);
	const { queues } = compiled.allocator;
	const promises = sentencesOf(config, compiled);
	const part = half === undefined ? {} : { half };
	const share = half ?? 1;
	const weights = queues.reduce((sum, { weight }) => sum + weight, 0);
	const common = (queue: QueueSettings) => ({
		label: queue.label,
		name: queue.name,
		weight: queue.weight,
		share: queue.weight / weights,
		reservedTps: queue.reservedTps,
		lendable: queue.lendable !== false,
		limitTps: queue.limitTps,
		bestEffort: queue.bestEffort === true,
		maxDepth: queue.maxDepth,
		timeoutMs: queue.timeoutMs,
	});
	if (allocator === "priority") {
		const rules = defaultRules(queues.length);
		return {
			allocator,
			scheduler,
			unit: undefined,
			poolCapacity: undefined,
			...part,
			mappings: [],
			promises,
			queues: queues.map((queue, level) => ({
				...common(queue),
				ceiling: undefined,
				guarantee: undefined,
				arrivals: rules.filter(({ assignPriority }) => assignPriority === level).map(({ name }) => name),
				groups: [],
			})),
		};
	}
	const settings = bucketSettingsOf(config);
	const unit = bucketUnit(settings);
	const poolCapacity = smallestPool(config, unit) ?? baseCapacity(settings);
	const figures = bucketFigures(settings, scheduler, poolCapacity);
	const { mappings } = new TierMappings(config.allocator.bucket.tierMappings, queues.length);
	return {
		allocator,
		scheduler,
		unit,
		poolCapacity: poolCapacity * share,
		...part,
		mappings,
		promises,
		queues: queues.map((queue, bucket) => ({
			...common(queue),
			// Without a number of its own only the pool limits a bucket.
			ceiling: Math.min(figures[bucket]!.ceiling, poolCapacity) * share,
			guarantee: figures[bucket]!.guarantee * share,
			arrivals: mappings.filter(({ defaultBucket }) => defaultBucket === bucket).map(({ group }) => group),
			groups: mappings.filter(({ first, last }) => first <= bucket && bucket <= last).map(({ group }) => group),
		})),
	};
}

function sentencesOf(config: GatewayConfig, { guard, core, allocator, pools }: CompiledConfig): readonly string[] {
	const label = (queue: number) => allocator.queues[queue]?.label ?? String(queue);
	const names = (queues: readonly number[]) => queues.map(label).join(", ");
	const percent = (fraction: number) => `${Number((100 * fraction).toPrecision(4))} %`;
	const sentences: string[] = [];
	for (const [index, { name, control }] of pools.entries()) {
		const { headroom, headroomFor } = core.pools[index]!.capacity;
		const { headroom: auto } = control.adaptive ?? {};
		const share = auto === undefined ? percent(headroom) : `${percent(headroom)} to ${percent(auto.max)}`;
		if (headroom > 0 || auto !== undefined)
			sentences.push(`pool ${name}: ${share} of its space is kept for ${names(headroomFor)}`);
	}
	if (guard.enabled) {
		const what = guard.action === "queue" ? "wait" : "are refused";
		sentences.push(
			`capacity guard: ${guard.externalTiers.join(", ")} ${what} while internal work uses ${percent(guard.internalLimit)} of ${guard.maxTps} tokens/s`,
		);
		if (guard.buffer > 0)
			sentences.push(
				`buffer: ${Number((guard.buffer * guard.maxTps).toPrecision(4))} tokens/s are kept for ${names(guard.bufferFor)}`,
			);
	}
	if (core.preemption !== undefined) {
		const { victims, preemptorMax } = core.preemption;
		const causes = names(Array.from({ length: preemptorMax + 1 }, (_, queue) => queue));
		sentences.push(`preemption: ${causes} may take back work of ${names(victims)}`);
	}
	if (config.requestScheduler.shadowAllocator !== undefined)
		sentences.push(`shadow: ${config.requestScheduler.shadowAllocator} decides beside it, without acting`);
	return sentences;
}

/** The pool that guarantees least. */
function smallestPool({ providers }: GatewayConfig, unit: BucketUnit): number | undefined {
	const rates = providers
		.map(({ capacity }) => (unit === "tps" ? capacity.maxTokensPerSec : capacity.maxRps))
		.filter((rate) => rate !== undefined);
	return rates.length === 0 ? undefined : Math.min(...rates);
}

export function chartAsJson(data: ChartData) {
	const bucket = data.allocator === "bucket";
	return {
		allocator: data.allocator,
		...(data.half === undefined ? {} : { share_pct: data.half * 100 }),
		scheduler: data.scheduler,
		unit: data.unit ?? null,
		pool_capacity: data.poolCapacity ?? null,
		queues: data.queues.map((queue, index) => ({
			[bucket ? "bucket" : "level"]: index,
			label: queue.label,
			name: queue.name,
			ceiling: queue.ceiling ?? null,
			guarantee: queue.guarantee ?? null,
			weight: queue.weight,
			share_pct: queue.share * 100,
			reserved_tps: queue.reservedTps ?? 0,
			lendable: queue.lendable,
			limit_tps: queue.limitTps ?? null,
			best_effort: queue.bestEffort,
			max_depth: queue.maxDepth,
			timeout_sec: queue.timeoutMs / 1000,
			arrivals: queue.arrivals,
			groups: queue.groups,
		})),
		mappings: data.mappings.map(({ group, first, last, defaultBucket, mode }) => ({
			group,
			first_bucket: first,
			last_bucket: last,
			default_bucket: defaultBucket,
			mode,
		})),
		promises: data.promises,
	};
}

/** Lengths of a queue's bars as parts of the longest one: what is assured, and what it may have at most. */
export function barsOf(data: ChartData): readonly { readonly full: number; readonly most: number }[] {
	const lengths = data.queues.map(({ ceiling, guarantee, weight }) =>
		ceiling === undefined ? { full: weight, most: weight } : { full: guarantee ?? 0, most: ceiling },
	);
	// Of a half without a share all lengths are 0.
	const longest = Math.max(...lengths.map(({ full, most }) => Math.max(full, most))) || 1;
	return lengths.map(({ full, most }) => ({ full: full / longest, most: most / longest }));
}

/** What stands beside the bar. */
export function numbersOf(data: ChartData, queue: ChartQueue, figure: (value: number) => string): string {
	const own =
		queue.guarantee === undefined
			? `weight ${figure(queue.weight)} (${figure(queue.share * 100)} %)`
			: queue.bestEffort
				? "best effort"
				: `${figure(queue.guarantee)} assured, at most ${figure(queue.ceiling ?? 0)} ${data.unit}`;
	const reserved =
		queue.reservedTps === undefined
			? []
			: [`${figure(queue.reservedTps)} tokens/s reserved${queue.lendable ? "" : ", not lent"}`];
	// With buckets in tokens it is the ceiling that stands there already.
	const limit =
		queue.limitTps === undefined || data.unit === "tps" ? [] : [`at most ${figure(queue.limitTps)} tokens/s`];
	return [own, ...reserved, ...limit].join(", ");
}

export function headline(data: ChartData, figure: (value: number) => string): string {
	const count = data.queues.length;
	const half = data.half === undefined ? "" : ` (${figure(data.half * 100)} % of capacity and accounts)`;
	if (data.allocator === "priority") return `${count} priority levels, scheduler ${data.scheduler}${half}`;
	return `${count} buckets, scheduler ${data.scheduler}, pool ${figure(data.poolCapacity ?? 0)} ${data.unit}${half}`;
}
