/** The quotas of a process that is alone with its stores: counters in memory, time from the system. */
import type { GatewayConfig } from "../config/gateway-config.ts";
import { type QuotaAlert, QuotaService } from "../engine/quota-service.ts";
import type { Stores } from "../ports/stores.ts";
import { MemoryQuotaCounters } from "../stores/memory/quota-counters.ts";
import { systemCalendar } from "./calendar.ts";
import { systemClock, systemTimers } from "./system.ts";

export interface QuotaSurroundings {
	/** Brings what settled into the ledger. Never rejects; false when the ledger does not take it. */
	readonly settleLedger: () => Promise<boolean>;
	readonly onError: (error: unknown) => void;
	/** Absent in a process that only reports. */
	readonly onAlert?: (alert: QuotaAlert) => void;
}

export function openQuotas(
	{ quotaResetDay, timezone }: Pick<GatewayConfig["quotas"], "quotaResetDay" | "timezone">,
	stores: Pick<Stores, "quotas" | "ledger">,
	surroundings: QuotaSurroundings,
): QuotaService {
	return new QuotaService(
		{ resetDay: quotaResetDay, zone: timezone },
		{
			store: stores.quotas,
			ledger: stores.ledger,
			counters: new MemoryQuotaCounters(),
			offset: systemCalendar.offset,
			epochNow: systemClock.epochNow,
			timers: systemTimers,
			...surroundings,
		},
	);
}
