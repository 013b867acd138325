/**
 * `/metrics`: plain counters on the way of a request, rendered as Prometheus text when somebody asks (names: design 06 §7). Cardinality is
 * bounded by construction: labels are pools, queues, reasons, outcomes.
 */

import type { Millis } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { DecisionKind, Reason } from "../core/schedule/decision.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";

const WAIT_BOUNDS_S = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300] as const;

class Histogram {
	readonly counts = new Float64Array(WAIT_BOUNDS_S.length + 1);
	sum = 0;

	observe(seconds: number): void {
		this.sum += seconds;
		let at = 0;
		while (at < WAIT_BOUNDS_S.length && seconds > WAIT_BOUNDS_S[at]!) at++;
		this.counts[at] = this.counts[at]! + 1;
	}
}

/** What one ended request adds. */
export interface EndedRequest {
	readonly queue: number;
	readonly outcome: string;
	readonly code: string | undefined;
	readonly durationMs: Millis;
	readonly ttftMs: Millis | undefined;
	readonly usage: Usage | undefined;
}

export class Metrics {
	readonly #core: SchedulingCore;
	readonly #label: string;
	readonly #wait: readonly Histogram[];
	readonly #ttft: readonly Histogram[];
	readonly #duration = new Map<string, Histogram>();
	readonly #dropped = new Map<string, number>();
	readonly #preempted = new Map<string, number>();
	readonly #refused = new Map<string, number>();
	#promptTokens = 0;
	#completionTokens = 0;
	/** Lines that other parts add at scrape. */
	readonly #extra: (() => Iterable<string>)[] = [];

	constructor(core: SchedulingCore) {
		this.#core = core;
		this.#label = core.settings.allocator === "bucket" ? "bucket_id" : "priority";
		this.#wait = core.settings.queues.map(() => new Histogram());
		this.#ttft = core.settings.queues.map(() => new Histogram());
	}

