/** `/v1/admin/audit-log`: who changed what, when, from what to what. */
import { z } from "zod";
import { id, name, shownTime, time } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { epochOf, given, instant, listBody, snakeData } from "./wire.ts";

const shownEntry = z.object({
	id: z.number(),
	at: shownTime,
	actor: z.string(),
	action: z.string(),
	subject: z.string(),
	before: z.unknown(),
	after: z.unknown(),
	reason: z.string().nullable(),
});

export const auditOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/audit-log",
			summary: "Changes, newest first",
			query: z.strictObject({
				actor: name.optional(),
				action: name.optional().describe("the action, or a prefix that ends in a dot: token."),
				subject: id.optional(),
				since: time.optional(),
				until: time.optional(),
				...pageQuery,
			}),
			answer: listAnswer("entries", shownEntry),
		},
		async (context, { query }) => {
			const filter = given({
				actor: query.actor,
				action: query.action,
				subject: query.subject,
				since: query.since === undefined ? undefined : epochOf(query.since),
				until: query.until === undefined ? undefined : epochOf(query.until),
			});
			const page = await context.stores.audit.list(filter, pageOf(query));
			return answer(
				listBody("entries", page, (entry) => ({
					id: entry.id,
					at: instant(entry.at),
					actor: entry.actor,
					action: entry.action,
					subject: entry.subject,
					before: snakeData(entry.before ?? null),
					after: snakeData(entry.after ?? null),
					reason: entry.reason ?? null,
				})),
			);
		},
	),
];
