/** Time windows in a SQL database. */
import { compareWindows, type TimeWindow } from "../../core/allocate/time-window.ts";
import { type EpochMillis, MILLIS_PER_SECOND } from "../../core/model/units.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewWindow, WindowStore } from "../../ports/window-store.ts";
import { type Patch, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, sameFields } from "../record.ts";
import { createdWindow, takenBy, unknownWindow } from "../window-record.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { column, columnNames, fromSqlRow, insertSql, toSqlValues, updateSql } from "./sql-columns.ts";
import { type SqlDatabase, type SqlRow, type SqlSession, type SqlValue, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("name"),
	column("scheduleType"),
	column("scheduleExpr"),
	column("durationSec"),
	column("timezone"),
	column("enabled", "boolean"),
	column("order", "plain", "window_order"),
	column("rules", "json"),
];
const UPDATED = [...COLUMNS, column("updatedAt")];
const SELECT = `SELECT ${columnNames(COLUMNS)} FROM time_windows`;

export class SqlWindowStore implements WindowStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	async all(): Promise<readonly TimeWindow[]> {
		return (await this.#database.read(SELECT, [])).map(toWindow).sort(compareWindows);
	}

	async list(page: PageRequest): Promise<Page<TimeWindow>> {
		const limit = pageLimit(page);
		const where = new Where().given("id > ?", cursorKeys(page, ["string"])?.[0]);
		const rows = await this.#database.read(`${SELECT} ${where.toSql()} ORDER BY id LIMIT ?`, [
			...where.parameters,
			limit + 1,
		]);
		return toPage(rows.map(toWindow), limit, (window) => [window.id]);
	}

	async get(id: string): Promise<TimeWindow | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE id = ?`, [id]);
		return row && toWindow(row);
	}

	create(window: NewWindow, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#change(actor, (tx) => insertWindow(tx, window));
	}

	update(id: string, patch: Patch<Omit<TimeWindow, "id">>, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#change(actor, async (tx) => {
			const windows = await allWindows(tx.session);
			const before = windows.find((window) => window.id === id);
			if (before === undefined) return unknownWindow(id);
			const after: TimeWindow = { ...applyPatch(before, patch), id };
			const others = windows.filter((window) => window !== before);
			return takenBy(others, after) ?? written(await replaceWindow(tx, before, after));
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<TimeWindow>> {
		return this.#change(actor, async (tx) => (await deleteWindow(tx, "id", id)) ?? unknownWindow(id));
	}

	#change<T>(actor: string, work: (tx: PolicyTransaction) => Promise<WriteResult<T>>): Promise<WriteResult<T>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, work);
	}
}

async function insertWindow(tx: PolicyTransaction, window: NewWindow): Promise<WriteResult<TimeWindow>> {
	const created = createdWindow(window);
	const refusal = takenBy(await allWindows(tx.session), created);
	if (refusal !== undefined) return refusal;
	const columns = [...UPDATED, column("createdAt")];
	await tx.session.run(insertSql("time_windows", columns), [...toRow(created, tx.at), tx.at]);
	await tx.audit({ action: "time_window.create", subject: created.id, after: created });
	return written(created);
}

async function replaceWindow(tx: PolicyTransaction, before: TimeWindow, after: TimeWindow): Promise<TimeWindow> {
	await tx.session.run(updateSql("time_windows", UPDATED), [...toRow(after, tx.at), before.id]);
	await tx.audit({ action: "time_window.update", subject: before.id, before, after });
	return after;
}

/** Undefined when there is none. */
export async function deleteWindow(
	tx: PolicyTransaction,
	by: "id" | "name",
	key: string,
): Promise<WriteResult<TimeWindow> | undefined> {
	const before = (await allWindows(tx.session)).find((window) => window[by] === key);
	if (before === undefined) return undefined;
	await tx.session.run("DELETE FROM time_windows WHERE id = ?", [before.id]);
	await tx.audit({ action: "time_window.delete", subject: before.id, before });
	return written(before);
}

/** Creates it, or brings the one of that name to exactly these fields; false when it has them already. */
export async function putWindow(tx: PolicyTransaction, window: NewWindow): Promise<WriteResult<boolean>> {
	const before = (await allWindows(tx.session)).find(({ name }) => name === window.name);
	if (before === undefined) {
		const result = await insertWindow(tx, window);
		return result.ok ? written(true) : result;
	}
	const after = createdWindow({ ...window, id: before.id });
	if (sameFields(before, after)) return written(false);
	await replaceWindow(tx, before, after);
	return written(true);
}

async function allWindows(session: SqlSession): Promise<readonly TimeWindow[]> {
	return (await session.all(SELECT, [])).map(toWindow);
}

function toWindow(row: SqlRow): TimeWindow {
	const { durationSec, ...window } = fromSqlRow<Omit<TimeWindow, "durationMs"> & { durationSec: number }>(COLUMNS, row);
	return { ...window, durationMs: durationSec * MILLIS_PER_SECOND };
}

function toRow(window: TimeWindow, at: EpochMillis): SqlValue[] {
	return toSqlValues(UPDATED, { ...window, durationSec: window.durationMs / MILLIS_PER_SECOND, updatedAt: at });
}
