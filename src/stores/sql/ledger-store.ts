/**
 * The ledger in a SQL database. `append` is one transaction: rows that are there already change nothing, and only new rows
 * move their token's counters, so counter and ledger agree whatever is replayed.
 */
import {
	LEDGER_GROUPS,
	type LedgerFilter,
	type LedgerGroup,
	type LedgerRow,
	type LedgerStore,
	type LedgerSum,
} from "../../ports/ledger-store.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import { utcDay } from "../record.ts";
import { column, columnNames, fromSqlRow, insertSql, toSqlValues } from "./sql-columns.ts";
import { type SqlDatabase, type SqlRow, type SqlSession, Where } from "./sql-database.ts";

const COLUMNS = [
	column("requestId"),
	column("clientRequestId"),
	column("accountId"),
	column("organisation"),
	column("team"),
	column("tokenId"),
	column("tier"),
	column("environment"),
	column("workload"),
	column("routedBy"),
	column("model"),
	column("provider"),
	column("operation"),
	column("promptTokens"),
	column("completionTokens"),
	column("cachedTokens"),
	column("usageSource"),
	column("queue"),
	column("waitMs"),
	column("timeToFirstTokenMs"),
	column("durationMs"),
	column("outcome"),
	column("errorCode"),
	column("costNanoDollars"),
	column("startedAt"),
	column("settledAt"),
];
const SELECT = `SELECT ${columnNames(COLUMNS)} FROM usage_ledger`;
const INSERT = insertSql("usage_ledger", [...COLUMNS, column("settledDay")], "ON CONFLICT (request_id) DO NOTHING");

const GROUP_COLUMNS: Readonly<Record<LedgerGroup, string>> = {
	account: "account_id",
	token: "token_id",
	organisation: "organisation",
	team: "team",
	model: "model",
	environment: "environment",
	day: "settled_day",
	outcome: "outcome",
};

/** Sums as TEXT: a whole number of any size in both databases. */
const SUMS = `COUNT(*) AS requests,
	SUM(CASE WHEN usage_source = 'estimated' THEN 1 ELSE 0 END) AS estimated_requests,
	CAST(SUM(prompt_tokens) AS TEXT) AS prompt_tokens,
	CAST(SUM(completion_tokens) AS TEXT) AS completion_tokens,
	CAST(SUM(cached_tokens) AS TEXT) AS cached_tokens,
	CAST(SUM(cost_nano_dollars) AS TEXT) AS cost_nano_dollars,
	MIN(settled_at) AS first_at,
	MAX(settled_at) AS last_at`;

const MAX_SUM_ROWS = 10_000;

export class SqlLedgerStore implements LedgerStore {
	readonly #database: SqlDatabase;

	constructor(database: SqlDatabase) {
		this.#database = database;
	}

	append(rows: readonly LedgerRow[]): Promise<number> {
		return this.#database.transaction(async (session) => {
			const changes = await session.runMany(
				INSERT,
				rows.map((row) => [...toSqlValues(COLUMNS, row), utcDay(row.settledAt)]),
			);
			const added = rows.filter((_, i) => changes[i] === 1);
			await countTokenUse(session, added);
			return added.length;
		});
	}

	async get(requestId: string): Promise<LedgerRow | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE request_id = ?`, [requestId]);
		return row && fromSqlRow<LedgerRow>(COLUMNS, row);
	}

	async list(filter: LedgerFilter, page: PageRequest): Promise<Page<LedgerRow>> {
		const limit = pageLimit(page);
		const [at, id] = cursorKeys(page, ["number", "string"]) ?? [];
		const where = filterWhere(filter).given("(settled_at < ? OR (settled_at = ? AND request_id < ?))", at, at, id);
		const rows = await this.#database.read(
			`${SELECT} ${where.toSql()} ORDER BY settled_at DESC, request_id DESC LIMIT ?`,
			[...where.parameters, limit + 1],
		);
		return toPage(
			rows.map((row) => fromSqlRow<LedgerRow>(COLUMNS, row)),
			limit,
			(row) => [row.settledAt, row.requestId],
		);
	}

	async sum(filter: LedgerFilter, groups: readonly LedgerGroup[], limit = MAX_SUM_ROWS): Promise<readonly LedgerSum[]> {
		const where = filterWhere(filter);
		const wanted = LEDGER_GROUPS.filter((group) => groups.includes(group));
		const values = wanted.map((group) => `COALESCE(${GROUP_COLUMNS[group]}, '') AS group_${group}`);
		const order =
			wanted.length === 0
				? ""
				: `GROUP BY ${wanted.map((_, i) => i + 1).join(", ")} ORDER BY ${wanted.map((group) => `group_${group}`).join(", ")}`;
		const rows = await this.#database.read(
			`SELECT ${[...values, SUMS].join(", ")} FROM usage_ledger ${where.toSql()} ${order} LIMIT ?`,
			[...where.parameters, Math.min(limit, MAX_SUM_ROWS)],
		);
		return rows.map((row) => toSum(row, wanted));
	}
}

function filterWhere(filter: LedgerFilter): Where {
	return new Where()
		.given("account_id = ?", filter.accountId)
		.given("token_id = ?", filter.tokenId)
		.given("organisation = ?", filter.organisation)
		.given("team = ?", filter.team)
		.given("model = ?", filter.model)
		.given("environment = ?", filter.environment)
		.given("outcome = ?", filter.outcome)
		.given("settled_at >= ?", filter.since)
		.given("settled_at < ?", filter.until);
}

function toSum(row: SqlRow, groups: readonly LedgerGroup[]): LedgerSum {
	const firstAt = row["first_at"] as number | null;
	const lastAt = row["last_at"] as number | null;
	return {
		group: Object.fromEntries(groups.map((group) => [group, row[`group_${group}`] as string])),
		requests: Number(row["requests"]),
		estimatedRequests: Number(row["estimated_requests"] ?? 0),
		promptTokens: Number(row["prompt_tokens"] ?? 0),
		completionTokens: Number(row["completion_tokens"] ?? 0),
		cachedTokens: Number(row["cached_tokens"] ?? 0),
		costNanoDollars: BigInt(row["cost_nano_dollars"] ?? 0),
		...(firstAt === null ? {} : { firstAt }),
		...(lastAt === null ? {} : { lastAt }),
	};
}

async function countTokenUse(session: SqlSession, rows: readonly LedgerRow[]): Promise<void> {
	const uses = new Map<string, { requests: number; lastAt: number }>();
	for (const { tokenId, settledAt } of rows) {
		if (tokenId === undefined) continue;
		const use = uses.get(tokenId) ?? { requests: 0, lastAt: 0 };
		uses.set(tokenId, { requests: use.requests + 1, lastAt: Math.max(use.lastAt, settledAt) });
	}
	if (uses.size === 0) return;
	await session.runMany(
		`UPDATE api_tokens SET total_requests = total_requests + ?,
			last_used_at = CASE WHEN COALESCE(last_used_at, 0) < ? THEN ? ELSE last_used_at END WHERE id = ?`,
		// in order of id: two processes that lock the same rows do it in the same order
		[...uses].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, { requests, lastAt }]) => [requests, lastAt, lastAt, id]),
	);
}
