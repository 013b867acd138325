/**
 * When a time window holds: from each start of its schedule for its duration in elapsed time. A function of the schedule and the instant
 * alone, so a clock may jump as it likes.
 *
 * `cron`: minute hour day-of-month month day-of-week, with `*`, lists, ranges, steps and names, as in cron(5); when both day fields are
 * restricted, either is enough. An expression that names its hours starts once per local time: where clocks jump over it, at the jump;
 * where it comes twice, at the first. One whose hour is `*` (or `*` with a step) starts whenever the wall shows a matching time.
 * `one_time`: an ISO instant, or a local time of the zone.
 */
import {
	dayOf,
	instantOf,
	type LocalMillis,
	localDate,
	localOf,
	MILLIS_PER_DAY,
	MILLIS_PER_MINUTE,
	monthOf,
	weekdayOf,
	yearOf,
	type ZoneOffset,
} from "../model/civil-time.ts";
import type { EpochMillis, Millis } from "../model/units.ts";

export const SCHEDULE_TYPES = ["cron", "one_time"] as const;
export type ScheduleType = (typeof SCHEDULE_TYPES)[number];

export interface Schedule {
	readonly scheduleType: ScheduleType;
	readonly scheduleExpr: string;
	readonly durationMs: Millis;
	/** IANA name. */
	readonly timezone: string;
}

export interface Span {
	readonly start: EpochMillis;
	/** Exclusive. */
	readonly end: EpochMillis;
}

interface Field {
	readonly name: string;
	readonly min: number;
	readonly max: number;
	readonly names?: readonly string[];
}

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS = [
	{ name: "minute", min: 0, max: 59 },
	{ name: "hour", min: 0, max: 23 },
	{ name: "day of month", min: 1, max: 31 },
	{ name: "month", min: 1, max: 12, names: MONTHS },
	{ name: "day of week", min: 0, max: 7, names: WEEKDAYS },
] as const satisfies readonly Field[];
/** 29 February comes back after eight years at the latest. */
const FARTHEST_DAYS = 9 * 366;
/** No zone's clocks show a date more than this long before or after UTC does. */
const SLACK_DAYS = 2;
const MINUTES_PER_HOUR = 60;

export type Parsed = { readonly ok: true; readonly starts: Starts } | { readonly ok: false; readonly message: string };

/** Starts of a schedule in ascending order, found from any instant. */
export interface Starts {
	/** The latest start in (`after`, `at`]. */
	latest(at: EpochMillis, after: EpochMillis): EpochMillis | undefined;
	/** The first start after `at`. */
	next(at: EpochMillis): EpochMillis | undefined;
}

export function parseSchedule(
	{ scheduleType, scheduleExpr, timezone }: Pick<Schedule, "scheduleType" | "scheduleExpr" | "timezone">,
	offset: ZoneOffset,
): Parsed {
	if (scheduleType === "one_time") {
		const start = parseInstant(scheduleExpr.trim(), timezone, offset);
		if (start !== undefined) return { ok: true, starts: new OneStart(start) };
		const allowed = "an instant such as 2026-11-27T09:00:00+01:00, or a local time such as 2026-11-27T09:00";
		return { ok: false, message: `"${scheduleExpr}" is no instant: allowed is ${allowed}` };
	}
	const cron = parseCron(scheduleExpr);
	if (typeof cron === "string") return { ok: false, message: cron };
	const starts = new CronStarts(cron, timezone, offset);
	if (starts.isEmpty) return { ok: false, message: `"${scheduleExpr}" never comes: no such date exists` };
	return { ok: true, starts };
}

/** The span that holds the instant, counted from its latest start. */
export function spanAt(starts: Starts, durationMs: Millis, at: EpochMillis): Span | undefined {
	const start = starts.latest(at, at - durationMs);
	return start === undefined ? undefined : { start, end: start + durationMs };
}

