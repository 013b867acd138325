/** The audit log in memory. */
import type { AuditEntry, AuditEvent, AuditFilter, AuditLog } from "../../ports/audit-log.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { MemoryState } from "./memory-state.ts";

export class MemoryAuditLog implements AuditLog {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async record(event: AuditEvent): Promise<void> {
		this.#state.writeAudit(this.#state.epochNow(), event);
	}

	async list(filter: AuditFilter, page: PageRequest): Promise<Page<AuditEntry>> {
		const limit = pageLimit(page);
		const before = cursorKeys(page, ["number"])?.[0];
		const found = this.#state.audit.filter(
			(entry) =>
				(filter.actor === undefined || entry.actor === filter.actor) &&
				(filter.subject === undefined || entry.subject === filter.subject) &&
				(filter.since === undefined || entry.at >= filter.since) &&
				(filter.until === undefined || entry.at < filter.until) &&
				(before === undefined || entry.id < Number(before)) &&
				(filter.action === undefined ||
					(filter.action.endsWith(".") ? entry.action.startsWith(filter.action) : entry.action === filter.action)),
		);
		return toPage(found.reverse().slice(0, limit + 1), limit, (entry) => [entry.id]);
	}
}
