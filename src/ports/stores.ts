/** The stores that one database offers together, as the composition root opens them. */
import type { AccountStore } from "./account-store.ts";
import type { AuditLog } from "./audit-log.ts";
import type { LedgerStore } from "./ledger-store.ts";
import type { PolicyStore } from "./policy-store.ts";
import type { QuotaStore } from "./quota-store.ts";
import type { RuleStore } from "./rule-store.ts";
import type { TokenStore } from "./token-store.ts";
import type { WindowStore } from "./window-store.ts";

export interface Stores {
	readonly accounts: AccountStore;
	readonly tokens: TokenStore;
	readonly rules: RuleStore;
	readonly policy: PolicyStore;
	readonly ledger: LedgerStore;
	readonly audit: AuditLog;
	readonly quotas: QuotaStore;
	readonly windows: WindowStore;
	close(): Promise<void>;
}
