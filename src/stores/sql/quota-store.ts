/** Quotas in a SQL database. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Quota } from "../../core/quota/quota.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewQuota, QuotaAdjustment, QuotaStore, QuotaTerms, QuotaUsage } from "../../ports/quota-store.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { createdQuota, freshUsage, otherLimit, sayTheSame, takenBy, unknownAccount } from "../quota-record.ts";
import { applyPatch, sameFields } from "../record.ts";
import { findAccount } from "./account-store.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { column, columnNames, fromSqlRow, insertSql, toSqlValues, updateSql } from "./sql-columns.ts";
import { type SqlDatabase, type SqlSession, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("accountId"),
	column("node"),
	column("environment"),
	column("quotaType"),
	column("limitDimension"),
	column("limitValue"),
	column("allowBorrow", "boolean"),
	column("maxBorrowPct"),
	column("lend", "boolean"),
	column("resetDay"),
	column("timezone"),
];
const TIMES = [column("createdAt"), column("updatedAt")];
const SELECT = `SELECT ${columnNames(COLUMNS)} FROM quotas`;

const USAGE_COLUMNS = [
	column("quotaId"),
	column("windowStart"),
	column("windowEnd"),
	column("usedValue"),
	column("countedUntil"),
	column("adjustedValue"),
	column("alertedPct"),
];
const SELECT_USAGE = `SELECT ${columnNames(USAGE_COLUMNS)} FROM quota_usage`;
const SAVE_USAGE = insertSql(
	"quota_usage",
	USAGE_COLUMNS,
	`ON CONFLICT (quota_id, window_start) DO UPDATE SET used_value = excluded.used_value, counted_until = excluded.counted_until,
	alerted_pct = excluded.alerted_pct`,
);
const ADJUST = insertSql(
	"quota_usage",
	USAGE_COLUMNS,
	`ON CONFLICT (quota_id, window_start) DO UPDATE SET adjusted_value = quota_usage.adjusted_value + excluded.adjusted_value
	RETURNING adjusted_value`,
);

export class SqlQuotaStore implements QuotaStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	async all(): Promise<readonly Quota[]> {
		const rows = await this.#database.read(`${SELECT} ORDER BY created_at, id`, []);
		return rows.map((row) => fromSqlRow<Quota>(COLUMNS, row));
	}

	async list(page: PageRequest): Promise<Page<Quota>> {
		const limit = pageLimit(page);
		const where = new Where().given("id > ?", cursorKeys(page, ["string"])?.[0]);
		const rows = await this.#database.read(`${SELECT} ${where.toSql()} ORDER BY id LIMIT ?`, [
			...where.parameters,
			limit + 1,
		]);
		return toPage(
			rows.map((row) => fromSqlRow<Quota>(COLUMNS, row)),
			limit,
			(quota) => [quota.id],
		);
	}

	async get(id: string): Promise<Quota | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE id = ?`, [id]);
		return row && fromSqlRow<Quota>(COLUMNS, row);
	}

	create(quota: NewQuota, actor: string): Promise<WriteResult<Quota>> {
		return this.#change(actor, (tx) => insertQuota(tx, quota));
	}

	update(id: string, patch: Patch<QuotaTerms>, actor: string): Promise<WriteResult<Quota>> {
		return this.#change(actor, async (tx) => {
			const before = await find(tx.session, id);
			if (before === undefined) return unknownQuota(id);
			return written(await replaceQuota(tx, before, applyPatch(before, patch as Patch<Partial<Quota>>)));
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<Quota>> {
		return this.#change(actor, (tx) => deleteQuota(tx, id));
	}

	async usage(quotaId: string, windowStart: EpochMillis): Promise<QuotaUsage | undefined> {
		const [row] = await this.#database.read(`${SELECT_USAGE} WHERE quota_id = ? AND window_start = ?`, [
			quotaId,
			windowStart,
		]);
		return row && fromSqlRow<QuotaUsage>(USAGE_COLUMNS, row);
	}

	async saveUsage(rows: readonly QuotaUsage[]): Promise<void> {
		if (rows.length === 0) return;
		await this.#database.transaction((session) =>
			session.runMany(
				SAVE_USAGE,
				rows.map((row) => toSqlValues(USAGE_COLUMNS, { ...row, adjustedValue: 0 })),
			),
		);
	}

	adjust(adjustment: QuotaAdjustment, actor: string): Promise<WriteResult<number>> {
		return this.#change(actor, async (tx) => {
			const { quotaId, delta, reason, windowStart, windowEnd } = adjustment;
			const fresh = { ...freshUsage(adjustment), adjustedValue: delta };
			const [row] = await tx.session.all(ADJUST, toSqlValues(USAGE_COLUMNS, fresh));
			const adjusted = row!["adjusted_value"] as number;
			await tx.audit({
				action: "quota.adjust",
				subject: quotaId,
				before: { adjusted: adjusted - delta },
				after: { adjusted, windowStart, windowEnd },
				reason,
			});
			return written(adjusted);
		});
	}

	#change<T>(actor: string, work: (tx: PolicyTransaction) => Promise<WriteResult<T>>): Promise<WriteResult<T>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, work);
	}
}

async function insertQuota(tx: PolicyTransaction, quota: NewQuota): Promise<WriteResult<Quota>> {
	if ((await findAccount(tx.session, quota.accountId)) === undefined) return unknownAccount(quota.accountId);
	const created = createdQuota(quota);
	const others = await allQuotas(tx.session);
	if (others.some(({ id }) => id === created.id)) {
		return refused("conflict", `quota "${created.id}" exists already: choose another id`, "id");
	}
	const same = others.find((other) => sayTheSame(other, created));
	if (same !== undefined) return takenBy(same);
	await tx.session.run(
		insertSql("quotas", [...COLUMNS, ...TIMES]),
		toSqlValues([...COLUMNS, ...TIMES], { ...created, createdAt: tx.at, updatedAt: tx.at }),
	);
	await tx.audit({ action: "quota.create", subject: created.id, after: created });
	return written(created);
}

async function replaceQuota(tx: PolicyTransaction, before: Quota, after: Quota): Promise<Quota> {
	const columns = [...COLUMNS, column("updatedAt")];
	await tx.session.run(updateSql("quotas", columns), [
		...toSqlValues(columns, { ...after, updatedAt: tx.at }),
		before.id,
	]);
	await tx.audit({ action: "quota.update", subject: before.id, before, after });
	return after;
}

export async function deleteQuota(tx: PolicyTransaction, id: string): Promise<WriteResult<Quota>> {
	const before = await find(tx.session, id);
	if (before === undefined) return unknownQuota(id);
	await tx.session.run("DELETE FROM quotas WHERE id = ?", [id]);
	await tx.session.run("DELETE FROM quota_usage WHERE quota_id = ?", [id]);
	await tx.audit({ action: "quota.delete", subject: id, before });
	return written(before);
}

/** Creates it, or brings the one of that id to exactly these terms; false when it has them already. */
export async function putQuota(
	tx: PolicyTransaction,
	quota: NewQuota & { readonly id: string },
): Promise<WriteResult<boolean>> {
	const before = await find(tx.session, quota.id);
	if (before === undefined) {
		const result = await insertQuota(tx, quota);
		return result.ok ? written(true) : result;
	}
	const after = createdQuota(quota);
	if (sameFields(before, after)) return written(false);
	const refusal = otherLimit(before, after);
	if (refusal !== undefined) return refusal;
	await replaceQuota(tx, before, after);
	return written(true);
}

async function allQuotas(session: SqlSession): Promise<readonly Quota[]> {
	return (await session.all(SELECT, [])).map((row) => fromSqlRow<Quota>(COLUMNS, row));
}

async function find(session: SqlSession, id: string): Promise<Quota | undefined> {
	const [row] = await session.all(`${SELECT} WHERE id = ?`, [id]);
	return row && fromSqlRow<Quota>(COLUMNS, row);
}

function unknownQuota(id: string) {
	return refused("not_found", `quota "${id}" does not exist`);
}
