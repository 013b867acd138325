/** The audit log in a SQL database. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { AuditEntry, AuditEvent, AuditFilter, AuditLog } from "../../ports/audit-log.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import { writeAudit } from "./policy-transaction.ts";
import { column, columnNames, fromSqlRow } from "./sql-columns.ts";
import { type SqlDatabase, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("at"),
	column("actor"),
	column("action"),
	column("subject"),
	column("before", "json", "before_value"),
	column("after", "json", "after_value"),
	column("reason"),
];

export class SqlAuditLog implements AuditLog {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	record(event: AuditEvent): Promise<void> {
		return this.#database.transaction((session) => writeAudit(session, this.#epochNow(), event));
	}

	async list(filter: AuditFilter, page: PageRequest): Promise<Page<AuditEntry>> {
		const limit = pageLimit(page);
		const where = new Where()
			.given("actor = ?", filter.actor)
			.given("subject = ?", filter.subject)
			.given("at >= ?", filter.since)
			.given("at < ?", filter.until)
			.given("id < ?", cursorKeys(page, ["number"])?.[0]);
		const { action } = filter;
		if (action?.endsWith(".")) where.given("substr(action, 1, ?) = ?", action.length, action);
		else where.given("action = ?", action);
		const rows = await this.#database.read(
			`SELECT ${columnNames(COLUMNS)} FROM audit_log ${where.toSql()} ORDER BY id DESC LIMIT ?`,
			[...where.parameters, limit + 1],
		);
		return toPage(
			rows.map((row) => fromSqlRow<AuditEntry>(COLUMNS, row)),
			limit,
			(entry) => [entry.id],
		);
	}
}
