/**
 * Calendar arithmetic in a time zone, from one question only: how far local time is ahead of UTC at an instant. The proleptic Gregorian
 * calendar; a civil time is kept as the milliseconds it would be in UTC ("local milliseconds").
 *
 * Where clocks go forward a local time does not exist: it means the instant at which they do. Where they go back it exists twice: it means
 * the first of the two.
 */
import type { EpochMillis, Millis } from "./units.ts";

/** Local time minus UTC at an instant, in a zone by its IANA name. A function of its arguments alone. */
export type ZoneOffset = (zone: string, at: EpochMillis) => Millis;

/** What a clock on the wall would show, as milliseconds as if it were UTC. */
export type LocalMillis = number;

export const MILLIS_PER_MINUTE = 60_000;
export const MILLIS_PER_DAY = 86_400_000;

/** Changes of offset are at most this far apart from the instant that a local time may mean. */
const WIDEST_OFFSET = 26 * 3_600_000;

export function localOf(at: EpochMillis, zone: string, offset: ZoneOffset): LocalMillis {
	return at + offset(zone, at);
}

/** The first instant at which the clocks of the zone show `local` or, where they jump over it, the instant of the jump. */
export function instantOf(local: LocalMillis, zone: string, offset: ZoneOffset): EpochMillis {
	const before = offset(zone, local - WIDEST_OFFSET);
	const after = offset(zone, local + WIDEST_OFFSET);
	const early = local - Math.max(before, after);
	const late = local - Math.min(before, after);
	if (early + offset(zone, early) === local) return early;
	if (late + offset(zone, late) === local) return late;
	return firstAtOrAfter(local, early, late, zone, offset);
}

/** In a gap: local time jumps from below `local` to above it somewhere between two instants. */
function firstAtOrAfter(
	local: LocalMillis,
	early: EpochMillis,
	late: EpochMillis,
	zone: string,
	offset: ZoneOffset,
): EpochMillis {
	let below = early - 1;
	let reached = late;
	while (reached - below > 1) {
		const middle = Math.floor((below + reached) / 2);
		if (middle + offset(zone, middle) >= local) reached = middle;
		else below = middle;
	}
	return reached;
}

/** Midnight of a date; months and days may lie outside their range and carry over. */
export function localDate(year: number, month: number, day: number): LocalMillis {
	return Date.UTC(year, month - 1, day);
}

export function yearOf(local: LocalMillis): number {
	return new Date(local).getUTCFullYear();
}

/** 1 to 12. */
export function monthOf(local: LocalMillis): number {
	return new Date(local).getUTCMonth() + 1;
}

/** 1 to 31. */
export function dayOf(local: LocalMillis): number {
	return new Date(local).getUTCDate();
}

/** 0 is Sunday. */
export function weekdayOf(local: LocalMillis): number {
	return new Date(local).getUTCDay();
}
