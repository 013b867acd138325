/**
 * The read side of tokens, all that serving a request needs. Implemented by the database, by a token file and by the snapshot
 * on disk. A token is known here by the SHA-256 of its text (64 lower-case hex digits); the text itself is stored nowhere.
 */
import type { TokenTraits } from "../core/model/routing.ts";
import type { EpochMillis, Tokens } from "../core/model/units.ts";
import type { AccountStatus, AccountType } from "./account-store.ts";

/** A token with what its account adds, as one look-up answers it. Revoked and expired ones are answered too. */
export interface TokenIdentity {
	readonly hash: string;
	readonly tokenId: string;
	readonly accountId: string;
	readonly priorityTier: string;
	readonly environment?: string;
	readonly workloadTag?: string;
	readonly traits?: TokenTraits;
	readonly quotaTokensPerMonth?: Tokens;
	readonly quotaTpsLimit?: number;
	readonly expiresAt?: EpochMillis;
	readonly revokedAt?: EpochMillis;
	readonly accountStatus: AccountStatus;
	readonly accountType?: AccountType;
	readonly accountTier?: string;
	readonly organisation?: string;
	readonly team?: string;
}

export interface TokenReader {
	/** Rejects with `StoreError` when the store does not answer; undefined means the store knows no such token. */
	find(hash: string): Promise<TokenIdentity | undefined>;
	/** Tokens that are neither revoked nor expired, in order of hash, `limit` at a time after `afterHash`: for the snapshot. */
	active(afterHash: string | undefined, limit: number): Promise<readonly TokenIdentity[]>;
}