/** The next instant at which whether it holds may change. */
export function boundaryAfter(starts: Starts, durationMs: Millis, at: EpochMillis): EpochMillis | undefined {
	return spanAt(starts, durationMs, at)?.end ?? starts.next(at);
}

class OneStart implements Starts {
	readonly #start: EpochMillis;

	constructor(start: EpochMillis) {
		this.#start = start;
	}

	latest(at: EpochMillis, after: EpochMillis): EpochMillis | undefined {
		return this.#start > after && this.#start <= at ? this.#start : undefined;
	}

	next(at: EpochMillis): EpochMillis | undefined {
		return this.#start > at ? this.#start : undefined;
	}
}

/** With a zone as written, else in the window's. */
function parseInstant(text: string, zone: string, offset: ZoneOffset): EpochMillis | undefined {
	const parts = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/i.exec(text);
	if (parts === null) return undefined;
	const [, date, time = "00:00", written] = parts;
	const named = written === undefined ? "Z" : written.replace(/^([+-]\d{2})(\d{2})$/, "$1:$2").toUpperCase();
	const parsed = Date.parse(`${date}T${time}${named}`);
	// `Date` carries 30 February over into March
	if (Number.isNaN(parsed) || new Date(`${date}T00:00Z`).toISOString().slice(0, 10) !== date) return undefined;
	return written === undefined ? instantOf(parsed, zone, offset) : parsed;
}

interface Cron {
	/** Minutes of the day, ascending. */
	readonly minutesOfDay: readonly number[];
	readonly days: ReadonlySet<number>;
	readonly months: ReadonlySet<number>;
	readonly weekdays: ReadonlySet<number>;
	/** Neither day field is restricted by the other. */
	readonly bothDays: boolean;
	readonly everyHour: boolean;
}

/** A sentence when it is not one. */
function parseCron(text: string): Cron | string {
	const words = text.trim().split(/\s+/);
	if (words.length !== FIELDS.length) {
		return `"${text}" has ${words.length} fields: allowed are five, minute hour day-of-month month day-of-week`;
	}
	const sets: ReadonlySet<number>[] = [];
	for (const [i, field] of FIELDS.entries()) {
		const values = parseField(words[i]!.toLowerCase(), field);
		if (typeof values === "string") return values;
		sets.push(values);
	}
	const [minutes, hours, days, months, weekdays] = sets as [
		Set<number>,
		Set<number>,
		Set<number>,
		Set<number>,
		Set<number>,
	];
	const isOpen = (word: string | undefined) => word!.startsWith("*") || word!.startsWith("?");
	return {
		minutesOfDay: [...hours]
			.flatMap((hour) => [...minutes].map((minute) => hour * MINUTES_PER_HOUR + minute))
			.sort((a, b) => a - b),
		days,
		months,
		weekdays: new Set([...weekdays].map((weekday) => weekday % 7)),
		bothDays: isOpen(words[2]) || isOpen(words[4]),
		everyHour: isOpen(words[1]),
	};
}

function parseField(word: string, field: Field): ReadonlySet<number> | string {
	const values = new Set<number>();
	for (const part of word.split(",")) {
		const pieces = /^(\*|\?|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:\/(\d+))?$/.exec(part);
		const wrong = `${field.name} "${part}" is not allowed: ${allowedIn(field)}`;
		if (pieces === null) return wrong;
		const step = pieces[4] === undefined ? 1 : Number(pieces[4]);
		const first = pieces[2] === undefined ? field.min : numberOf(pieces[2], field);
		// a single number with a step runs to the end, as in cron(5)
		const alone = pieces[2] !== undefined && pieces[4] === undefined ? first : field.max;
		const last = pieces[3] === undefined ? alone : numberOf(pieces[3], field);
		if (first === undefined || last === undefined || first > last || step < 1) return wrong;
		for (let value = first; value <= last; value += step) values.add(value);
	}
	return values;
}

