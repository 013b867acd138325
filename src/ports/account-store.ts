/**
 * Accounts: who is billed and scheduled for. Every write stands in one transaction with its audit row.
 */
import type { EpochMillis } from "../core/model/units.ts";
import type { Page, PageRequest } from "./page.ts";
import type { Patch, WriteResult } from "./write-result.ts";

export const ACCOUNT_TYPES = ["internal", "external"] as const;
export type AccountType = (typeof ACCOUNT_TYPES)[number];

export const ACCOUNT_STATUSES = ["active", "suspended", "deleted"] as const;
export type AccountStatus = (typeof ACCOUNT_STATUSES)[number];

export interface AccountFields {
	readonly email: string;
	readonly name: string;
	readonly accountType: AccountType;
	readonly accountTier?: string;
	readonly organisation?: string;
	readonly team?: string;
	readonly status: AccountStatus;
	readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface Account extends AccountFields {
	/** A free string, such as `customer-1-uuid`. */
	readonly id: string;
	readonly createdAt: EpochMillis;
	readonly updatedAt: EpochMillis;
}

/** `id` is made when absent; `status` is `active` when absent. */
export type NewAccount = Omit<AccountFields, "status"> & { readonly id?: string; readonly status?: AccountStatus };

export interface AccountFilter {
	readonly accountType?: AccountType;
	readonly status?: AccountStatus;
	readonly organisation?: string;
}

export interface AccountStore {
	/** Refuses (`conflict`) an id that is taken, also by a deleted account. */
	create(account: NewAccount, actor: string): Promise<WriteResult<Account>>;
	get(id: string): Promise<Account | undefined>;
	/** In order of id. */
	list(filter: AccountFilter, page: PageRequest): Promise<Page<Account>>;
	update(id: string, patch: Patch<AccountFields>, actor: string): Promise<WriteResult<Account>>;
	/** Sets the status `deleted`: its ledger rows and tokens stay for the record, its tokens are refused. */
	delete(id: string, actor: string): Promise<WriteResult<Account>>;
}
