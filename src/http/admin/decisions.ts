/** `/v1/admin/decisions`: what the scheduler decided lately and how requests ended, to read or to follow. */
import { z } from "zod";
import type { Millis } from "../../core/model/units.ts";
import { MILLIS_PER_SECOND } from "../../core/model/units.ts";
import type { DecisionEvent } from "../../engine/recent-decisions.ts";
import { cursorKeys, encodeCursor, pageLimit } from "../../ports/page.ts";
import { refuse } from "./admin-error.ts";
import { id, name, shownTime } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { running } from "./scheduler.ts";
import type { SchedulerAdmin } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";
import { snakeData } from "./wire.ts";

const EVENTS = ["dispatch", "wait", "shed", "evict", "preempt", "requeue", "end"] as const;
const LONGEST_WAIT_SEC = 25;

const shownEvent = z.looseObject({
	sequence: z.number().int(),
	at: shownTime,
	request_id: z.string(),
	event: z.enum(EVENTS),
	wait_ms: z.number(),
});

const filters = {
	request_id: id.optional(),
	event: z.enum(EVENTS).optional(),
	pool: name.optional(),
	queue: z.string().max(64).optional().describe("its label: P0, B3"),
	account_id: id.optional(),
	outcome: name.optional().describe("completed, refused, …: ends only"),
};

type Filters = z.infer<z.ZodObject<typeof filters>>;

function fits(event: DecisionEvent, query: Filters): boolean {
	return (
		(query.request_id === undefined || event.requestId === query.request_id) &&
		(query.event === undefined || event.event === query.event) &&
		(query.pool === undefined || event.pool === query.pool) &&
		(query.queue === undefined || event.queue === query.queue.toUpperCase()) &&
		(query.account_id === undefined || event.accountId === query.account_id) &&
		(query.outcome === undefined || event.outcome === query.outcome)
	);
}

/** Oldest first; when there is none yet, waits for the first. */
async function follow(
	scheduler: SchedulerAdmin,
	query: Filters,
	after: number,
	limit: number,
	waitMs: Millis,
): Promise<readonly DecisionEvent[]> {
	// A process that started anew counts from 1 again.
	let from = after > scheduler.latestDecision ? 0 : after;
	const deadline = performance.now() + waitMs;
	for (;;) {
		const found: DecisionEvent[] = [];
		for (const event of scheduler.decisionsAfter(from)) {
			if (!fits(event, query)) continue;
			found.push(event);
			if (found.length === limit) break;
		}
		const left = deadline - performance.now();
		if (found.length > 0 || left <= 0) return found;
		from = scheduler.latestDecision;
		await scheduler.nextDecision(left);
		if (scheduler.latestDecision === from) return found;
	}
}

export const decisionOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/decisions",
			summary: "Recent decisions and ends, newest first; with `after` those that came later, oldest first",
			query: z.strictObject({
				...filters,
				after: z.coerce.number().int().min(0).optional().describe("a sequence; 0 is the oldest that is kept"),
				wait_sec: z.coerce
					.number()
					.min(0)
					.max(LONGEST_WAIT_SEC)
					.optional()
					.describe("with `after`: how long to wait for the first one"),
				...pageQuery,
			}),
			answer: listAnswer("decisions", shownEvent).and(z.object({ latest_sequence: z.number().int() })),
		},
		async (context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const page = pageOf(query);
			const limit = pageLimit(page);
			const body = (events: readonly DecisionEvent[], next_cursor: string | null) =>
				answer({
					decisions: events.map(snakeData),
					count: events.length,
					next_cursor,
					latest_sequence: scheduler.latestDecision,
				});
			if (query.after !== undefined) {
				const waitMs = (query.wait_sec ?? 0) * MILLIS_PER_SECOND;
				return body(await follow(scheduler, query, query.after, limit, waitMs), null);
			}
			const before = cursorKeys(page, ["number"])?.[0] ?? Number.POSITIVE_INFINITY;
			const found = [...scheduler.decisionsAfter(0)]
				.filter((event) => event.sequence < Number(before) && fits(event, query))
				.reverse();
			const events = found.slice(0, limit);
			return body(events, found.length > limit ? encodeCursor([events.at(-1)!.sequence]) : null);
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
