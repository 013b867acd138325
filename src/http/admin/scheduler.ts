/** Queues, requests and decisions of a running gateway. Changes are audited; they last until the next start. */
import { z } from "zod";
import type { RoutingMetadata } from "../../core/model/routing.ts";
import { MILLIS_PER_SECOND } from "../../core/model/units.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, refuse } from "./admin-error.ts";
import { id, message, name, positive, shownTime, word } from "./fields.ts";
import { type Answer, answer, listAnswer, type Operation, operation } from "./operation.ts";
import type { QueueStatus, RequestStatus, SchedulerAdmin, SchedulerStatus } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";
import { given, instant, snakeData } from "./wire.ts";

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
	}),
	preemptions_total: z.number(),
});

const shownRequest = z.object({
	request_id: z.string(),
	state: z.enum(["waiting", "running"]),
	pool: z.string(),
	queue: z.string(),
	account_id: z.string(),
	token_id: z.string().nullable(),
	tier: z.string(),
	environment: z.string().nullable(),
	model: z.string(),
	stream: z.boolean(),
	arrived_at: shownTime,
	wait_ms: z.number(),
	estimated_tokens: z.number(),
	produced_tokens: z.number().nullable(),
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
		},
		preemptions_total: status.preemptionsTotal,
	};
}

function showRequest(request: RequestStatus): z.infer<typeof shownRequest> {
	return {
		request_id: request.requestId,
		state: request.state,
		pool: request.pool,
		queue: request.queue,
		account_id: request.accountId,
		token_id: request.tokenId ?? null,
		tier: request.tier,
		environment: request.environment ?? null,
		model: request.model,
		stream: request.stream,
		arrived_at: instant(request.arrivedAt),
		wait_ms: request.waitMs,
		estimated_tokens: request.estimatedTokens,
		produced_tokens: request.producedTokens ?? null,
	};
}

/** JSON knows no infinity. */
function finite(value: number): number | null {
	return Number.isFinite(value) ? value : null;
}

function running(context: AdminContext): SchedulerAdmin | AdminRefusal {
	return (
		context.scheduler ?? refuse("not_available", "no gateway runs here, so nothing is scheduled: `tokligence start`")
	);
}

