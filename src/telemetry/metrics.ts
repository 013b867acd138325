/**
 * `/metrics`: plain counters on the way of a request, rendered when somebody asks (names: design 06 §7). Cardinality is bounded by
 * construction: labels are pools, queues, reasons, outcomes, and the words of closed lists.
 *
 * Rates named without `_total` are gauges of the last seconds (exponentially weighted, 10 s).
 */
import type { BucketFigures } from "../core/allocate/distribution.ts";
import type { Millis } from "../core/model/units.ts";
import type { Reason } from "../core/schedule/decision.ts";
import type { Pool } from "../core/schedule/pool.ts";
import { poolLoad } from "../core/schedule/pool-load.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { Histogram, TOKEN_BOUNDS_S } from "./histogram.ts";
import { type FamilyType, MetricsText } from "./metrics-text.ts";
import { add, type EndedRequest, type PoolCounters, RequestCounters } from "./request-counters.ts";
import { type Exposure, type ShownQueue, shownQueues } from "./shown-queues.ts";

export interface MetricsSettings {
	readonly now: () => Millis;
	readonly exposure: Exposure;
	/** What each bucket is worth, under the bucket allocator. */
	readonly buckets: () => { readonly unit: "rps" | "tps"; readonly figures: readonly BucketFigures[] } | undefined;
}

export class Metrics {
	readonly #core: SchedulingCore;
	readonly #settings: MetricsSettings;
	readonly #counters: RequestCounters;
	readonly #pools: readonly PoolCounters[];
	/** Lines that other parts add at scrape. */
	readonly #extra: (() => Iterable<string>)[] = [];

	constructor(core: SchedulingCore, settings: MetricsSettings) {
		this.#core = core;
		this.#settings = settings;
		this.#counters = new RequestCounters(core, settings.now);
		this.#pools = this.#counters.pools;
	}

	decision(...decision: Parameters<RequestCounters["decision"]>): void {
		this.#counters.decision(...decision);
	}

	ended(request: EndedRequest): void {
		this.#counters.ended(request);
	}

	/** Registers lines to be added at each scrape; whole families. */
	also(lines: () => Iterable<string>): void {
		this.#extra.push(lines);
	}