function numberOf(text: string, { min, max, names }: Field): number | undefined {
	const named = names?.indexOf(text) ?? -1;
	if (named >= 0) return named + (names === MONTHS ? 1 : 0);
	const value = /^\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
	return value >= min && value <= max ? value : undefined;
}

function allowedIn({ min, max, names }: Field): string {
	const words = names === undefined ? "" : ` or ${names[0]} to ${names.at(-1)}`;
	return `${min} to ${max}${words}, as a list (1,2), a range (1-5), a step (*/2) or *`;
}

class CronStarts implements Starts {
	readonly #cron: Cron;
	readonly #zone: string;
	readonly #offset: ZoneOffset;

	constructor(cron: Cron, zone: string, offset: ZoneOffset) {
		this.#cron = cron;
		this.#zone = zone;
		this.#offset = offset;
	}

	/** For a date that no calendar has. */
	get isEmpty(): boolean {
		for (let day = 0; day < FARTHEST_DAYS; day++) if (this.#comesOn(localDate(2024, 1, 1 + day))) return false;
		return true;
	}

	latest(at: EpochMillis, after: EpochMillis): EpochMillis | undefined {
		const last = this.#dayOf(at) + SLACK_DAYS * MILLIS_PER_DAY;
		const first = this.#dayOf(after) - SLACK_DAYS * MILLIS_PER_DAY;
		let found: EpochMillis | undefined;
		let daysLeft = FARTHEST_DAYS;
		for (let day = last; day >= first && daysLeft > 0; day -= MILLIS_PER_DAY) {
			for (const start of this.#startsOn(day)) {
				if (start <= at && start > after && (found === undefined || start > found)) found = start;
			}
			// Days overlap by the hours that clocks are set back: look a little farther than the first find.
			daysLeft = found === undefined ? daysLeft - 1 : Math.min(daysLeft - 1, SLACK_DAYS);
		}
		return found;
	}

	next(at: EpochMillis): EpochMillis | undefined {
		const first = this.#dayOf(at) - SLACK_DAYS * MILLIS_PER_DAY;
		let found: EpochMillis | undefined;
		let daysLeft = FARTHEST_DAYS;
		for (let day = first; daysLeft > 0; day += MILLIS_PER_DAY) {
			for (const start of this.#startsOn(day)) {
				if (start > at && (found === undefined || start < found)) found = start;
			}
			daysLeft = found === undefined ? daysLeft - 1 : Math.min(daysLeft - 1, SLACK_DAYS);
		}
		return found;
	}

	#dayOf(at: EpochMillis): LocalMillis {
		const local = localOf(at, this.#zone, this.#offset);
		return localDate(yearOf(local), monthOf(local), dayOf(local));
	}

	#comesOn(day: LocalMillis): boolean {
		const { days, months, weekdays, bothDays } = this.#cron;
		if (!months.has(monthOf(day))) return false;
		const byDay = days.has(dayOf(day));
		const byWeekday = weekdays.has(weekdayOf(day));
		return bothDays ? byDay && byWeekday : byDay || byWeekday;
	}

	*#startsOn(day: LocalMillis): Iterable<EpochMillis> {
		if (!this.#comesOn(day)) return;
		for (const minute of this.#cron.minutesOfDay) {
			const local = day + minute * MILLIS_PER_MINUTE;
			if (this.#cron.everyHour) yield* this.#shownAt(local);
			else yield instantOf(local, this.#zone, this.#offset);
		}
	}

	/** All instants at which the wall shows a local time: none, one or two. */
	*#shownAt(local: LocalMillis): Iterable<EpochMillis> {
		const before = this.#offset(this.#zone, local - MILLIS_PER_DAY);
		const after = this.#offset(this.#zone, local + MILLIS_PER_DAY);
		for (const offset of before === after ? [before] : [before, after]) {
			const at = local - offset;
			if (this.#offset(this.#zone, at) === offset) yield at;
		}
	}
}
