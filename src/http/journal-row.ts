/** The ledger row of an exchange, as the journal takes it at the start and at the end. */
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import type { EpochMillis, Millis, NanoDollars } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { LedgerRow } from "../ports/ledger-store.ts";

export type { Journal } from "../ports/journal.ts";

export interface LedgerRowOf {
	readonly requestId: string;
	readonly clientRequestId: string | undefined;
	readonly arrival: Arrival;
	readonly provider: string;
	readonly queue: string;
	readonly usage: Usage;
	readonly waitMs: Millis;
	readonly ttftMs: Millis | undefined;
	readonly durationMs: Millis;
	readonly outcome: string;
	readonly errorCode: string | undefined;
	readonly cost: NanoDollars;
	readonly startedAt: EpochMillis;
}

/** Twice per request: absent fields are left out by assignment, which costs a tenth of spreading them in. */
export function ledgerRow(of: LedgerRowOf): LedgerRow {
	const { metadata, model, facts } = of.arrival;
	const row: Mutable<LedgerRow> = {
		requestId: of.requestId,
		accountId: metadata.accountId,
		tier: metadata.tier,
		routedBy: metadata.routedBy,
		model,
		provider: of.provider,
		operation: facts.operation,
		promptTokens: of.usage.promptTokens,
		completionTokens: of.usage.completionTokens,
		cachedTokens: of.usage.cachedTokens,
		usageSource: of.usage.source,
		queue: of.queue,
		waitMs: Math.round(of.waitMs),
		durationMs: Math.round(of.durationMs),
		outcome: of.outcome,
		costNanoDollars: of.cost,
		startedAt: of.startedAt,
		settledAt: Date.now(),
	};
	if (of.clientRequestId !== undefined) row.clientRequestId = of.clientRequestId;
	if (metadata.organisation !== undefined) row.organisation = metadata.organisation;
	if (metadata.teamId !== undefined) row.team = metadata.teamId;
	if (metadata.tokenId !== undefined) row.tokenId = metadata.tokenId;
	if (metadata.environment !== undefined) row.environment = metadata.environment;
	if (metadata.workload !== undefined) row.workload = metadata.workload;
	if (of.ttftMs !== undefined) row.timeToFirstTokenMs = Math.round(of.ttftMs);
	if (of.errorCode !== undefined) row.errorCode = of.errorCode;
	return row;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