	render(): string {
		const text = new MetricsText();
		this.#queueFamilies(text);
		this.#latencyFamilies(text);
		this.#poolFamilies(text);
		if (this.#core.pools.some(isBucket)) this.#bucketFamilies(text);
		if (this.#core.halves !== undefined) this.#routerFamilies(text, this.#core.halves);
		this.#fairness(text);
		text.family("tokligence_scheduler_refused_total", "counter", "Requests refused before scheduling, by error code.");
		for (const [code, count] of this.#counters.refused)
			text.sample("tokligence_scheduler_refused_total", { code }, count);
		text.family("tgw_external_rejected_total", "counter", "External requests that the capacity guard refused.");
		text.sample("tgw_external_rejected_total", {}, this.externalRejected);
		text.family("tgw_header_routing_total", "counter", "Requests routed by trusted headers.");
		for (const [key, count] of this.#counters.headerRouted) {
			const [source, environment] = key.split(" ") as [string, string];
			text.sample("tgw_header_routing_total", { source, environment }, count);
		}
		for (const extra of this.#extra) text.lines(extra());
		return text.toString();
	}

	/** External requests that the capacity guard refused. */
	get externalRejected(): number {
		return this.#counters.refused.get("capacity_guard") ?? 0;
	}

	#queueFamilies(text: MetricsText): void {
		const family = (name: string, type: FamilyType, help: string, value: (pool: Pool, queue: number) => number) =>
			this.#perQueue(text, `tokligence_scheduler_${name}`, type, help, value);
		family("queue_depth", "gauge", "Requests waiting.", (pool, queue) => pool.waiting(queue));
		family("enqueued_total", "counter", "Requests that entered a queue.", (pool, q) => pool.queues[q]!.enqueued);
		family("dequeued_total", "counter", "Requests dispatched from a queue.", (pool, q) => pool.queues[q]!.dispatched);
		family("timeout_total", "counter", "Requests evicted at their deadline.", (pool, q) => pool.queues[q]!.timedOut);
		family("waiting_tokens", "gauge", "Estimated tokens of what waits.", (pool, q) => pool.queues[q]!.waitingTokens);
		family(
			"reserved_tps",
			"gauge",
			"Tokens per second that a queue is assured of.",
			(pool, queue) => pool.queues[queue]!.reservedTps ?? 0,
		);
		const name = "tokligence_scheduler_dropped_total";
		text.family(name, "counter", "Requests that ended without having run, by reason.");
		this.#forShown((pool, shown, labels) => {
			const counts = new Map<Reason, number>();
			for (let queue = shown.first; queue <= shown.last; queue++) {
				for (const [reason, count] of this.#pools[pool.index]!.queues[queue]!.dropped) add(counts, reason, count);
			}
			for (const [reason, count] of counts) text.sample(name, { ...labels, reason }, count);
		});
	}

	#latencyFamilies(text: MetricsText): void {
		const families = [
			["tokligence_scheduler_wait_time_seconds", "Time from arrival to dispatch.", "wait"],
			["tokligence_time_to_first_token_seconds", "Time from arrival to first token.", "ttft"],
			["tokligence_time_per_output_token_seconds", "Time per token after the first one.", "perToken"],
		] as const;
		for (const [name, help, field] of families) {
			text.family(name, "histogram", help);
			this.#forShown((pool, shown, labels) => {
				const sum = new Histogram(field === "perToken" ? TOKEN_BOUNDS_S : undefined);
				for (let queue = shown.first; queue <= shown.last; queue++) {
					sum.add(this.#pools[pool.index]!.queues[queue]![field]);
				}
				sum.write(text, name, labels);
			});
		}
		const name = "tokligence_request_duration_seconds";
		text.family(name, "histogram", "Time from arrival to end; without a pool when it was refused before.");
		for (const pool of this.#core.pools) {
			for (const [outcome, histogram] of this.#pools[pool.index]!.duration) {
				histogram.write(text, name, { pool: pool.name, outcome });
			}
		}
		for (const [outcome, histogram] of this.#counters.unplaced) histogram.write(text, name, { pool: "", outcome });
	}

	#poolFamilies(text: MetricsText): void {
		const now = this.#settings.now();
		const family = (
			name: string,
			type: FamilyType,
			help: string,
			values: (pool: Pool) => readonly (readonly [Readonly<Record<string, string>>, number])[],
		) => {
			text.family(name, type, help);
			for (const pool of this.#core.pools) {
				for (const [labels, value] of values(pool)) text.sample(name, { pool: pool.name, ...labels }, value);
			}
		};
		const own = (pool: Pool) => this.#pools[pool.index]!;
		family(
			"tokligence_scheduler_capacity_tps",
			"gauge",
			"Tokens per second: served lately, and the ceiling.",
			(pool) => [
				[{ type: "current" }, pool.throughput.perSecond(now)],
				[{ type: "max" }, pool.capacity.maxTokensPerSec],
			],
		);
		family(
			"tokligence_scheduler_capacity_qps",
			"gauge",
			"Requests per second: dispatched lately, and the ceiling.",
			(pool) => [
				[{ type: "current" }, own(pool).requests.perSecond(now)],
				[{ type: "max" }, pool.capacity.maxRps],
			],
		);
		family(
			"tokligence_scheduler_utilization_pct",
			"gauge",
			"How full the pool is, over what limits it most.",
			(pool) => [[{}, 100 * poolLoad(pool, now).saturation]],
		);
		// Counts up, although its name does not say so.
		family(
			"tokligence_scheduler_throughput_tokens",
			"gauge",
			"Tokens since the start; wasted: of runs begun anew.",
			(pool) => [
				[{ kind: "prompt" }, own(pool).promptTokens],
				[{ kind: "completion" }, own(pool).completionTokens],
				[{ kind: "wasted" }, pool.wastedTokens],
			],
		);
		family("tokligence_scheduler_preemptions_total", "counter", "Requests taken back while running.", (pool) =>
			[...own(pool).preemptions].map(([key, count]) => {
				const [victim, other] = key.split(" ") as [string, string];
				return [{ victim_priority: victim, new_priority: other }, count];
			}),
		);
		family("tokligence_capacity_limit", "gauge", "Space of the endpoints that are up.", (pool) => {
			const { sequencesMax, tokensMax } = poolLoad(pool, now);
			return [
				[{ dimension: "concurrent" }, sequencesMax],
				[{ dimension: "inflight_tokens" }, tokensMax],
			];
		});
		family("tokligence_capacity_in_use", "gauge", "Space in use.", (pool) => {
			const { sequences, tokens } = poolLoad(pool, now);
			return [
				[{ dimension: "concurrent" }, sequences],
				[{ dimension: "inflight_tokens" }, tokens],
			];
		});
		family("tokligence_capacity_headroom_ratio", "gauge", "Space closed to all but the best queues.", (pool) => [
			[{}, pool.capacity.headroom],
		]);
		family(
			"tokligence_capacity_hold_seconds_total",
			"counter",
			"Time in which the request whose turn it was did not fit.",
			(pool) => [[{}, pool.heldMs(now) / 1000]],
		);
		family("tgw_billing_tokens_total", "counter", "Tokens metered.", (pool) => [
			[{ kind: "prompt" }, own(pool).promptTokens],
			[{ kind: "completion" }, own(pool).completionTokens],
		]);
	}

