/**
 * Quotas as data: what is limited, and what a period of them remembers beside the ledger. What was used is the ledger's to say; here stand the
 * adjustments by hand, the alerts that were sent, and a checkpoint that saves summing a whole month at each start.
 */

import type { EpochMillis } from "../core/model/units.ts";
import type { Quota } from "../core/quota/quota.ts";
import type { Page, PageRequest } from "./page.ts";
import type { Patch, WriteResult } from "./write-result.ts";

/** `id` is made when absent; `allowBorrow` and `lend` are true when absent. */
export type NewQuota = Omit<Quota, "id" | "allowBorrow" | "lend"> & {
	readonly id?: string;
	readonly allowBorrow?: boolean;
	readonly lend?: boolean;
};

/** One period of one budget. Values are in the counted unit (tokens, nano-dollars, requests). */
export interface QuotaUsage {
	readonly quotaId: string;
	readonly windowStart: EpochMillis;
	readonly windowEnd: EpochMillis;
	/** Used by everything that settled before `countedUntil`. */
	readonly usedValue: number;
	/** 0: there is no checkpoint. */
	readonly countedUntil: EpochMillis;
	readonly adjustedValue: number;
	/** Highest alert sent: 0, 80, 90, 100. */
	readonly alertedPct: number;
}

export interface QuotaStore {
	/** In order of creation. */
	all(): Promise<readonly Quota[]>;
	/** In order of id. */
	list(page: PageRequest): Promise<Page<Quota>>;
	get(id: string): Promise<Quota | undefined>;
	/** Refuses (`not_found`) an unknown account, and (`conflict`) an id that is taken or a second quota that says the same. */
	create(quota: NewQuota, actor: string): Promise<WriteResult<Quota>>;
	/** Limit, type and terms; what is limited stays what it is. */
	update(id: string, patch: Patch<QuotaTerms>, actor: string): Promise<WriteResult<Quota>>;
	delete(id: string, actor: string): Promise<WriteResult<Quota>>;
	usage(quotaId: string, windowStart: EpochMillis): Promise<QuotaUsage | undefined>;
	/** Writes checkpoints and alerts; adjustments are left as they are. */
	saveUsage(rows: readonly QuotaUsage[]): Promise<void>;
	/** Adds to the limit of one period, audited; answers the sum of adjustments. */
	adjust(adjustment: QuotaAdjustment, actor: string): Promise<WriteResult<number>>;
}

export type QuotaTerms = Pick<
	Quota,
	"quotaType" | "limitValue" | "allowBorrow" | "maxBorrowPct" | "lend" | "resetDay" | "timezone"
>;

export interface QuotaAdjustment {
	readonly quotaId: string;
	readonly windowStart: EpochMillis;
	readonly windowEnd: EpochMillis;
	readonly delta: number;
	readonly reason: string;
}
