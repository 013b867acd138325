/**
 * Tokens under management. The text of a token leaves the store once, in the answer to `create` and `rotate`. Every write
 * stands in one transaction with its audit row. Counters (`totalRequests`, `lastUsedAt`) are moved by the ledger's batches.
 */
import type { TokenTraits } from "../core/model/routing.ts";
import type { EpochMillis, Millis, Tokens } from "../core/model/units.ts";
import type { Page, PageRequest } from "./page.ts";
import type { TokenReader } from "./token-reader.ts";
import type { WriteResult } from "./write-result.ts";

export interface NewToken extends TokenTraits {
	readonly accountId: string;
	readonly priorityTier: string;
	readonly environment?: string;
	readonly workloadTag?: string;
	readonly name?: string;
	readonly description?: string;
	readonly quotaTokensPerMonth?: Tokens;
	readonly quotaTpsLimit?: number;
	/** May lie in the past. */
	readonly expiresAt?: EpochMillis;
}

export type TokenStatus = "active" | "revoked" | "expired";

export interface TokenRecord extends NewToken {
	readonly id: string;
	/** First 20 characters and `****`; for imported ones `sha256:` and the start of the hash. */
	readonly tokenPrefix: string;
	/** At the time of the call. */
	readonly status: TokenStatus;
	readonly totalRequests: number;
	readonly lastUsedAt?: EpochMillis;
	readonly revokedAt?: EpochMillis;
	readonly revokedReason?: string;
	readonly createdAt: EpochMillis;
}

/** `hash` is what caches forget or learn; `token` is the text, seen here and never again. */
export interface IssuedToken {
	readonly token: string;
	readonly hash: string;
	readonly record: TokenRecord;
}

export interface RotatedToken extends IssuedToken {
	readonly replacedId: string;
	readonly replacedHash: string;
}

export interface RevokedToken {
	readonly hash: string;
	readonly record: TokenRecord;
}

/** One line of an import: a key that exists elsewhere, by its hash. */
export interface ImportedToken {
	/** 64 hex digits. */
	readonly sha256: string;
	readonly accountId: string;
	readonly tier: string;
	readonly environment?: string;
	readonly workload?: string;
	readonly name?: string;
}

export interface ImportSummary {
	readonly imported: number;
	/** Already known, left as they are. */
	readonly skipped: number;
	/** Accounts that did not exist and were made: internal for tier `internal`, else external. */
	readonly createdAccounts: readonly string[];
}

export interface TokenFilter {
	readonly accountId?: string;
	readonly status?: TokenStatus;
}

export interface TokenStore extends TokenReader {
	/** Refuses (`not_found`, field `accountId`) an account that does not exist or is deleted. */
	create(token: NewToken, actor: string): Promise<WriteResult<IssuedToken>>;
	get(id: string): Promise<TokenRecord | undefined>;
	/** In order of creation. */
	list(filter: TokenFilter, page: PageRequest): Promise<Page<TokenRecord>>;
	/** Refuses (`not_found`) an unknown or already revoked token. */
	revoke(id: string, reason: string | undefined, actor: string): Promise<WriteResult<RevokedToken>>;
	/** A new token with the same traits; the old one expires after `graceMs` (0: it is revoked now). Refuses revoked and expired ones. */
	rotate(id: string, graceMs: Millis, actor: string): Promise<WriteResult<RotatedToken>>;
	/** All or nothing; a second import of the same rows changes nothing. */
	import(rows: readonly ImportedToken[], actor: string): Promise<ImportSummary>;
}
