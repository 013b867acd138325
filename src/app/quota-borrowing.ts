/** Borrowing above assured rates, in the audit log: one row per quota and minute in which any was. */
import type { Tokens } from "../core/model/units.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import type { AuditLog } from "../ports/audit-log.ts";

const MINUTE_MS = 60_000;

export function auditBorrowing(
	rates: RateGate,
	audit: AuditLog,
	onError: (error: unknown) => void,
	periodMs: number = MINUTE_MS,
): { stop(): void } {
	const before = new Map<string, Tokens>();
	const timer = setInterval(() => {
		for (const { quotaId, borrowed, quota } of rates.views()) {
			const tokens = borrowed - (before.get(quotaId) ?? 0);
			before.set(quotaId, borrowed);
			if (tokens <= 0) continue;
			const after = { node: quota.node, tokens };
			audit.record({ actor: "system", action: "quota.borrow", subject: quotaId, after }).catch(onError);
		}
	}, periodMs);
	timer.unref();
	return { stop: () => clearInterval(timer) };
}
