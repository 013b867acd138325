/** One budget as this process keeps it: its terms, and its period at an instant. */
import type { ZoneOffset } from "../model/civil-time.ts";
import type { EpochMillis } from "../model/units.ts";
import { type Period, type PeriodRule, periodAt } from "./period.ts";
import { periodKindOf, type Quota, type QuotaAmounts, refusedAbovePct, toCounted, unitOf } from "./quota.ts";

export interface PeriodDefaults {
	/** `[quotas] quota_reset_day`. */
	readonly resetDay: number;
	/** `[quotas] timezone`. */
	readonly zone: string;
}

export class Budget {
	readonly quota: Quota;
	/** In the counted unit. */
	readonly limit: number;
	readonly refusedAbovePct: number;
	readonly unit: keyof QuotaAmounts;
	readonly #rule: PeriodRule;
	readonly #offset: ZoneOffset;
	#period: Period = { start: 0, end: 0 };
	#key = "";

	constructor(quota: Quota, defaults: PeriodDefaults, offset: ZoneOffset) {
		this.quota = quota;
		this.limit = toCounted(quota.limitDimension, quota.limitValue);
		this.refusedAbovePct = refusedAbovePct(quota.quotaType);
		this.unit = unitOf(quota.limitDimension);
		this.#rule = {
			kind: periodKindOf(quota.limitDimension),
			resetDay: quota.resetDay ?? defaults.resetDay,
			zone: quota.timezone ?? defaults.zone,
		};
		this.#offset = offset;
	}

	/** The period that holds the instant; asked once per request, computed once per period. */
	periodAt(at: EpochMillis): Period {
		if (at < this.#period.start || at >= this.#period.end) {
			this.#period = periodAt(this.#rule, at, this.#offset);
			this.#key = `${this.quota.id}@${this.#period.start}/${this.#period.end}`;
		}
		return this.#period;
	}

	/** Of the counter of `periodAt(at)`. */
	keyAt(at: EpochMillis): string {
		this.periodAt(at);
		return this.#key;
	}
}
