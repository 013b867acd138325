/** All stores in memory: for tests, simulation and as the model that the databases are compared with. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Stores } from "../../ports/stores.ts";
import { MemoryAccountStore } from "./account-store.ts";
import { MemoryAuditLog } from "./audit-log.ts";
import { MemoryLedgerStore } from "./ledger-store.ts";
import { MemoryState } from "./memory-state.ts";
import { MemoryPolicyStore } from "./policy-store.ts";
import { MemoryQuotaStore } from "./quota-store.ts";
import { MemoryRuleStore } from "./rule-store.ts";
import { MemoryTokenStore } from "./token-store.ts";
import { MemoryWindowStore } from "./window-store.ts";

export function memoryStores(epochNow: () => EpochMillis): Stores {
	const state = new MemoryState(epochNow);
	return {
		accounts: new MemoryAccountStore(state),
		tokens: new MemoryTokenStore(state),
		rules: new MemoryRuleStore(state),
		policy: new MemoryPolicyStore(state),
		ledger: new MemoryLedgerStore(state),
		audit: new MemoryAuditLog(state),
		quotas: new MemoryQuotaStore(state),
		windows: new MemoryWindowStore(state),
		close: async () => undefined,
	};
}
