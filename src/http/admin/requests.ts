/** `/v1/admin/requests`: what waits and runs in the running gateway; cancelling one. */
import { z } from "zod";
import { type CursorKey, cursorKeys, encodeCursor, pageLimit } from "../../ports/page.ts";
import { refuse } from "./admin-error.ts";
import { id, message, name, shownTime, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { running } from "./scheduler.ts";
import type { RequestStatus } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";
import { instant } from "./wire.ts";

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

/** Oldest first; those that arrived in one millisecond by their ids, so that a cursor has one place. */
function byArrival(a: RequestStatus, b: RequestStatus): number {
	return a.arrivedAt - b.arrivedAt || (a.requestId < b.requestId ? -1 : 1);
}

function isAfter(request: RequestStatus, [arrivedAt, requestId]: readonly CursorKey[]): boolean {
	return (
		request.arrivedAt > Number(arrivedAt) ||
		(request.arrivedAt === Number(arrivedAt) && request.requestId > String(requestId))
	);
}

export const requestOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/requests",
			summary: "Requests that wait or run, oldest first",
			query: z.strictObject({
				state: z.enum(["waiting", "running"]).optional(),
				account_id: id.optional(),
				token_id: id.optional(),
				pool: name.optional(),
				queue: z.string().max(64).optional().describe("its label: P0, B3"),
				tier: word.optional(),
				model: name.optional(),
				...pageQuery,
			}),
			answer: listAnswer("requests", shownRequest),
		},
		(context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			if (query.pool !== undefined && !scheduler.pools.includes(query.pool)) {
				const pools = scheduler.pools.join(", ");
				return refuse("not_found", `pool "${query.pool}" does not exist: pools are ${pools}`, "pool");
			}
			const page = pageOf(query);
			const limit = pageLimit(page);
			const after = cursorKeys(page, ["number", "string"]);
			const wanted = [
				["state", query.state],
				["accountId", query.account_id],
				["tokenId", query.token_id],
				["pool", query.pool],
				["queue", query.queue?.toUpperCase()],
				["tier", query.tier],
				["model", query.model],
			] as const;
			const found = scheduler
				.requests()
				.filter((request) => wanted.every(([field, value]) => value === undefined || request[field] === value))
				.filter((request) => after === undefined || isAfter(request, after))
				.sort(byArrival);
			const items = found.slice(0, limit);
			const last = items.at(-1);
			const more = found.length > limit && last !== undefined;
			return answer({
				requests: items.map(showRequest),
				count: items.length,
				next_cursor: more ? encodeCursor([last.arrivedAt, last.requestId]) : null,
			});
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
			const before = scheduler.requests().find(({ requestId }) => requestId === request_id);
			if (!scheduler.cancel(request_id)) {
				return refuse(
					"not_found",
					`request "${request_id}" neither waits nor runs: GET /v1/admin/requests lists what does`,
				);
			}
			await context.stores.audit.record({
				actor,
				action: "request.cancel",
				subject: request_id,
				...(before === undefined ? {} : { before: showRequest(before) }),
			});
			return answer({ request_id, message: "The request was cancelled." });
		},
	),
];
