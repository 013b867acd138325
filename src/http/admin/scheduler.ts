/** Queues, requests and decisions of a running gateway. Changes are audited; they last until the next start. */
import { z } from "zod";
import { MILLIS_PER_SECOND } from "../../core/model/units.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, refuse } from "./admin-error.ts";
import { name, positive } from "./fields.ts";
import { type Answer, answer, type Operation, operation } from "./operation.ts";
import type { QueueStatus, SchedulerAdmin, SchedulerStatus } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";
import { given } from "./wire.ts";

const poolQuery = z.strictObject({ pool: name.optional() });
const queueParams = z.object({ level: z.string().max(64).describe("0, P0, B0, or the queue's name") });

const shownQueue = z.object({
	level: z.number().optional(),
	bucket: z.number().optional(),
	label: z.string(),
	name: z.string(),
	current_depth: z.number(),
	total_enqueued: z.number(),
	total_dequeued: z.number(),
	total_timeout: z.number(),
	total_dropped: z.number(),
	avg_wait_ms: z.number(),
	in_flight: z.number(),
	paused: z.boolean(),
	max_depth: z.number().nullable(),
	timeout_sec: z.number().nullable(),
	weight: z.number(),
	waiting_tokens: z.number(),
	in_flight_tokens: z.number(),
	reserved_tps: z.number(),
	limit_tps: z.number().nullable(),
	limit_rps: z.number().nullable(),
});

const shownStatus = z.object({
	pool: z.string(),
	pools: z.array(z.string()),
	allocator: z.enum(["priority", "bucket"]),
	scheduler: z.string(),
	queues: z.array(shownQueue),
	capacity: z.object({
		current_tps: z.number(),
		max_tps: z.number().nullable(),
		utilization_pct: z.number(),
		active_requests: z.number(),
		mode: z.string(),
		endpoints: z.number(),
		endpoints_up: z.number(),
		max_concurrent: z.number().nullable(),
		in_flight_tokens: z.number(),
		max_inflight_tokens: z.number().nullable(),
	}),
	preemptions_total: z.number(),
	router: z
		.object({
			share_pct: z.number().describe("of capacity and accounts, by the weights"),
			traffic_pct: z.number().nullable().describe("of the requests since the start"),
		})
		.optional()
		.describe("of a half of a pool, with allocator = weighted_router"),
});

function showQueue(queue: QueueStatus, allocator: SchedulerStatus["allocator"]): z.infer<typeof shownQueue> {
	return {
		...(allocator === "priority" ? { level: queue.index } : { bucket: queue.index }),
		label: queue.label,
		name: queue.name,
		current_depth: queue.currentDepth,
		total_enqueued: queue.totalEnqueued,
		total_dequeued: queue.totalDequeued,
		total_timeout: queue.totalTimeout,
		total_dropped: queue.totalDropped,
		avg_wait_ms: queue.avgWaitMs,
		in_flight: queue.inFlight,
		paused: queue.paused,
		max_depth: finite(queue.maxDepth),
		timeout_sec: finite(queue.timeoutMs / MILLIS_PER_SECOND),
		weight: queue.weight,
		waiting_tokens: queue.waitingTokens,
		in_flight_tokens: queue.inFlightTokens,
		reserved_tps: queue.reservedTps,
		limit_tps: finite(queue.limitTps),
		limit_rps: finite(queue.limitRps),
	};
}

function showStatus(status: SchedulerStatus, scheduler: SchedulerAdmin): z.infer<typeof shownStatus> {
	const { capacity } = status;
	return {
		pool: status.pool,
		pools: [...scheduler.pools],
		allocator: status.allocator,
		scheduler: status.scheduler,
		queues: status.queues.map((queue) => showQueue(queue, status.allocator)),
		capacity: {
			current_tps: capacity.currentTps,
			max_tps: capacity.maxTps === undefined ? null : finite(capacity.maxTps),
			utilization_pct: capacity.utilizationPct,
			active_requests: capacity.activeRequests,
			mode: capacity.mode,
			endpoints: capacity.endpoints,
			endpoints_up: capacity.endpointsUp,
			max_concurrent: finite(capacity.maxConcurrent),
			in_flight_tokens: capacity.inFlightTokens,
			max_inflight_tokens: finite(capacity.maxInflightTokens),
		},
		preemptions_total: status.preemptionsTotal,
		...(status.router === undefined
			? {}
			: { router: { share_pct: status.router.sharePct, traffic_pct: status.router.trafficPct ?? null } }),
	};
}

/** JSON knows no infinity. */
function finite(value: number): number | null {
	return Number.isFinite(value) ? value : null;
}

export function running(context: AdminContext): SchedulerAdmin | AdminRefusal {
	return (
		context.scheduler ?? refuse("not_available", "no gateway runs here, so nothing is scheduled: `tokligence start`")
	);
}

export function statusOf(scheduler: SchedulerAdmin, pool: string | undefined): SchedulerStatus | AdminRefusal {
	const wanted = pool ?? scheduler.pools[0]!;
	return (
		scheduler.status(wanted) ??
		refuse("not_found", `pool "${wanted}" does not exist: pools are ${scheduler.pools.join(", ")}`, "pool")
	);
}

