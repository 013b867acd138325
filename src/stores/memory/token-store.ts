/** Tokens in memory. */
import { hashPrefix, tokenPrefix } from "../../core/identity/token-form.ts";
import type { Millis } from "../../core/model/units.ts";
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
import { insertAccount } from "./account-store.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";

export class MemoryTokenStore implements TokenStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async find(hash: string): Promise<TokenIdentity | undefined> {
		const token = this.#state.tokens.get(this.#state.tokenIdsByHash.get(hash) ?? "");
		return token && this.#identity(token);
	}

	async active(afterHash: string | undefined, limit: number): Promise<readonly TokenIdentity[]> {
		const now = this.#state.epochNow();
		return [...this.#state.tokens.values()]
			.filter((token) => tokenStatus(token, now) === "active" && (afterHash === undefined || token.hash > afterHash))
			.sort((a, b) => (a.hash < b.hash ? -1 : 1))
			.slice(0, limit)
			.map((token) => this.#identity(token));
	}

	async get(id: string): Promise<TokenRecord | undefined> {
		const token = this.#state.tokens.get(id);
		return token && shownToken(token, this.#state.epochNow());
	}

	async list(filter: TokenFilter, page: PageRequest): Promise<Page<TokenRecord>> {
		const limit = pageLimit(page);
		const now = this.#state.epochNow();
		const [at, id] = (cursorKeys(page, ["number", "string"]) ?? []) as [number?, string?];
		const found = [...this.#state.tokens.values()]
			.filter(
				(token) =>
					(filter.accountId === undefined || token.accountId === filter.accountId) &&
					(filter.status === undefined || tokenStatus(token, now) === filter.status) &&
					(at === undefined || token.createdAt > at || (token.createdAt === at && token.id > (id ?? ""))),
			)
			.sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
		return toPage(
			found.slice(0, limit + 1).map((token) => shownToken(token, now)),
			limit,
			(token) => [token.createdAt, token.id],
		);
	}

	create(token: NewToken, actor: string): Promise<WriteResult<IssuedToken>> {
		return this.#state.change(actor, (change) => {
			return withoutAccount(this.#state, token) ?? written(this.#issue(change, token));
		});
	}

	revoke(id: string, reason: string | undefined, actor: string): Promise<WriteResult<RevokedToken>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.tokens.get(id);
			if (before === undefined || before.revokedAt !== undefined) {
				return refused("not_found", `token "${id}" does not exist or is revoked already`);
			}
			const after = { ...before, revokedAt: change.at, ...(reason === undefined ? {} : { revokedReason: reason }) };
			this.#replace(change, before, after, "token.revoke", reason);
			return written({ hash: before.hash, record: shownToken(after, change.at) });
		});
	}

	rotate(id: string, graceMs: Millis, actor: string): Promise<WriteResult<RotatedToken>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.tokens.get(id);
			if (before === undefined || tokenStatus(before, change.at) !== "active") {
				return refused("not_found", `token "${id}" does not exist, or is revoked or expired: create a new one`);
			}
			const end = change.at + Math.max(0, graceMs);
			const after: KeptToken =
				graceMs > 0
					? { ...before, expiresAt: Math.min(end, before.expiresAt ?? end) }
					: { ...before, revokedAt: change.at, revokedReason: "rotated" };
			this.#replace(change, before, after, "token.rotate", undefined);
			const issued = this.#issue(change, inheritedFields(before));
			return written({ ...issued, replacedId: before.id, replacedHash: before.hash });
		});
	}

	async import(rows: readonly ImportedToken[], actor: string): Promise<ImportSummary> {
		const result = await this.#state.change(actor, (change) => {
			let imported = 0;
			const createdAccounts: string[] = [];
			for (const row of rows) {
				const hash = sha256Of(row);
				if (this.#state.tokenIdsByHash.has(hash)) continue;
				if (!this.#state.accounts.has(row.accountId)) {
					insertAccount(this.#state, change, importedAccount(row));
					createdAccounts.push(row.accountId);
				}
				insertToken(this.#state, change, importedFields(row), hash, hashPrefix(hash), "token.import");
				imported++;
			}
			return written({ imported, skipped: rows.length - imported, createdAccounts });
		});
		if (!result.ok) throw new Error(result.message);
		return result.value;
	}

	#identity(token: KeptToken): TokenIdentity {
		return tokenIdentity(token, this.#state.accounts.get(token.accountId)!);
	}

	#issue(change: MemoryChange, fields: NewToken): IssuedToken {
		const token = newTokenText(fields.priorityTier, fields.environment);
		const hash = tokenHash(token);
		return { token, hash, record: insertToken(this.#state, change, fields, hash, tokenPrefix(token), "token.create") };
	}

	#replace(
		change: MemoryChange,
		before: KeptToken,
		after: KeptToken,
		action: string,
		reason: string | undefined,
	): void {
		this.#state.tokens.set(before.id, after);
		change.audit({
			action,
			subject: before.id,
			before: shownToken(before, change.at),
			after: shownToken(after, change.at),
			...(reason === undefined ? {} : { reason }),
		});
	}
}

function withoutAccount(state: MemoryState, token: NewToken): WriteRefusal | undefined {
	const account = state.accounts.get(token.accountId);
	if (account !== undefined && account.status !== "deleted") return undefined;
	return refused("not_found", `account "${token.accountId}" does not exist: create it first`, "accountId");
}

/** False when the key is known. */
export function importToken(
	state: MemoryState,
	change: MemoryChange,
	sha256: string,
	token: NewToken,
): WriteResult<boolean> {
	if (state.tokenIdsByHash.has(sha256)) return written(false);
	const refusal = withoutAccount(state, token);
	if (refusal !== undefined) return refusal;
	insertToken(state, change, token, sha256, hashPrefix(sha256), "token.import");
	return written(true);
}

function insertToken(
	state: MemoryState,
	change: MemoryChange,
	fields: NewToken,
	hash: string,
	prefix: string,
	action: string,
): TokenRecord {
	const kept: KeptToken = {
		...fields,
		id: newId("token"),
		hash,
		tokenPrefix: prefix,
		totalRequests: 0,
		createdAt: change.at,
	};
	state.tokens.set(kept.id, kept);
	state.tokenIdsByHash.set(hash, kept.id);
	const record = shownToken(kept, change.at);
	change.audit({ action, subject: kept.id, after: record });
	return record;
}