function statusOf(scheduler: SchedulerAdmin, pool: string | undefined): SchedulerStatus | AdminRefusal {
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
	const before = statusOf(scheduler, query.pool);
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

const queuePatch = z.strictObject({
	max_depth: z.number().int().min(0).optional(),
	timeout_sec: positive.optional(),
	weight: positive.optional(),
	reserved_tps: z.number().min(0).optional(),
	limit_tps: positive.optional(),
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
				const { max_depth, timeout_sec, weight, reserved_tps, limit_tps } = input.body;
				const refusal = scheduler.changeQueue(
					pool,
					queue.index,
					given({
						maxDepth: max_depth,
						timeoutMs: timeout_sec === undefined ? undefined : timeout_sec * MILLIS_PER_SECOND,
						weight,
						reservedTps: reserved_tps,
						limitTps: limit_tps,
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

const requestOperations = [
	operation(
		{
			method: "GET",
			path: "/requests",
			summary: "Requests that wait or run, oldest first (at most 1,000)",
			query: z.strictObject({
				state: z.enum(["waiting", "running"]).optional(),
				account_id: id.optional(),
				limit: z.coerce.number().int().min(1).max(1000).optional(),
			}),
			answer: listAnswer("requests", shownRequest),
		},
		(context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const requests = scheduler
				.requests()
				.filter((request) => query.state === undefined || request.state === query.state)
				.filter((request) => query.account_id === undefined || request.accountId === query.account_id)
				.slice(0, query.limit ?? 1000);
			return answer({ requests: requests.map(showRequest), count: requests.length, next_cursor: null });
		},
	),
	operation(
		{
			method: "DELETE",
			path: "/requests/{request_id}",
			summary: "Cancel a request that waits or runs",
			params: z.object({ request_id: id }),
			answer: z.object({ request_id: z.string(), message }),
		},
		async (context, { params, actor }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const { request_id } = params;
			if (!scheduler.cancel(request_id)) {
				return refuse("not_found", `request "${request_id}" neither waits nor runs`);
			}
			await context.stores.audit.record({ actor, action: "request.cancel", subject: request_id });
			return answer({ request_id, message: "The request was cancelled." });
		},
	),
	operation(
		{
			method: "GET",
			path: "/decisions/{request_id}",
			summary: "What was decided for a recent request, and why",
			params: z.object({ request_id: id }),
			answer: z.looseObject({ request_id: z.string() }),
		},
		(context, { params }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const record = scheduler.decision(params.request_id);
			if (record === undefined) {
				return refuse("not_found", `no decision of request "${params.request_id}" is remembered: recent ones only`);
			}
			return answer(snakeData(record));
		},
	),
];

const described = z.strictObject({
	token_id: id.nullish().describe("as if it came with this token"),
	tier: word.nullish(),
	environment: word.nullish(),
	workload: word.nullish(),
	account_id: id.nullish(),
	organisation: name.nullish(),
	account_type: z.enum(["internal", "external"]).nullish(),
	account_tier: word.nullish(),
	tag: word.nullish(),
	model: name,
	prompt_tokens: z.number().int().min(0).nullish(),
	max_tokens: z.number().int().min(1).nullish(),
	stream: z.boolean().nullish(),
	x_priority: z.string().max(64).nullish(),
	x_request_class: z.string().max(64).nullish(),
});

const explain = operation(
	{
		method: "POST",
		path: "/explain",
		summary: "What would happen to this request now, step by step; nothing is sent",
		body: described,
		answer: z.object({
			outcome: z.string(),
			queue: z.string().nullable(),
			pool: z.string().nullable(),
			steps: z.array(z.object({ step: z.string(), result: z.string() })),
		}),
	},
	async (context, { body }) => {
		const scheduler = running(context);
		if (isRefusal(scheduler)) return scheduler;
		const metadata = await describedMetadata(context, body);
		if (isRefusal(metadata)) return metadata;
		const explanation = scheduler.explain({
			metadata,
			hints: given({ priority: body.x_priority, requestClass: body.x_request_class }),
			model: body.model,
			promptTokens: body.prompt_tokens ?? 0,
			...given({ maxTokens: body.max_tokens }),
			stream: body.stream ?? false,
		});
		const { outcome, queue, pool, steps } = explanation;
		return answer({ outcome, queue: queue ?? null, pool: pool ?? null, steps });
	},
);

async function describedMetadata(
	context: AdminContext,
	body: z.infer<typeof described>,
): Promise<RoutingMetadata | AdminRefusal> {
	const said = given({
		environment: body.environment,
		workload: body.workload,
		organisation: body.organisation,
		accountType: body.account_type,
		accountTier: body.account_tier,
		tag: body.tag,
	});
	if (typeof body.token_id !== "string") {
		return { tier: body.tier ?? "default", accountId: body.account_id ?? "default", routedBy: "token", ...said };
	}
	const token = await context.stores.tokens.get(body.token_id);
	if (token === undefined) return refuse("not_found", `token "${body.token_id}" does not exist`, "token_id");
	const account = await context.stores.accounts.get(token.accountId);
	return {
		tier: body.tier ?? token.priorityTier,
		accountId: token.accountId,
		tokenId: token.id,
		routedBy: "token",
		...given({
			environment: token.environment,
			workload: token.workloadTag,
			tag: token.workloadTag,
			organisation: account?.organisation,
			accountType: account?.accountType,
			accountTier: account?.accountTier,
			teamId: account?.team,
		}),
		...said,
		token: given({
			priorityOverride: token.priorityOverride,
			weightOverride: token.weightOverride,
			maxPriority: token.maxPriority,
			mayUseCritical: token.mayUseCritical,
			allowedModels: token.allowedModels,
			maxParallelRequests: token.maxParallelRequests,
		}),
	};
}

export const schedulerOperations: readonly Operation[] = [...queueOperations, ...requestOperations, explain];