	#bucketFamilies(text: MetricsText): void {
		const buckets = this.#settings.buckets();
		if (buckets !== undefined) {
			const { unit, figures } = buckets;
			const per = unit === "rps" ? "requests per second" : "tokens per second";
			const family = (name: string, help: string, value: (pool: Pool, queue: number) => number) =>
				this.#perQueue(text, name, "gauge", help, value, isBucket);
			family("tgw_bucket_capacity", `Number of the bucket in ${per}.`, (_, queue) => figures[queue]?.capacity ?? 0);
			family(
				"tgw_bucket_guarantee",
				`What the bucket gets whatever others do, in ${per}.`,
				(_, queue) => figures[queue]?.guarantee ?? 0,
			);
			const name = "tgw_bucket_utilization";
			text.family(name, "gauge", "Recent rate over the bucket's number; above 1 on capacity of others.");
			const now = this.#settings.now();
			this.#forShown((pool, shown, labels) => {
				let used = 0;
				let whole = 0;
				for (let queue = shown.first; queue <= shown.last; queue++) {
					const own = this.#pools[pool.index]!.queues[queue]!;
					used += (unit === "rps" ? own.requests : own.tokens).perSecond(now);
					whole += figures[queue]?.capacity ?? 0;
				}
				text.sample(name, labels, whole > 0 ? used / whole : 0);
			}, isBucket);
		}
		this.#perQueue(
			text,
			"tgw_bucket_rejections_total",
			"counter",
			"Requests of the bucket that ended without having run.",
			(pool, queue) => {
				const { dropped, timedOut } = pool.queues[queue]!;
				return dropped + timedOut;
			},
			isBucket,
		);
		text.family("tgw_bucket_unmapped_total", "counter", "Requests of a tier that no mapping covers: last bucket.");
		text.sample("tgw_bucket_unmapped_total", {}, this.#counters.unmapped);
		text.family("tgw_bucket_upgrades_total", "counter", "Dispatches on the capacity of a better bucket.");
		for (const pool of this.#core.pools) {
			for (const [from, to, count] of pool.upgrades.totals()) {
				text.sample("tgw_bucket_upgrades_total", { pool: pool.name, from_bucket: from, to_bucket: to }, count);
			}
		}
	}

	#routerFamilies(text: MetricsText, halves: readonly { readonly share: number }[]): void {
		const share = "tokligence_scheduler_router_share";
		text.family(share, "gauge", "Part of capacity and accounts that belongs to a half of a pool, by the weights.");
		const perHalf = this.#core.pools.length / halves.length;
		for (const pool of this.#core.pools)
			text.sample(share, { pool: pool.name }, halves[Math.floor(pool.index / perHalf)]!.share);
		const moved = "tokligence_scheduler_router_moved_total";
		text.family(moved, "counter", "Waiting requests that came from the other half when weights changed.");
		for (const pool of this.#core.pools) text.sample(moved, { pool: pool.name }, this.#pools[pool.index]!.rerouted);
	}

	/**
	 * Share of what was served over share of weight, among the weighted queues that wait: below 1 a queue gets less than its due. 1 where
	 * fewer than two compete. Schedulers without weights promise no shares.
	 */
	#fairness(text: MetricsText): void {
		const { scheduler, strictLevels } = this.#core.settings;
		const weighs = (pool: Pool) =>
			scheduler === "wfq" || scheduler === "drr" || (scheduler === "hybrid" && !isBucket(pool));
		if (!this.#core.pools.some(weighs)) return;
		const now = this.#settings.now();
		const isStrict = (queue: number) => scheduler === "hybrid" && strictLevels.includes(queue);
		const ratios = this.#core.pools.map((pool) => {
			const own = this.#pools[pool.index]!.queues;
			const compete = own.flatMap((_, queue) => (pool.waiting(queue) > 0 && !isStrict(queue) ? [queue] : []));
			const sum = (of: (queue: number) => number) => compete.reduce((total, queue) => total + of(queue), 0);
			const served = sum((queue) => own[queue]!.tokens.perSecond(now));
			const weight = sum((queue) => pool.weights[queue]!);
			return (queue: number) =>
				compete.length < 2 || !compete.includes(queue) || served === 0
					? 1
					: own[queue]!.tokens.perSecond(now) / served / (pool.weights[queue]! / weight);
		});
		const name = "tokligence_scheduler_fairness_ratio";
		text.family(name, "gauge", "Share served over share of weight, among weighted queues that wait.");
		this.#forShown((pool, shown, labels) => {
			// A share of a range means nothing.
			if (shown.first === shown.last && !isStrict(shown.first)) {
				text.sample(name, labels, ratios[pool.index]!(shown.first));
			}
		}, weighs);
	}

	/** Sums over what a shown queue stands for. */
	#perQueue(
		text: MetricsText,
		name: string,
		type: FamilyType,
		help: string,
		value: (pool: Pool, queue: number) => number,
		isMeant?: (pool: Pool) => boolean,
	): void {
		text.family(name, type, help);
		this.#forShown((pool, shown, labels) => {
			let sum = 0;
			for (let queue = shown.first; queue <= shown.last; queue++) sum += value(pool, queue);
			text.sample(name, labels, sum);
		}, isMeant);
	}

	#forShown(
		write: (pool: Pool, shown: ShownQueue, labels: Readonly<Record<string, string>>) => void,
		isMeant: (pool: Pool) => boolean = () => true,
	): void {
		const { exposure } = this.#settings;
		const activeSince = this.#settings.now() - exposure.inactiveMs;
		for (const pool of this.#core.pools) {
			if (!isMeant(pool)) continue;
			const counters = this.#pools[pool.index]!.queues;
			const isActive = (queue: number) => pool.waiting(queue) > 0 || counters[queue]!.lastActive >= activeSince;
			for (const shown of shownQueues(pool.count, exposure, isActive)) {
				write(pool, shown, { pool: pool.name, [isBucket(pool) ? "bucket_id" : "priority"]: shown.label });
			}
		}
	}
}

function isBucket({ allocator }: Pool): boolean {
	return allocator === "bucket";
}
