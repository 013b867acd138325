/** `/v1/admin/scheduler/preemptions`: work that was taken back while it ran; who may cause it, how often it was, and the latest ones. */
import { z } from "zod";
import { id, name, shownTime } from "./fields.ts";
import { answer, type Operation, operation } from "./operation.ts";
import { running, statusOf } from "./scheduler.ts";
import { isRefusal } from "./validation.ts";
import { instant } from "./wire.ts";

const DEFAULT_LIMIT = 20;

export const preemptionOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/scheduler/preemptions",
			summary: "Work that was taken back while it ran, and who may cause it",
			query: z.strictObject({ pool: name.optional(), limit: z.coerce.number().int().min(1).max(1000).optional() }),
			answer: z.object({
				pool: z.string(),
				enabled: z.boolean(),
				victims: z.array(z.string()).describe("queues whose work may be taken back"),
				preemptors: z.array(z.string()).describe("queues that may cause it"),
				preemptions_total: z.number().int(),
				wasted_tokens: z.number().describe("read and produced by runs that were begun anew"),
				recent: z.array(
					z.object({ request_id: id, at: shownTime, queue: z.string().nullable(), account_id: z.string().nullable() }),
				),
			}),
		},
		(context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const status = statusOf(scheduler, query.pool);
			if (isRefusal(status)) return status;
			const { preemption, queues, pool } = status;
			const labels = (wanted: (queue: number) => boolean) =>
				queues.filter(({ index }) => preemption.enabled && wanted(index)).map(({ label }) => label);
			const recent = [...scheduler.decisionsAfter(0)]
				.filter((event) => event.event === "preempt" && event.pool === pool)
				.slice(-(query.limit ?? DEFAULT_LIMIT))
				.reverse();
			return answer({
				pool,
				enabled: preemption.enabled,
				victims: labels((queue) => preemption.victims.includes(queue)),
				preemptors: labels((queue) => queue <= preemption.preemptorMax),
				preemptions_total: status.preemptionsTotal,
				wasted_tokens: preemption.wastedTokens,
				recent: recent.map(({ requestId, at, queue, accountId }) => ({
					request_id: requestId,
					at: instant(at),
					queue: queue ?? null,
					account_id: accountId ?? null,
				})),
			});
		},
	),
];