function queueOf(status: SchedulerStatus, text: string): QueueStatus | AdminRefusal {
	const wanted = text.toLowerCase();
	const queue = status.queues.find(
		({ index, label, name }) =>
			String(index) === wanted || label.toLowerCase() === wanted || name.toLowerCase() === wanted,
	);
	const labels = status.queues.map(({ label }) => label);
	const all = labels.length > 10 ? `${labels[0]} to ${labels.at(-1)}` : labels.join(", ");
	return queue ?? refuse("not_found", `queue "${text}" does not exist: queues are ${all}`, "level");
}

/** The first pool that has a queue of this label: the halves of one pool have different ones. */
function poolWith(scheduler: SchedulerAdmin, label: string): string | undefined {
	return scheduler.pools.find((pool) =>
		scheduler.status(pool)?.queues.some((queue) => queue.label.toLowerCase() === label.toLowerCase()),
	);
}

interface QueueInput {
	readonly params: z.infer<typeof queueParams>;
	readonly query: z.infer<typeof poolQuery>;
	readonly actor: string;
}

/** Finds pool and queue, changes, audits, and answers with the queue as it is then. */
async function changeQueue(
	context: AdminContext,
	{ params, query, actor }: QueueInput,
	action: string,
	change: (
		scheduler: SchedulerAdmin,
		pool: string,
		queue: QueueStatus,
	) => Promise<object | AdminRefusal> | object | AdminRefusal,
): Promise<Answer | AdminRefusal> {
	const scheduler = running(context);
	if (isRefusal(scheduler)) return scheduler;
	const before = statusOf(scheduler, query.pool ?? poolWith(scheduler, params.level));
	if (isRefusal(before)) return before;
	const queue = queueOf(before, params.level);
	if (isRefusal(queue)) return queue;
	const extra = await change(scheduler, before.pool, queue);
	if (isRefusal(extra)) return extra;
	const after = scheduler.status(before.pool)!;
	const shown = showQueue(after.queues[queue.index]!, after.allocator);
	await context.stores.audit.record({
		actor,
		action,
		subject: `${before.pool}/${queue.label}`,
		before: showQueue(queue, before.allocator),
		after: { ...shown, ...extra },
	});
	return answer({ ...shown, ...extra });
}

const queuePatch = z
	.strictObject({
		max_depth: z.number().int().min(0).optional(),
		timeout_sec: positive.optional().describe("for requests that come from now on"),
		weight: positive.optional(),
		reserved_tps: z.number().min(0).optional(),
		limit_tps: positive.nullish().describe("null takes the ceiling away"),
		limit_rps: positive.nullish().describe("null takes the ceiling away"),
	})
	.refine((patch) => Object.keys(patch).length > 0, {
		error: "name what to change: max_depth, timeout_sec, weight, limit_tps, limit_rps",
	});

const queueOperations = [
	operation(
		{
			method: "GET",
			path: "/scheduler/status",
			summary: "Queues and capacity of a pool",
			query: poolQuery,
			answer: shownStatus,
		},
		(context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const status = statusOf(scheduler, query.pool);
			return isRefusal(status) ? status : answer(showStatus(status, scheduler));
		},
	),
	operation(
		{
			method: "PATCH",
			path: "/scheduler/queues/{level}",
			summary: "Change a queue until the next start",
			params: queueParams,
			query: poolQuery,
			body: queuePatch,
			answer: shownQueue,
		},
		(context, input) =>
			changeQueue(context, input, "queue.update", (scheduler, pool, queue) => {
				const { max_depth, timeout_sec, weight, reserved_tps, limit_tps, limit_rps } = input.body;
				const refusal = scheduler.changeQueue(
					pool,
					queue.index,
					given({
						maxDepth: max_depth,
						timeoutMs: timeout_sec === undefined ? undefined : timeout_sec * MILLIS_PER_SECOND,
						weight,
						reservedTps: reserved_tps,
						limitTps: limit_tps === null ? Number.POSITIVE_INFINITY : limit_tps,
						limitRps: limit_rps === null ? Number.POSITIVE_INFINITY : limit_rps,
					}),
				);
				return refusal === undefined ? {} : refuse("invalid_request", refusal);
			}),
	),
	...(["pause", "resume"] as const).map((verb) =>
		operation(
			{
				method: "POST",
				path: `/scheduler/queues/{level}/${verb}`,
				summary: verb === "pause" ? "Stop dispatching from a queue; it still fills" : "Dispatch from a queue again",
				params: queueParams,
				query: poolQuery,
				answer: shownQueue,
			},
			(context, input) =>
				changeQueue(context, input, `queue.${verb}`, (scheduler, pool, queue) => {
					scheduler[verb](pool, queue.index);
					return {};
				}),
		),
	),
	operation(
		{
			method: "POST",
			path: "/scheduler/queues/{level}/clear",
			summary: "Refuse everything that waits in a queue",
			params: queueParams,
			query: poolQuery,
			answer: shownQueue.extend({ cleared: z.number() }),
		},
		(context, input) =>
			changeQueue(context, input, "queue.clear", (scheduler, pool, queue) => ({
				cleared: scheduler.clear(pool, queue.index),
			})),
	),
];

export const schedulerOperations: readonly Operation[] = queueOperations;
