/**
 * The days and months of a budget: half-open intervals of time between local midnights. A period is a function of the calendar and the instant
 * alone, so however a clock jumps, each period has one beginning, one end and one counter.
 */
import { dayOf, instantOf, localDate, localOf, monthOf, yearOf, type ZoneOffset } from "../model/civil-time.ts";
import type { EpochMillis } from "../model/units.ts";

export type PeriodKind = "day" | "month";

export interface Period {
	readonly start: EpochMillis;
	/** Exclusive: the reset. */
	readonly end: EpochMillis;
}

export interface PeriodRule {
	readonly kind: PeriodKind;
	/** Day of the month on which months begin, 1 to 28. */
	readonly resetDay: number;
	/** IANA name. */
	readonly zone: string;
}

export function periodAt({ kind, resetDay, zone }: PeriodRule, at: EpochMillis, offset: ZoneOffset): Period {
	const local = localOf(at, zone, offset);
	const year = yearOf(local);
	const month = monthOf(local);
	const step = kind === "day" ? dayOf(local) : dayOf(local) >= resetDay ? 0 : -1;
	const boundary = (steps: number) =>
		instantOf(
			kind === "day" ? localDate(year, month, step + steps) : localDate(year, month + step + steps, resetDay),
			zone,
			offset,
		);
	// Where clocks went back over midnight, an instant between the two midnights shows the day before and belongs to the day after.
	for (let steps = -1; ; steps++) {
		const end = boundary(steps + 1);
		if (at < end) return { start: boundary(steps), end };
	}
}
