/** All stores over one SQL database. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Stores } from "../../ports/stores.ts";
import { SqlAccountStore } from "./account-store.ts";
import { SqlAuditLog } from "./audit-log.ts";
import { SqlLedgerStore } from "./ledger-store.ts";
import { SqlPolicyStore } from "./policy-store.ts";
import { SqlQuotaStore } from "./quota-store.ts";
import { SqlRuleStore } from "./rule-store.ts";
import type { SqlDatabase } from "./sql-database.ts";
import { SqlTokenStore } from "./token-store.ts";
import { SqlWindowStore } from "./window-store.ts";

export function sqlStores(database: SqlDatabase, epochNow: () => EpochMillis): Stores {
	return {
		accounts: new SqlAccountStore(database, epochNow),
		tokens: new SqlTokenStore(database, epochNow),
		rules: new SqlRuleStore(database, epochNow),
		policy: new SqlPolicyStore(database, epochNow),
		ledger: new SqlLedgerStore(database),
		audit: new SqlAuditLog(database, epochNow),
		quotas: new SqlQuotaStore(database, epochNow),
		windows: new SqlWindowStore(database, epochNow),
		close: () => database.close(),
	};
}
