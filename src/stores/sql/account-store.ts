/** Accounts in a SQL database. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Account, AccountFields, AccountFilter, AccountStore, NewAccount } from "../../ports/account-store.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { applyPatch, newId, sameFields } from "../record.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { column, columnNames, fromSqlRow, insertSql, toSqlValues, updateSql } from "./sql-columns.ts";
import { type SqlDatabase, type SqlRow, type SqlSession, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("email"),
	column("name"),
	column("accountType"),
	column("accountTier"),
	column("organisation"),
	column("team"),
	column("status"),
	column("metadata", "json"),
	column("createdAt"),
	column("updatedAt"),
];
const SELECT = `SELECT ${columnNames(COLUMNS)} FROM accounts`;

/** The account's columns beside those of a joined table, where the accounts are called `a`. */
const JOINED = COLUMNS.map((own) => ({ ...own, name: `account__${own.name}` }));
export const JOINED_ACCOUNT_COLUMNS = COLUMNS.map(({ name }) => `a.${name} AS account__${name}`).join(", ");

export function accountFromJoin(row: SqlRow): Account {
	return fromSqlRow<Account>(JOINED, row);
}

export class SqlAccountStore implements AccountStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	create(account: NewAccount, actor: string): Promise<WriteResult<Account>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, (tx) => insertAccount(tx, account));
	}

	async get(id: string): Promise<Account | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE id = ?`, [id]);
		return row && fromSqlRow<Account>(COLUMNS, row);
	}

	async list(filter: AccountFilter, page: PageRequest): Promise<Page<Account>> {
		const limit = pageLimit(page);
		const where = new Where()
			.given("account_type = ?", filter.accountType)
			.given("status = ?", filter.status)
			.given("organisation = ?", filter.organisation)
			.given("id > ?", cursorKeys(page, ["string"])?.[0]);
		const rows = await this.#database.read(`${SELECT} ${where.toSql()} ORDER BY id LIMIT ?`, [
			...where.parameters,
			limit + 1,
		]);
		return toPage(
			rows.map((row) => fromSqlRow<Account>(COLUMNS, row)),
			limit,
			(account) => [account.id],
		);
	}

	update(id: string, patch: Patch<AccountFields>, actor: string): Promise<WriteResult<Account>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, async (tx) => {
			const before = await findAccount(tx.session, id);
			if (before === undefined) return refused("not_found", `account "${id}" does not exist`);
			return written(await replaceAccount(tx, before, applyPatch(before, patch), "account.update"));
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<Account>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, (tx) => deleteAccount(tx, id));
	}
}

export async function findAccount(session: SqlSession, id: string): Promise<Account | undefined> {
	const [row] = await session.all(`${SELECT} WHERE id = ?`, [id]);
	return row && fromSqlRow<Account>(COLUMNS, row);
}

export async function insertAccount(tx: PolicyTransaction, account: NewAccount): Promise<WriteResult<Account>> {
	const id = account.id ?? newId("acct");
	if ((await findAccount(tx.session, id)) !== undefined) {
		return refused("conflict", `account "${id}" exists already: choose another id or change that account`, "id");
	}
	const created: Account = { status: "active", ...account, id, createdAt: tx.at, updatedAt: tx.at };
	await tx.session.run(insertSql("accounts", COLUMNS), toSqlValues(COLUMNS, created));
	await tx.audit({ action: "account.create", subject: id, after: created });
	return written(created);
}

export async function deleteAccount(tx: PolicyTransaction, id: string): Promise<WriteResult<Account>> {
	const before = await findAccount(tx.session, id);
	if (before === undefined || before.status === "deleted") {
		return refused("not_found", `account "${id}" does not exist or is deleted already`);
	}
	return written(await replaceAccount(tx, before, { ...before, status: "deleted" }, "account.delete"));
}

/** Creates it, or brings it to exactly these fields; false when it has them already. */
export async function putAccount(
	tx: PolicyTransaction,
	account: NewAccount & { readonly id: string },
): Promise<boolean> {
	const before = await findAccount(tx.session, account.id);
	if (before === undefined) return (await insertAccount(tx, account)).ok;
	const after: Account = { status: "active", ...account, createdAt: before.createdAt, updatedAt: before.updatedAt };
	if (sameFields(before, after)) return false;
	await replaceAccount(tx, before, after, "account.update");
	return true;
}

async function replaceAccount(tx: PolicyTransaction, before: Account, next: Account, action: string): Promise<Account> {
	const after: Account = { ...next, updatedAt: tx.at };
	await tx.session.run(updateSql("accounts", COLUMNS), [...toSqlValues(COLUMNS, after), before.id]);
	await tx.audit({ action, subject: before.id, before, after });
	return after;
}
