/**
 * The configuration of a process that runs: what holds, where it comes from, and reading it again. A reload validates first and then changes
 * everything it can at once, or nothing; what only a start can change keeps its old value and is named in the answer.
 *
 * Only keys listed here change while the process runs. What an operator changed through the admin API stays, unless the same value
 * changed in the configuration.
 */
import { type CompiledConfig, compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { LoadResult } from "../config/load.ts";
import type { EffectiveValue } from "../config/values.ts";
import type { QueueSettings } from "../core/model/policy.ts";
import type { CapacitySettings } from "../core/schedule/core-settings.ts";
import type { HalfCapacity } from "../core/schedule/halves.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { ConfigAdmin, ReloadResult } from "../http/admin/admin-context.ts";
import { readTokenFile } from "./token-source.ts";

/** Where the configuration of this process was read, and how to read it again. */
export interface ConfigSource {
	/** The file that was read, if there was one. */
	readonly file: string | undefined;
	readonly effective: readonly EffectiveValue[];
	load(): LoadResult;
}

/** What a reload changes; each is called once it is clear that the whole configuration is good. */
export interface LiveTargets {
	/** Rules and tokens are read again; rejects when a store does not answer, and then nothing changes. */
	readonly rereadPolicy: () => Promise<void>;
	readonly useTokens: (tokens: Extract<ReturnType<typeof readTokenFile>, { ok: true }>["tokens"]) => void;
	readonly applyPlain: (config: GatewayConfig) => void;
	readonly applyQueues: (compiled: CompiledConfig) => void;
	readonly applyPools: (config: GatewayConfig, compiled: CompiledConfig) => void;
	readonly changeCore: (action: (core: SchedulingCore, now: number) => void) => void;
}

const QUEUE_KEYS = new RegExp(
	[
		"^request_scheduler\\.default_priority$",
		"^allocator\\.priority\\.weights$",
		"^allocator\\.(priority\\.level|bucket)\\.\\d+\\.(max_depth|timeout|weight|reserved_tps|limit_tps)$",
		"^allocator\\.bucket\\.(base_capacity_rps|base_capacity_tps|decay_ratio|distribution_model|min_capacity|capacities|capacity_basis)$",
		"^allocator\\.bucket\\.tier_mappings\\.",
		"^allocator\\.weighted_router\\.(priority_weight|bucket_weight)$",
	].join("|"),
);
const POOL_KEYS = new RegExp(
	`^(capacity|provider\\.[^.]+(\\.family\\.[^.]+)?)\\.(${[
		"max_concurrent",
		"max_inflight_tokens",
		"max_prefill_tokens",
		"prefill_window",
		"max_tokens_per_sec",
		"max_rps",
		"burst_seconds",
		"max_context_length",
		"headroom",
		"headroom_for",
		"headroom_target_wait",
		"headroom_max",
		"mode",
		"capacity_from",
		"target_ttft_p99",
		"min_concurrent",
		"degradation_mode",
		"estimated_tokens_per_sec",
		"estimated_max_concurrent",
		"models",
		"idle_timeout",
		"first_byte_timeout",
	].join("|")})$`,
);
const PLAIN_KEYS = new RegExp(
	[
		"^gateway\\.(max_body|body_timeout|stream_hold|drain_timeout|passthrough_paths|trusted_proxies)$",
		"^admin\\.metrics_public$",
		"^classifier\\.header\\.(enabled|trusted_cidrs|untrusted|require_token)$",
		"^classifier\\.default\\.enabled$",
		"^classifier\\.token\\.(enabled|file|fail_open_priority)$",
		"^request_scheduler\\.classifier$",
		"^(models|pricing)\\.",
		"^observability\\.log_level$",
		"^protection\\.(context_length|rate_limit)\\.",
		"^capacity_guard\\.(internal_limit_pct|resume_pct|external_tiers|action)$",
	].join("|"),
);

const SHAPE_KEYS = ["enabled", "allocator", "scheduler"].map((key) => `request_scheduler.${key}`);

export class LiveConfig implements ConfigAdmin {
	readonly #source: ConfigSource;
	readonly #targets: LiveTargets;
	#file: string | undefined;
	#inForce: ReadonlyMap<string, EffectiveValue>;
	/** Of both halves, where there are two. */
	#queues: readonly (readonly QueueSettings[])[];
	#halves: readonly HalfCapacity[] | undefined;
	#compiled: CompiledConfig;
	#running: Promise<unknown> = Promise.resolve();

	constructor(source: ConfigSource, compiled: CompiledConfig, targets: LiveTargets) {
		this.#source = source;
		this.#targets = targets;
		this.#file = source.file;
		this.#inForce = byPath(source.effective);
		this.#queues = queuesOf(compiled);
		this.#halves = compiled.router?.halves;
		this.#compiled = compiled;
	}

	file(): string | undefined {
		return this.#file;
	}

	effective(): readonly EffectiveValue[] {
		return [...this.#inForce.values()];
	}

	/** One at a time, in the order of the calls. */
	reload(): Promise<ReloadResult> {
		const next = this.#running.then(() => this.#reload());
		this.#running = next.catch(() => {});
		return next;
	}

	async #reload(): Promise<ReloadResult> {
		const loaded = this.#source.load();
		if (!loaded.ok) return { ok: false, problems: loaded.errors };
		const { config } = loaded;
		const tokens = readTokenFile(config.classifier.token.file);
		if (!tokens.ok) return { ok: false, problems: tokens.problems };
		try {
			await this.#targets.rereadPolicy();
		} catch (error) {
			const message = `the store does not answer: ${(error as Error).message}`;
			return { ok: false, problems: [{ severity: "error", where: "", message }] };
		}
		const next = byPath(loaded.effective);
		const compiled = compile(config, []);
		// What the numbers of queues and pools mean is settled by a start.
		const sameMeaning = SHAPE_KEYS.every((path) => this.#inForce.get(path)?.value === next.get(path)?.value);
		const queuesFit = sameMeaning && sameQueues(this.#queues.flat(), queuesOf(compiled).flat());
		const poolsFit = sameMeaning && samePools(this.#compiled, compiled);
		const isLive = (path: string) =>
			PLAIN_KEYS.test(path) ||
			(queuesFit && QUEUE_KEYS.test(path)) ||
			(poolsFit && (POOL_KEYS.test(path) || isOwnMode(path, next.get(path))));
		const different = [...new Set([...this.#inForce.keys(), ...next.keys()])].filter((path) =>
			differs(this.#inForce.get(path), next.get(path)),
		);
		const changed = different.filter(isLive);

		this.#targets.useTokens(tokens.tokens);
		this.#targets.applyPlain(config);
		if (queuesFit) this.#changeQueues(compiled);
		if (poolsFit) this.#changePools(config, compiled);
		this.#file = loaded.file;
		this.#inForce = merged(this.#inForce, next, new Set(different.filter((path) => !isLive(path))));
		return { ok: true, changed, needsRestart: different.filter((path) => !isLive(path)) };
	}

	#changeQueues(compiled: CompiledConfig): void {
		const before = this.#queues;
		const after = queuesOf(compiled);
		this.#queues = after;
		const halves = compiled.router?.halves;
		this.#targets.applyQueues(compiled);
		this.#targets.changeCore((core, now) => {
			const perHalf = core.pools.length / after.length;
			for (const pool of core.pools) {
				const half = Math.floor(pool.index / perHalf);
				for (const [index, queue] of after[half]!.entries()) {
					const change = differences(queueNumbers(before[half]![index]!), queueNumbers(queue));
					if (change !== undefined) core.configureQueue(pool.index, index, change, now);
				}
			}
			if (halves !== undefined && JSON.stringify(halves) !== JSON.stringify(this.#halves))
				core.configureHalves(halves, now);
		});
		this.#halves = halves;
	}

	#changePools(config: GatewayConfig, compiled: CompiledConfig): void {
		const before = this.#compiled;
		this.#compiled = compiled;
		this.#targets.applyPools(config, compiled);
		this.#targets.changeCore((core, now) => {
			for (const [index, pool] of compiled.core.pools.entries()) {
				const change = differences(before.core.pools[index]!.capacity, pool.capacity);
				if (change !== undefined) core.configureCapacity(index, change as Partial<CapacitySettings>, now);
			}
		});
	}
}

/** The mode that follows from what is set: it changes with it. */
function isOwnMode(path: string, value: EffectiveValue | undefined): boolean {
	return /^(capacity|provider\..+)\.mode$/.test(path) && value?.source === "default";
}

function byPath(values: readonly EffectiveValue[]): ReadonlyMap<string, EffectiveValue> {
	return new Map(values.map((value) => [`${value.section}.${value.key}`, value]));
}

/** A default that is listed only because its section is there changes nothing. */
function differs(a: EffectiveValue | undefined, b: EffectiveValue | undefined): boolean {
	if (a === undefined || b === undefined) return (a ?? b)?.source !== "default";
	return a.value !== b.value;
}

/** New values in the order of the new configuration; those in `kept` as they were. */
function merged(
	before: ReadonlyMap<string, EffectiveValue>,
	next: ReadonlyMap<string, EffectiveValue>,
	kept: ReadonlySet<string>,
): ReadonlyMap<string, EffectiveValue> {
	const values = new Map<string, EffectiveValue>();
	for (const [path, value] of next) {
		const holds = kept.has(path) ? before.get(path) : value;
		if (holds !== undefined) values.set(path, holds);
	}
	for (const path of kept) {
		const holds = before.get(path);
		if (holds !== undefined && !values.has(path)) values.set(path, holds);
	}
	return values;
}

/** As the core has them, limits in proportion where there are halves. */
function queuesOf({ allocator, core }: CompiledConfig): readonly (readonly QueueSettings[])[] {
	return core.halves?.map(({ queues }) => queues) ?? [allocator.queues];
}

/** As many, with the same labels, and best effort where it was: numbers alone differ. */
function sameQueues(a: readonly QueueSettings[], b: readonly QueueSettings[]): boolean {
	return (
		a.length === b.length &&
		a.every(({ label, bestEffort }, i) => label === b[i]!.label && bestEffort === b[i]!.bestEffort)
	);
}

/** The same pools, of the same endpoints, in the same order. */
function samePools(a: CompiledConfig, b: CompiledConfig): boolean {
	const shape = ({ pools }: CompiledConfig) =>
		JSON.stringify(pools.map(({ name, provider }) => [name, provider.endpoints]));
	return shape(a) === shape(b);
}

function queueNumbers({ maxDepth, timeoutMs, weight, reservedTps, limitTps, limitRps }: QueueSettings) {
	return {
		maxDepth,
		timeoutMs,
		weight,
		reservedTps: reservedTps ?? 0,
		limitTps: limitTps ?? Number.POSITIVE_INFINITY,
		limitRps: limitRps ?? Number.POSITIVE_INFINITY,
	};
}

/** The fields of `b` that differ from `a`; nothing when none does. */
function differences<T extends object>(a: T, b: T): Partial<T> | undefined {
	const found = Object.entries(b).filter(
		([name, value]) => JSON.stringify(value) !== JSON.stringify(a[name as keyof T]),
	);
	return found.length === 0 ? undefined : (Object.fromEntries(found) as Partial<T>);
}
