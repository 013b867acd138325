/**
 * The ledger: one row per settled request, for good. Idempotent by our own request id, never by one that a client chose.
 */
import type { EpochMillis, Millis, NanoDollars, Tokens } from "../core/model/units.ts";
import type { Page, PageRequest } from "./page.ts";

export interface LedgerRow {
	/** Ours, unique for good. */
	readonly requestId: string;
	/** What the client sent as `X-Request-ID`, if anything: for search only. */
	readonly clientRequestId?: string;
	readonly accountId: string;
	readonly organisation?: string;
	readonly team?: string;
	readonly tokenId?: string;
	readonly tier: string;
	readonly environment?: string;
	readonly workload?: string;
	readonly routedBy: string;
	readonly model: string;
	readonly provider?: string;
	readonly operation: string;
	/** Includes `cachedTokens`. */
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly cachedTokens: Tokens;
	readonly usageSource: "measured" | "estimated";
	/** `P1`, `B3`. */
	readonly queue: string;
	readonly waitMs: Millis;
	/** Absent when no token came. */
	readonly timeToFirstTokenMs?: Millis;
	readonly durationMs: Millis;
	/** `completed`, `client_closed`, `upstream_error`, …; `unknown` for a request that was in flight when a process died. */
	readonly outcome: string;
	readonly errorCode?: string;
	readonly costNanoDollars: NanoDollars;
	readonly startedAt: EpochMillis;
	/** Reports group and filter by this one; days are UTC. */
	readonly settledAt: EpochMillis;
}

export interface LedgerFilter {
	readonly accountId?: string;
	readonly tokenId?: string;
	readonly organisation?: string;
	readonly team?: string;
	readonly model?: string;
	readonly environment?: string;
	readonly outcome?: string;
	/** Inclusive. */
	readonly since?: EpochMillis;
	/** Exclusive. */
	readonly until?: EpochMillis;
}

export const LEDGER_GROUPS = [
	"account",
	"token",
	"organisation",
	"team",
	"model",
	"environment",
	"day",
	"outcome",
] as const;
export type LedgerGroup = (typeof LEDGER_GROUPS)[number];

export interface LedgerSum {
	/** One value per requested group; "" where rows have none. `day` is `YYYY-MM-DD`. */
	readonly group: Readonly<Partial<Record<LedgerGroup, string>>>;
	readonly requests: number;
	/** Of them with usage that no engine reported. */
	readonly estimatedRequests: number;
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly cachedTokens: Tokens;
	/** A bigint: a sum may pass 2^53 nano-dollars (9 million dollars). */
	readonly costNanoDollars: bigint;
	readonly firstAt?: EpochMillis;
	readonly lastAt?: EpochMillis;
}

export interface LedgerStore {
	/** Adds the rows that are not there yet, all or nothing, and moves the counters of their tokens; answers how many were new. */
	append(rows: readonly LedgerRow[]): Promise<number>;
	get(requestId: string): Promise<LedgerRow | undefined>;
	/** Newest first. */
	list(filter: LedgerFilter, page: PageRequest): Promise<Page<LedgerRow>>;
	/** Without groups one sum over everything (also when nothing matches). In order of the groups; at most `limit` (10,000) rows. */
	sum(filter: LedgerFilter, groups: readonly LedgerGroup[], limit?: number): Promise<readonly LedgerSum[]>;
}
