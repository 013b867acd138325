/** Tokens in a SQL database. Status is computed from `revoked_at` and `expires_at` at the time of the call. */
import { hashPrefix, tokenPrefix } from "../../core/identity/token-form.ts";
import type { EpochMillis, Millis } from "../../core/model/units.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { TokenIdentity } from "../../ports/token-reader.ts";
import type {
	ImportedToken,
	ImportSummary,
	IssuedToken,
	NewToken,
	RevokedToken,
	RotatedToken,
	TokenFilter,
	TokenRecord,
	TokenStore,
} from "../../ports/token-store.ts";
import { refused, type WriteRefusal, type WriteResult, written } from "../../ports/write-result.ts";
import { newId } from "../record.ts";
import {
	importedAccount,
	importedFields,
	inheritedFields,
	type KeptToken,
	sha256Of,
	shownToken,
	tokenIdentity,
	tokenStatus,
} from "../token-record.ts";
import { newTokenText, tokenHash } from "../token-secret.ts";
import { accountFromJoin, findAccount, insertAccount, JOINED_ACCOUNT_COLUMNS } from "./account-store.ts";
import { type PolicyTransaction, policyTransaction } from "./policy-transaction.ts";
import { column, fromSqlRow, insertSql, toSqlValues, updateSql } from "./sql-columns.ts";
import { type SqlDatabase, type SqlSession, Where } from "./sql-database.ts";

const COLUMNS = [
	column("id"),
	column("hash", "plain", "token_hash"),
	column("tokenPrefix"),
	column("accountId"),
	column("priorityTier"),
	column("environment"),
	column("workloadTag"),
	column("name"),
	column("description"),
	column("quotaTokensPerMonth"),
	column("quotaTpsLimit"),
	column("priorityOverride"),
	column("weightOverride"),
	column("maxPriority"),
	column("mayUseCritical", "boolean"),
	column("allowedModels", "json"),
	column("maxParallelRequests"),
	column("totalRequests"),
	column("lastUsedAt"),
	column("expiresAt"),
	column("revokedAt"),
	column("revokedReason"),
	column("createdAt"),
];
/** What a change to a token may touch; its counters belong to the ledger. */
const ENDING_COLUMNS = COLUMNS.filter(({ field }) => ["expiresAt", "revokedAt", "revokedReason"].includes(field));
const NAMES = COLUMNS.map(({ name }) => `t.${name} AS ${name}`).join(", ");
const SELECT = `SELECT ${NAMES} FROM api_tokens t`;
const SELECT_IDENTITY = `SELECT ${NAMES}, ${JOINED_ACCOUNT_COLUMNS} FROM api_tokens t JOIN accounts a ON a.id = t.account_id`;

const STATUS_CONDITIONS = {
	revoked: "t.revoked_at IS NOT NULL AND t.revoked_at <= ?",
	expired: "t.revoked_at IS NULL AND t.expires_at <= ?",
	active: "t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > ?)",
} as const;

export class SqlTokenStore implements TokenStore {
	readonly #database: SqlDatabase;
	readonly #epochNow: () => EpochMillis;

	constructor(database: SqlDatabase, epochNow: () => EpochMillis) {
		this.#database = database;
		this.#epochNow = epochNow;
	}

	async find(hash: string): Promise<TokenIdentity | undefined> {
		const [row] = await this.#database.read(`${SELECT_IDENTITY} WHERE t.token_hash = ?`, [hash]);
		return row && tokenIdentity(fromSqlRow<KeptToken>(COLUMNS, row), accountFromJoin(row));
	}

