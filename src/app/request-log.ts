/** One line of log per request that ended badly, and per request at level debug. No prompt text, no tokens. */
import type { Logger } from "pino";
import type { ExchangeRecord } from "../http/data-plane.ts";

export function logRecord(log: Logger, record: ExchangeRecord): void {
	if (!log.isLevelEnabled("debug") && record.code === undefined) return;
	log[record.code === "internal" ? "error" : "debug"](
		{
			request_id: record.requestId,
			account: record.accountId,
			model: record.model,
			outcome: record.outcome,
			code: record.code,
			wait_ms: Math.round(record.waitMs),
			duration_ms: Math.round(record.durationMs),
		},
		"request",
	);
}
