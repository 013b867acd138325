/** `/v1/admin/scheduler/accounts`: whose requests wait and run, and who was served within the last minute. */
import { z } from "zod";
import type { EpochMillis, Millis } from "../../core/model/units.ts";
import { refuse } from "./admin-error.ts";
import { name } from "./fields.ts";
import { answer, listAnswer, type Operation, operation } from "./operation.ts";
import { running } from "./scheduler.ts";
import type { SchedulerAdmin } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";

const RECENT_MS: Millis = 60_000;
const DEFAULT_LIMIT = 20;

const shownAccount = z.object({
	account_id: z.string(),
	waiting: z.number().int(),
	running: z.number().int(),
	waiting_tokens: z.number().describe("estimated"),
	running_tokens: z.number().describe("estimated"),
	longest_wait_ms: z.number(),
	recent_requests: z.number().int().describe("ended within the last minute, as far as they are remembered"),
	recent_tokens: z.number(),
});

type Shown = { -readonly [K in keyof z.infer<typeof shownAccount>]: z.infer<typeof shownAccount>[K] };

export const busiestOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/scheduler/accounts",
			summary: "The busiest accounts: what waits and runs, and what ended within a minute",
			query: z.strictObject({
				pool: name.optional(),
				limit: z.coerce.number().int().min(1).max(1000).optional(),
			}),
			answer: listAnswer("accounts", shownAccount),
		},
		(context, { query }) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			if (query.pool !== undefined && !scheduler.pools.includes(query.pool)) {
				const pools = scheduler.pools.join(", ");
				return refuse("not_found", `pool "${query.pool}" does not exist: pools are ${pools}`, "pool");
			}
			const all = [...accountsOf(scheduler, query.pool, context.epochNow()).values()].sort(busier);
			const accounts = all.slice(0, query.limit ?? DEFAULT_LIMIT);
			return answer({ accounts, count: accounts.length, next_cursor: null });
		},
	),
];

function accountsOf(scheduler: SchedulerAdmin, pool: string | undefined, now: EpochMillis): Map<string, Shown> {
	const accounts = new Map<string, Shown>();
	const of = (account_id: string): Shown => {
		const known = accounts.get(account_id);
		if (known !== undefined) return known;
		const fresh: Shown = {
			account_id,
			waiting: 0,
			running: 0,
			waiting_tokens: 0,
			running_tokens: 0,
			longest_wait_ms: 0,
			recent_requests: 0,
			recent_tokens: 0,
		};
		accounts.set(account_id, fresh);
		return fresh;
	};
	for (const request of scheduler.requests()) {
		if (pool !== undefined && request.pool !== pool) continue;
		const account = of(request.accountId);
		if (request.state === "waiting") {
			account.waiting++;
			account.waiting_tokens += request.estimatedTokens;
			account.longest_wait_ms = Math.max(account.longest_wait_ms, request.waitMs);
		} else {
			account.running++;
			account.running_tokens += request.estimatedTokens;
		}
	}
	for (const event of scheduler.decisionsAfter(0)) {
		if (event.event !== "end" || event.at < now - RECENT_MS || event.accountId === undefined) continue;
		if (pool !== undefined && event.pool !== pool) continue;
		const account = of(event.accountId);
		account.recent_requests++;
		account.recent_tokens += (event.promptTokens ?? 0) + (event.completionTokens ?? 0);
	}
	return accounts;
}

/** By what they have in the system now, then by what they were served. */
function busier(a: Shown, b: Shown): number {
	const load = (one: Shown) => one.waiting_tokens + one.running_tokens;
	return load(b) - load(a) || b.recent_tokens - a.recent_tokens || (a.account_id < b.account_id ? -1 : 1);
}
