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

export function ledgerRow(of: LedgerRowOf): LedgerRow {
	const { metadata, model, facts } = of.arrival;
	return {
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
		...(of.clientRequestId === undefined ? {} : { clientRequestId: of.clientRequestId }),
		...(metadata.organisation === undefined ? {} : { organisation: metadata.organisation }),
		...(metadata.teamId === undefined ? {} : { team: metadata.teamId }),
		...(metadata.tokenId === undefined ? {} : { tokenId: metadata.tokenId }),
		...(metadata.environment === undefined ? {} : { environment: metadata.environment }),
		...(metadata.workload === undefined ? {} : { workload: metadata.workload }),
		...(of.ttftMs === undefined ? {} : { timeToFirstTokenMs: Math.round(of.ttftMs) }),
		...(of.errorCode === undefined ? {} : { errorCode: of.errorCode }),
	};
}
