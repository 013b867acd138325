/**
 * The state that the memory stores share, and their transaction: a change works on the maps and is undone as a whole when it
 * refuses or throws. Values are replaced, never changed in place, so a shallow copy is enough to undo.
 */
import type { TimeWindow } from "../../core/allocate/time-window.ts";
import type { RoutingRule } from "../../core/model/policy.ts";
import type { EpochMillis } from "../../core/model/units.ts";
import type { Quota } from "../../core/quota/quota.ts";
import type { Account } from "../../ports/account-store.ts";
import type { AuditEntry, AuditEvent } from "../../ports/audit-log.ts";
import type { LedgerRow } from "../../ports/ledger-store.ts";
import type { QuotaUsage } from "../../ports/quota-store.ts";
import type { WriteResult } from "../../ports/write-result.ts";
import type { KeptToken } from "../token-record.ts";

export class MemoryState {
	accounts = new Map<string, Account>();
	/** By id; insertion is creation order. */
	tokens = new Map<string, KeptToken>();
	tokenIdsByHash = new Map<string, string>();
	rules = new Map<string, RoutingRule>();
	rulesSeeded = false;
	/** By id; insertion is creation order. */
	quotas = new Map<string, Quota>();
	windows = new Map<string, TimeWindow>();
	/** By quota and window start. */
	quotaUsage = new Map<string, QuotaUsage>();
	version = 0;
	audit: AuditEntry[] = [];
	readonly ledger = new Map<string, LedgerRow>();
	readonly epochNow: () => EpochMillis;

	constructor(epochNow: () => EpochMillis) {
		this.epochNow = epochNow;
	}

	async change<T>(actor: string, work: (change: MemoryChange) => WriteResult<T>): Promise<WriteResult<T>> {
		const before = {
			accounts: new Map(this.accounts),
			tokens: new Map(this.tokens),
			tokenIdsByHash: new Map(this.tokenIdsByHash),
			rules: new Map(this.rules),
			rulesSeeded: this.rulesSeeded,
			quotas: new Map(this.quotas),
			windows: new Map(this.windows),
			quotaUsage: new Map(this.quotaUsage),
			audit: [...this.audit],
		};
		try {
			const at = this.epochNow();
			const result = work({ at, audit: (event) => this.writeAudit(at, { ...event, actor }) });
			if (result.ok) this.version++;
			else Object.assign(this, before);
			return result;
		} catch (error) {
			Object.assign(this, before);
			throw error;
		}
	}

	writeAudit(at: EpochMillis, event: AuditEvent): void {
		// what the log says must not change later, and holds nothing that JSON does not
		const plain = JSON.parse(JSON.stringify(event)) as AuditEvent;
		this.audit.push({ ...plain, id: (this.audit.at(-1)?.id ?? 0) + 1, at });
	}
}

export interface MemoryChange {
	readonly at: EpochMillis;
	audit(event: Omit<AuditEvent, "actor">): void;
}
