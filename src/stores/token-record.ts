/** What every token store computes alike: status by time, identity from record and account. */
import { InvariantError } from "../core/model/invariant-error.ts";
import type { TokenTraits } from "../core/model/routing.ts";
import type { EpochMillis } from "../core/model/units.ts";
import type { Account, NewAccount } from "../ports/account-store.ts";
import type { TokenIdentity } from "../ports/token-reader.ts";
import type { ImportedToken, NewToken, TokenRecord, TokenStatus } from "../ports/token-store.ts";

/** A record as it is kept: the status is computed when it is shown. */
export type KeptToken = Omit<TokenRecord, "status"> & { readonly hash: string };

export function tokenStatus(token: Pick<KeptToken, "revokedAt" | "expiresAt">, now: EpochMillis): TokenStatus {
	if (token.revokedAt !== undefined && token.revokedAt <= now) return "revoked";
	return token.expiresAt !== undefined && token.expiresAt <= now ? "expired" : "active";
}

export function shownToken(token: KeptToken, now: EpochMillis): TokenRecord {
	const { hash: _, ...record } = token;
	return { ...record, status: tokenStatus(token, now) };
}

const TRAITS = [
	"priorityOverride",
	"weightOverride",
	"maxPriority",
	"mayUseCritical",
	"allowedModels",
	"maxParallelRequests",
] as const satisfies readonly (keyof TokenTraits)[];

const IDENTITY_FIELDS = [
	"accountId",
	"priorityTier",
	"environment",
	"workloadTag",
	"quotaTokensPerMonth",
	"quotaTpsLimit",
	"expiresAt",
	"revokedAt",
] as const satisfies readonly (keyof KeptToken)[];

const ACCOUNT_FIELDS = [
	"accountType",
	"accountTier",
	"organisation",
	"team",
] as const satisfies readonly (keyof Account)[];

/** Only the fields that are there, so that 10,000 cached identities stay small. */
export function tokenIdentity(token: KeptToken, account: Account): TokenIdentity {
	const traits = pick(token, TRAITS);
	return {
		hash: token.hash,
		tokenId: token.id,
		...pick(token, IDENTITY_FIELDS),
		...(Object.keys(traits).length === 0 ? {} : { traits }),
		accountStatus: account.status,
		...pick(account, ACCOUNT_FIELDS),
	};
}

function pick<T extends object, K extends keyof T>(source: T, fields: readonly K[]): Pick<T, K> {
	const picked: Partial<T> = {};
	for (const field of fields) if (source[field] !== undefined) picked[field] = source[field];
	return picked as Pick<T, K>;
}

const NEW_TOKEN_FIELDS = [
	"accountId",
	"priorityTier",
	"environment",
	"workloadTag",
	"name",
	"description",
	"quotaTokensPerMonth",
	"quotaTpsLimit",
	"expiresAt",
	...TRAITS,
] as const satisfies readonly (keyof NewToken)[];

/** What a rotated token hands to its successor. */
export function inheritedFields(token: KeptToken): NewToken {
	return pick(token, NEW_TOKEN_FIELDS);
}

export function importedFields(row: ImportedToken): NewToken {
	return {
		accountId: row.accountId,
		priorityTier: row.tier,
		...(row.environment === undefined ? {} : { environment: row.environment }),
		...(row.workload === undefined ? {} : { workloadTag: row.workload }),
		...(row.name === undefined ? {} : { name: row.name }),
	};
}

/** The account that an import makes for keys whose account is not known yet. */
export function importedAccount(row: ImportedToken): NewAccount & { readonly id: string } {
	return {
		id: row.accountId,
		email: "",
		name: row.accountId,
		accountType: row.tier === "internal" ? "internal" : "external",
	};
}

export function sha256Of(row: ImportedToken): string {
	const sha256 = row.sha256.toLowerCase();
	if (!/^[0-9a-f]{64}$/.test(sha256)) throw new InvariantError("an imported token needs sha256 of 64 hex digits");
	return sha256;
}