	/** `other`: the queue that pays, of a preemption the one it was made for. */
	decision(kind: DecisionKind, queue: number, reason: Reason, waitMs: Millis, other: number, pool: number): void {
		if (kind === "dispatch") this.#wait[queue]!.observe(waitMs / 1000);
		else if (kind === "shed" || kind === "evict") add(this.#dropped, `${queue}\0${reason}`, 1);
		else if (kind === "preempt") add(this.#preempted, `${pool}\0${queue}\0${other}`, 1);
	}

	ended(request: EndedRequest): void {
		let histogram = this.#duration.get(request.outcome);
		if (histogram === undefined) {
			histogram = new Histogram();
			this.#duration.set(request.outcome, histogram);
		}
		histogram.observe(request.durationMs / 1000);
		if (request.code !== undefined && request.outcome === "refused") add(this.#refused, request.code, 1);
		if (request.ttftMs !== undefined && request.queue >= 0) this.#ttft[request.queue]!.observe(request.ttftMs / 1000);
		if (request.usage === undefined) return;
		this.#promptTokens += request.usage.promptTokens;
		this.#completionTokens += request.usage.completionTokens;
	}

	/** Registers lines to be added at each scrape. */
	also(lines: () => Iterable<string>): void {
		this.#extra.push(lines);
	}

	render(): string {
		const lines: string[] = [];
		const head = (name: string, type: string, help: string) =>
			lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
		const perQueue = (name: string, type: string, help: string, value: (pool: number, queue: number) => number) => {
			head(name, type, help);
			for (const pool of this.#core.pools) {
				for (let queue = 0; queue < pool.count; queue++) {
					lines.push(`${name}{pool="${escapeLabel(pool.name)}",${this.#label}="${queue}"} ${value(pool.index, queue)}`);
				}
			}
		};
		const state = (pool: number, queue: number) => this.#core.pools[pool]!.queues[queue]!;
		perQueue("tokligence_scheduler_queue_depth", "gauge", "Requests waiting.", (pool, queue) =>
			this.#core.pools[pool]!.waiting(queue),
		);
		perQueue(
			"tokligence_scheduler_enqueued_total",
			"counter",
			"Requests that entered a queue.",
			(p, q) => state(p, q).enqueued,
		);
		perQueue(
			"tokligence_scheduler_dequeued_total",
			"counter",
			"Requests dispatched from a queue.",
			(p, q) => state(p, q).dispatched,
		);
		perQueue(
			"tokligence_scheduler_timeout_total",
			"counter",
			"Requests evicted at their deadline.",
			(p, q) => state(p, q).timedOut,
		);
		perQueue(
			"tokligence_scheduler_waiting_tokens",
			"gauge",
			"Estimated tokens of what waits.",
			(p, q) => state(p, q).waitingTokens,
		);
		head("tokligence_scheduler_dropped_total", "counter", "Requests that ended without having run, by reason.");
		for (const [key, count] of this.#dropped) {
			const [queue, reason] = key.split("\0");
			lines.push(`tokligence_scheduler_dropped_total{${this.#label}="${queue}",reason="${reason}"} ${count}`);
		}
		head("tokligence_scheduler_refused_total", "counter", "Requests refused before scheduling, by error code.");
		for (const [code, count] of this.#refused)
			lines.push(`tokligence_scheduler_refused_total{code="${code}"} ${count}`);
		this.#histograms(
			lines,
			"tokligence_scheduler_wait_time_seconds",
			"Time from arrival to dispatch.",
			this.#wait,
			(i) => `${this.#label}="${i}"`,
		);
		this.#histograms(
			lines,
			"tokligence_time_to_first_token_seconds",
			"Time from arrival to first token.",
			this.#ttft,
			(i) => `${this.#label}="${i}"`,
		);
		const outcomes = [...this.#duration.keys()];
		this.#histograms(
			lines,
			"tokligence_request_duration_seconds",
			"Time from arrival to end.",
			[...this.#duration.values()],
			(i) => `outcome="${outcomes[i]}"`,
		);
		head("tokligence_capacity_limit", "gauge", "Space of a pool.");
		head("tokligence_capacity_in_use", "gauge", "Space in use.");
		for (const pool of this.#core.pools) {
			const up = pool.endpoints.filter((endpoint) => endpoint.up);
			const sum = (of: (endpoint: (typeof up)[number]) => number) =>
				up.reduce((total, endpoint) => total + of(endpoint), 0);
			for (const [dimension, limit, used] of [
				["concurrent", sum((e) => e.sequencesMax), sum((e) => e.sequences)],
				["inflight_tokens", sum((e) => e.tokensMax), sum((e) => e.tokens)],
			] as const) {
				const labels = `{pool="${escapeLabel(pool.name)}",dimension="${dimension}"}`;
				lines.push(
					`tokligence_capacity_limit${labels} ${Number.isFinite(limit) ? limit : "+Inf"}`,
					`tokligence_capacity_in_use${labels} ${used}`,
				);
			}
		}
		head("tokligence_scheduler_preemptions_total", "counter", "Requests taken back while running.");
		for (const [key, count] of this.#preempted) {
			const [pool, victim, preemptor] = key.split("\0");
			const labels = `pool="${escapeLabel(this.#core.pools[Number(pool)]!.name)}",victim_priority="${victim}",new_priority="${preemptor}"`;
			lines.push(`tokligence_scheduler_preemptions_total{${labels}} ${count}`);
		}
		head("tokligence_scheduler_throughput_tokens", "counter", "Tokens of runs that were taken back and begun anew.");
		for (const pool of this.#core.pools)
			lines.push(
				`tokligence_scheduler_throughput_tokens{pool="${escapeLabel(pool.name)}",kind="wasted"} ${pool.wastedTokens}`,
			);
		head("tgw_bucket_upgrades_total", "counter", "Dispatches on the capacity of a better bucket.");
		for (const pool of this.#core.pools) {
			for (const [from, to, count] of pool.upgrades.totals())
				lines.push(
					`tgw_bucket_upgrades_total{pool="${escapeLabel(pool.name)}",from_bucket="${from}",to_bucket="${to}"} ${count}`,
				);
		}
		head("tgw_billing_tokens_total", "counter", "Tokens metered.");
		lines.push(
			`tgw_billing_tokens_total{kind="prompt"} ${this.#promptTokens}`,
			`tgw_billing_tokens_total{kind="completion"} ${this.#completionTokens}`,
		);
		for (const extra of this.#extra) lines.push(...extra());
		return `${lines.join("\n")}\n`;
	}

	#histograms(
		lines: string[],
		name: string,
		help: string,
		histograms: readonly Histogram[],
		labels: (index: number) => string,
	): void {
		lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} histogram`);
		for (const [index, histogram] of histograms.entries()) {
			const own = labels(index);
			let total = 0;
			for (let at = 0; at <= WAIT_BOUNDS_S.length; at++) {
				total += histogram.counts[at]!;
				lines.push(`${name}_bucket{${own},le="${at < WAIT_BOUNDS_S.length ? WAIT_BOUNDS_S[at] : "+Inf"}"} ${total}`);
			}
			lines.push(`${name}_sum{${own}} ${histogram.sum}`, `${name}_count{${own}} ${total}`);
		}
	}
}

function add(counts: Map<string, number>, key: string, amount: number): void {
	counts.set(key, (counts.get(key) ?? 0) + amount);
}

function escapeLabel(text: string): string {
	return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
