/** What `bucket-scheduler visualize --live` draws: what runs and waits in every queue of a running gateway, from `GET /v1/admin/scheduler/status`. */
import { figure } from "./capacity-proposal.ts";
import type { ChartView } from "./chart-view.ts";

export interface LiveQueue {
	readonly label: string;
	readonly name: string;
	readonly current_depth: number;
	readonly in_flight: number;
	readonly avg_wait_ms: number;
	readonly total_dequeued: number;
	readonly total_timeout: number;
	readonly total_dropped: number;
	readonly paused: boolean;
	readonly reserved_tps: number;
	readonly limit_tps: number | null;
}

export interface LiveStatus {
	readonly pool: string;
	readonly pools: readonly string[];
	readonly allocator: string;
	readonly scheduler: string;
	readonly queues: readonly LiveQueue[];
	readonly capacity: {
		readonly current_tps: number;
		readonly max_tps: number | null;
		readonly utilization_pct: number;
		readonly active_requests: number;
	};
	/** Of a half of a pool. */
	readonly router?: { readonly share_pct: number };
}

/** `sentences`: what was promised, and how it stands. */
export function liveView(
	{ pool, scheduler, queues, capacity }: LiveStatus,
	sentences: readonly string[] = [],
): ChartView {
	const longest = Math.max(1, ...queues.map((queue) => queue.in_flight + queue.current_depth));
	const ceiling = capacity.max_tps === null ? "" : ` of ${figure(capacity.max_tps)}`;
	return {
		headline:
			`pool ${pool}, scheduler ${scheduler}: ${figure(capacity.current_tps)}${ceiling} tokens/s, ` +
			`${capacity.active_requests} running, ${figure(capacity.utilization_pct)} % used`,
		legend: {
			text: "█ running  ░ waiting; on the right what was served and given up since the start",
			drawing:
				"Full bars are requests that run, light ones those that wait; beside them what was served and given up since the start",
		},
		rows: queues.map((queue) => ({
			label: queue.name === queue.label ? queue.label : `${queue.label} ${queue.name}`,
			full: queue.in_flight / longest,
			most: (queue.in_flight + queue.current_depth) / longest,
			note:
				`${queue.in_flight} running, ${queue.current_depth} waiting, ${figure(queue.avg_wait_ms)} ms on average` +
				(queue.reserved_tps > 0 ? `, ${figure(queue.reserved_tps)} tokens/s reserved` : "") +
				(queue.limit_tps === null ? "" : `, at most ${figure(queue.limit_tps)}`) +
				(queue.paused ? ", paused" : ""),
			side: `${queue.total_dequeued} served, ${queue.total_timeout} timed out, ${queue.total_dropped} dropped`,
		})),
		mappings: [],
		sentences,
	};
}
