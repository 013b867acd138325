import type { LedgerRow } from "../../src/ports/ledger-store.ts";

/** A plausible row; tests give what they care about. */
export function ledgerRow(fields: Partial<LedgerRow> & { readonly requestId: string }): LedgerRow {
	return {
		accountId: "shop",
		tier: "external",
		routedBy: "token",
		model: "llama",
		operation: "chat",
		promptTokens: 100,
		completionTokens: 20,
		cachedTokens: 10,
		usageSource: "measured",
		queue: "P3",
		waitMs: 1.25,
		durationMs: 812.5,
		outcome: "completed",
		costNanoDollars: 140_000,
		startedAt: Date.UTC(2026, 0, 15, 12),
		settledAt: Date.UTC(2026, 0, 15, 12, 0, 1),
		...fields,
	};
}