	async active(afterHash: string | undefined, limit: number): Promise<readonly TokenIdentity[]> {
		const where = new Where().given(STATUS_CONDITIONS.active, this.#epochNow()).given("t.token_hash > ?", afterHash);
		const rows = await this.#database.read(`${SELECT_IDENTITY} ${where.toSql()} ORDER BY t.token_hash LIMIT ?`, [
			...where.parameters,
			limit,
		]);
		return rows.map((row) => tokenIdentity(fromSqlRow<KeptToken>(COLUMNS, row), accountFromJoin(row)));
	}

	async get(id: string): Promise<TokenRecord | undefined> {
		const [row] = await this.#database.read(`${SELECT} WHERE t.id = ?`, [id]);
		return row && shownToken(fromSqlRow<KeptToken>(COLUMNS, row), this.#epochNow());
	}

	async list(filter: TokenFilter, page: PageRequest): Promise<Page<TokenRecord>> {
		const limit = pageLimit(page);
		const now = this.#epochNow();
		const [createdAt, id] = cursorKeys(page, ["number", "string"]) ?? [];
		const where = new Where()
			.given("t.account_id = ?", filter.accountId)
			.given("(t.created_at > ? OR (t.created_at = ? AND t.id > ?))", createdAt, createdAt, id);
		if (filter.status !== undefined) where.given(STATUS_CONDITIONS[filter.status], now);
		const rows = await this.#database.read(`${SELECT} ${where.toSql()} ORDER BY t.created_at, t.id LIMIT ?`, [
			...where.parameters,
			limit + 1,
		]);
		return toPage(
			rows.map((row) => shownToken(fromSqlRow<KeptToken>(COLUMNS, row), now)),
			limit,
			(token) => [token.createdAt, token.id],
		);
	}

	create(token: NewToken, actor: string): Promise<WriteResult<IssuedToken>> {
		return this.#change(actor, async (tx) => {
			return (await withoutAccount(tx.session, token)) ?? written(await issueToken(tx, token, "token.create"));
		});
	}

	revoke(id: string, reason: string | undefined, actor: string): Promise<WriteResult<RevokedToken>> {
		return this.#change(actor, async (tx) => {
			const before = await findToken(tx.session, id);
			if (before === undefined || before.revokedAt !== undefined) {
				return refused("not_found", `token "${id}" does not exist or is revoked already`);
			}
			const after = { ...before, revokedAt: tx.at, ...(reason === undefined ? {} : { revokedReason: reason }) };
			await replaceToken(tx, before, after, "token.revoke", reason);
			return written({ hash: before.hash, record: shownToken(after, tx.at) });
		});
	}

	rotate(id: string, graceMs: Millis, actor: string): Promise<WriteResult<RotatedToken>> {
		return this.#change(actor, async (tx) => {
			const before = await findToken(tx.session, id);
			if (before === undefined || tokenStatus(before, tx.at) !== "active") {
				return refused("not_found", `token "${id}" does not exist, or is revoked or expired: create a new one`);
			}
			const end = tx.at + Math.max(0, graceMs);
			const after: KeptToken =
				graceMs > 0
					? { ...before, expiresAt: Math.min(end, before.expiresAt ?? end) }
					: { ...before, revokedAt: tx.at, revokedReason: "rotated" };
			await replaceToken(tx, before, after, "token.rotate", undefined);
			const issued = await issueToken(tx, inheritedFields(before), "token.create");
			return written({ ...issued, replacedId: before.id, replacedHash: before.hash });
		});
	}

	async import(rows: readonly ImportedToken[], actor: string): Promise<ImportSummary> {
		const result = await this.#change(actor, async (tx) => {
			let imported = 0;
			const createdAccounts: string[] = [];
			for (const row of rows) {
				const hash = sha256Of(row);
				const known = await tx.session.all("SELECT id FROM api_tokens WHERE token_hash = ?", [hash]);
				if (known.length > 0) continue;
				if ((await findAccount(tx.session, row.accountId)) === undefined) {
					await insertAccount(tx, importedAccount(row));
					createdAccounts.push(row.accountId);
				}
				await insertToken(tx, importedFields(row), hash, hashPrefix(hash), "token.import");
				imported++;
			}
			return written({ imported, skipped: rows.length - imported, createdAccounts });
		});
		if (!result.ok) throw new Error(result.message);
		return result.value;
	}

	#change<T>(actor: string, work: (tx: PolicyTransaction) => Promise<WriteResult<T>>): Promise<WriteResult<T>> {
		return policyTransaction(this.#database, this.#epochNow(), actor, work);
	}
}

async function withoutAccount(session: SqlSession, token: NewToken): Promise<WriteRefusal | undefined> {
	const account = await findAccount(session, token.accountId);
	if (account !== undefined && account.status !== "deleted") return undefined;
	return refused("not_found", `account "${token.accountId}" does not exist: create it first`, "accountId");
}

/** False when the key is known. */
export async function importToken(
	tx: PolicyTransaction,
	sha256: string,
	token: NewToken,
): Promise<WriteResult<boolean>> {
	const known = await tx.session.all("SELECT id FROM api_tokens WHERE token_hash = ?", [sha256]);
	if (known.length > 0) return written(false);
	const refusal = await withoutAccount(tx.session, token);
	if (refusal !== undefined) return refusal;
	await insertToken(tx, token, sha256, hashPrefix(sha256), "token.import");
	return written(true);
}

async function findToken(session: SqlSession, id: string): Promise<KeptToken | undefined> {
	const [row] = await session.all(`${SELECT} WHERE t.id = ?`, [id]);
	return row && fromSqlRow<KeptToken>(COLUMNS, row);
}

async function issueToken(tx: PolicyTransaction, fields: NewToken, action: string): Promise<IssuedToken> {
	const token = newTokenText(fields.priorityTier, fields.environment);
	const hash = tokenHash(token);
	return { token, hash, record: await insertToken(tx, fields, hash, tokenPrefix(token), action) };
}

async function insertToken(
	tx: PolicyTransaction,
	fields: NewToken,
	hash: string,
	prefix: string,
	action: string,
): Promise<TokenRecord> {
	const kept: KeptToken = {
		...fields,
		id: newId("token"),
		hash,
		tokenPrefix: prefix,
		totalRequests: 0,
		createdAt: tx.at,
	};
	await tx.session.run(insertSql("api_tokens", COLUMNS), toSqlValues(COLUMNS, kept));
	const record = shownToken(kept, tx.at);
	await tx.audit({ action, subject: kept.id, after: record });
	return record;
}

async function replaceToken(
	tx: PolicyTransaction,
	before: KeptToken,
	after: KeptToken,
	action: string,
	reason: string | undefined,
): Promise<void> {
	await tx.session.run(updateSql("api_tokens", ENDING_COLUMNS), [...toSqlValues(ENDING_COLUMNS, after), before.id]);
	await tx.audit({
		action,
		subject: before.id,
		before: shownToken(before, tx.at),
		after: shownToken(after, tx.at),
		...(reason === undefined ? {} : { reason }),
	});
}
