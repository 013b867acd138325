/** `/v1/admin/usage`: what was used, as sums by group and as one row per settled request; JSON or CSV. */
import { Readable } from "node:stream";
import { z } from "zod";
import { NANO_DOLLARS_PER_DOLLAR } from "../../core/model/units.ts";
import {
	LEDGER_GROUPS,
	type LedgerFilter,
	type LedgerGroup,
	type LedgerRow,
	type LedgerSum,
} from "../../ports/ledger-store.ts";
import { MAX_PAGE_LIMIT } from "../../ports/page.ts";
import type { AdminContext } from "./admin-context.ts";
import { refuse } from "./admin-error.ts";
import { csv } from "./csv.ts";
import { id, name, shownTime, time, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { epochOf, given, instant, listBody } from "./wire.ts";

const CSV_TYPE = "text/csv; charset=utf-8";

/** Group → its field in the answer. */
const GROUP_FIELDS: Readonly<Record<LedgerGroup, string>> = {
	account: "account_id",
	token: "token_id",
	organisation: "organisation",
	team: "team",
	model: "model",
	environment: "environment",
	day: "day",
	outcome: "outcome",
};

const filterQuery = {
	account_id: id.optional(),
	token_id: id.optional(),
	organisation: name.optional(),
	model: name.optional(),
	environment: word.optional(),
	outcome: word.optional(),
	since: time.optional().describe("inclusive, by the time of settlement"),
	until: time.optional().describe("exclusive"),
	format: z.enum(["json", "csv"]).optional(),
};

const sums = {
	requests: z.number(),
	estimated_requests: z.number().describe("of them with usage that no engine reported"),
	prompt_tokens: z.number(),
	completion_tokens: z.number(),
	cached_tokens: z.number(),
	total_tokens: z.number(),
	cost_usd: z.number(),
	first_at: shownTime.nullable(),
	last_at: shownTime.nullable(),
};

const groupFields = Object.fromEntries(Object.values(GROUP_FIELDS).map((field) => [field, z.string().optional()]));

const usageRow = z.object({
	request_id: z.string(),
	client_request_id: z.string().nullable(),
	account_id: z.string(),
	organisation: z.string().nullable(),
	team: z.string().nullable(),
	token_id: z.string().nullable(),
	tier: z.string(),
	environment: z.string().nullable(),
	workload: z.string().nullable(),
	routed_by: z.string(),
	model: z.string(),
	provider: z.string().nullable(),
	operation: z.string(),
	prompt_tokens: z.number(),
	completion_tokens: z.number(),
	cached_tokens: z.number(),
	total_tokens: z.number(),
	usage_source: z.enum(["measured", "estimated"]),
	queue: z.string(),
	wait_ms: z.number(),
	time_to_first_token_ms: z.number().nullable(),
	duration_ms: z.number(),
	outcome: z.string(),
	error_code: z.string().nullable(),
	cost_usd: z.number(),
	started_at: shownTime,
	settled_at: shownTime,
});

function showSum(sum: LedgerSum) {
	const group = Object.fromEntries(
		Object.entries(sum.group).map(([key, value]) => [GROUP_FIELDS[key as LedgerGroup], value]),
	);
	return {
		...group,
		requests: sum.requests,
		estimated_requests: sum.estimatedRequests,
		prompt_tokens: sum.promptTokens,
		completion_tokens: sum.completionTokens,
		cached_tokens: sum.cachedTokens,
		total_tokens: sum.promptTokens + sum.completionTokens,
		cost_usd: Number(sum.costNanoDollars) / NANO_DOLLARS_PER_DOLLAR,
		first_at: instant(sum.firstAt),
		last_at: instant(sum.lastAt),
	};
}

function showRow(row: LedgerRow): z.infer<typeof usageRow> {
	return {
		request_id: row.requestId,
		client_request_id: row.clientRequestId ?? null,
		account_id: row.accountId,
		organisation: row.organisation ?? null,
		team: row.team ?? null,
		token_id: row.tokenId ?? null,
		tier: row.tier,
		environment: row.environment ?? null,
		workload: row.workload ?? null,
		routed_by: row.routedBy,
		model: row.model,
		provider: row.provider ?? null,
		operation: row.operation,
		prompt_tokens: row.promptTokens,
		completion_tokens: row.completionTokens,
		cached_tokens: row.cachedTokens,
		total_tokens: row.promptTokens + row.completionTokens,
		usage_source: row.usageSource,
		queue: row.queue,
		wait_ms: row.waitMs,
		time_to_first_token_ms: row.timeToFirstTokenMs ?? null,
		duration_ms: row.durationMs,
		outcome: row.outcome,
		error_code: row.errorCode ?? null,
		cost_usd: row.costNanoDollars / NANO_DOLLARS_PER_DOLLAR,
		started_at: instant(row.startedAt),
		settled_at: instant(row.settledAt),
	};
}

interface FilterQuery {
	readonly account_id?: string | undefined;
	readonly token_id?: string | undefined;
	readonly organisation?: string | undefined;
	readonly model?: string | undefined;
	readonly environment?: string | undefined;
	readonly outcome?: string | undefined;
	readonly since?: string | undefined;
	readonly until?: string | undefined;
}

function filterOf(query: FilterQuery): LedgerFilter {
	return given({
		accountId: query.account_id,
		tokenId: query.token_id,
		organisation: query.organisation,
		model: query.model,
		environment: query.environment,
		outcome: query.outcome,
		since: query.since === undefined ? undefined : epochOf(query.since),
		until: query.until === undefined ? undefined : epochOf(query.until),
	});
}

const reports = operation(
	{
		method: "GET",
		path: "/usage",
		summary: "Sums of usage by account, model, day, …; without groups one sum",
		query: z.strictObject({
			group_by: z
				.string()
				.max(200)
				.optional()
				.describe(`comma-separated: ${LEDGER_GROUPS.join(", ")}`),
			...filterQuery,
		}),
		answer: listAnswer("usage", z.object({ ...groupFields, ...sums })),
	},
	async (context, { query }) => {
		const words = (query.group_by ?? "").split(",").filter((part) => part !== "");
		const groups = LEDGER_GROUPS.filter((group) => words.includes(group));
		const unknown = words.find((part) => !(LEDGER_GROUPS as readonly string[]).includes(part));
		if (unknown !== undefined) {
			const allowed = LEDGER_GROUPS.join(", ");
			return refuse("invalid_request", `group_by "${unknown}" is not allowed: allowed are ${allowed}`, "group_by");
		}
		await context.settle();
		const rows = (await context.stores.ledger.sum(filterOf(query), groups)).map(showSum);
		if (query.format === "csv") {
			const columns = [...groups.map((group) => GROUP_FIELDS[group]), ...Object.keys(sums)];
			return answer(csv(columns, rows), CSV_TYPE);
		}
		return answer({ usage: rows, count: rows.length, next_cursor: null });
	},
);

const requests = operation(
	{
		method: "GET",
		path: "/usage/requests",
		summary: "One row per settled request, newest first; as CSV all of them, not a page",
		query: z.strictObject({ ...filterQuery, ...pageQuery }),
		answer: listAnswer("requests", usageRow),
	},
	async (context, { query }) => {
		if (query.format === "csv") {
			await context.settle();
			return answer(Readable.from(csvOfRequests(context, filterOf(query))), CSV_TYPE);
		}
		// later pages belong to the moment of the first one
		if (query.cursor === undefined) await context.settle();
		const page = await context.stores.ledger.list(filterOf(query), pageOf(query));
		return answer(listBody("requests", page, showRow));
	},
);

async function* csvOfRequests(context: AdminContext, filter: LedgerFilter): AsyncGenerator<string> {
	let cursor: string | undefined;
	do {
		const page = await context.stores.ledger.list(filter, {
			limit: MAX_PAGE_LIMIT,
			...(cursor === undefined ? {} : { cursor }),
		});
		const text = csv(Object.keys(usageRow.shape), page.items.map(showRow));
		yield cursor === undefined ? text : text.slice(text.indexOf("\n") + 1);
		cursor = page.nextCursor ?? undefined;
	} while (cursor !== undefined);
}

export const usageOperations: readonly Operation[] = [reports, requests];
