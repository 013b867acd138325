/** Who changed what, when, from what to what. Append only; policy stores write their own rows inside their transactions. */
import type { EpochMillis } from "../core/model/units.ts";
import type { Page, PageRequest } from "./page.ts";

export interface AuditEvent {
	/** `admin`, `cli:<user>`, `system`, … */
	readonly actor: string;
	/** `account.create`, `token.revoke`, `rule.update`, `header_routing.summary`, … */
	readonly action: string;
	/** The id of the thing changed. */
	readonly subject: string;
	/** Plain data, never a secret. */
	readonly before?: unknown;
	readonly after?: unknown;
	readonly reason?: string;
}

export interface AuditEntry extends AuditEvent {
	readonly id: number;
	readonly at: EpochMillis;
}

export interface AuditFilter {
	readonly actor?: string;
	/** The exact action, or a prefix that ends in a dot (`token.`). */
	readonly action?: string;
	readonly subject?: string;
	readonly since?: EpochMillis;
	readonly until?: EpochMillis;
}

export interface AuditLog {
	record(event: AuditEvent): Promise<void>;
	/** Newest first. */
	list(filter: AuditFilter, page: PageRequest): Promise<Page<AuditEntry>>;
}
