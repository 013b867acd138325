/** Schedules against a slow, obvious oracle: walk the minutes and look at the wall. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ZoneOffset } from "../model/civil-time.ts";
import { boundaryAfter, parseSchedule, type Starts, spanAt } from "./time-window-schedule.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const utc: ZoneOffset = () => 0;

const formats = new Map<string, Intl.DateTimeFormat>();
const intl: ZoneOffset = (zone, at) => {
	let format = formats.get(zone);
	if (format === undefined) {
		const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" } as const;
		format = new Intl.DateTimeFormat("en-US", { ...parts, timeZone: zone, hourCycle: "h23" });
		formats.set(zone, format);
	}
	const got = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, Number(value)]));
	const local = Date.UTC(got["year"]!, got["month"]! - 1, got["day"]!, got["hour"]!, got["minute"]!);
	return local - Math.floor(at / MINUTE) * MINUTE;
};
/** The same, remembered: offsets change on quarters of an hour. */
const known = new Map<string, number>();
const offset: ZoneOffset = (zone, at) => {
	const key = `${zone}${Math.floor(at / (15 * MINUTE))}`;
	let value = known.get(key);
	if (value === undefined) {
		value = intl(zone, at);
		known.set(key, value);
	}
	return value;
};

function cron(expression: string, zone = "UTC", by: ZoneOffset = zone === "UTC" ? utc : offset): Starts {
	const parsed = parseSchedule({ scheduleType: "cron", scheduleExpr: expression, timezone: zone }, by);
	if (!parsed.ok) throw new Error(parsed.message);
	return parsed.starts;
}

function startsBetween(starts: Starts, from: number, to: number): string[] {
	const found: string[] = [];
	for (let at = starts.next(from - 1); at !== undefined && at < to; at = starts.next(at)) {
		found.push(new Date(at).toISOString().slice(0, 16));
	}
	return found;
}

describe("cron", () => {
	it.each([
		["0 9 * * 1-5", ["2026-11-20T09:00", "2026-11-23T09:00", "2026-11-24T09:00"]],
		["30 8,20 24 11 *", ["2026-11-24T08:30", "2026-11-24T20:30"]],
		["0 0 1 * MON", ["2026-11-23T00:00"]],
		["0 12 21 nov sun", ["2026-11-21T12:00", "2026-11-22T12:00"]],
		["0 */8 20 * *", ["2026-11-20T00:00", "2026-11-20T08:00", "2026-11-20T16:00"]],
		["0 10/6 20 * ?", ["2026-11-20T10:00", "2026-11-20T16:00", "2026-11-20T22:00"].slice(0, 3)],
		["0 6 * * 7", ["2026-11-22T06:00"]],
		["59 23 31 12 *", []],
	])("%s", (expression, expected) => {
		expect(startsBetween(cron(expression), Date.UTC(2026, 10, 20), Date.UTC(2026, 10, 25))).toEqual(expected);
	});

	it("finds the 29th of February from far away", () => {
		expect(new Date(cron("0 0 29 2 *").next(Date.UTC(2096, 2, 1))!).toISOString()).toBe("2104-02-29T00:00:00.000Z");
		expect(cron("0 0 29 2 *").latest(Date.UTC(2027, 0, 1), Date.UTC(2020, 0, 1))).toBe(Date.UTC(2024, 1, 29));
	});

	it.each([
		["* * * *", "has 4 fields"],
		["61 * * * *", 'minute "61" is not allowed: 0 to 59'],
		["0 24 * * *", 'hour "24" is not allowed'],
		["0 0 0 * *", 'day of month "0"'],
		["0 0 * foo *", 'month "foo" is not allowed: 1 to 12 or jan to dec'],
		["0 0 * * 5-1", 'day of week "5-1"'],
		["*/0 * * * *", 'minute "*/0"'],
		["0 0 L * *", 'day of month "l"'],
		["0 0 31 2 *", "never comes"],
	])("refuses %s", (expression, message) => {
		const parsed = parseSchedule({ scheduleType: "cron", scheduleExpr: expression, timezone: "UTC" }, utc);
		expect(parsed).toMatchObject({ ok: false, message: expect.stringContaining(message) });
	});
});

describe("days on which clocks change", () => {
	const spring = [Date.UTC(2026, 2, 28, 12), Date.UTC(2026, 2, 29, 12)] as const;
	const autumn = [Date.UTC(2026, 9, 24, 12), Date.UTC(2026, 9, 25, 12)] as const;

	it("a time that does not exist is when clocks jump; a time that comes twice is the first", () => {
		expect(startsBetween(cron("30 2 * * *", "Europe/Berlin"), ...spring)).toEqual(["2026-03-29T01:00"]);
		expect(startsBetween(cron("0,15,30 2 * * *", "Europe/Berlin"), ...spring)).toEqual(["2026-03-29T01:00"]);
		expect(startsBetween(cron("30 2 * * *", "Europe/Berlin"), ...autumn)).toEqual(["2026-10-25T00:30"]);
	});

	it("every hour means every hour that the wall shows", () => {
		const hourly = cron("0 * * * *", "Europe/Berlin");
		expect(startsBetween(hourly, ...spring)).toHaveLength(24);
		expect(startsBetween(hourly, ...autumn)).toHaveLength(24);
		expect(startsBetween(hourly, Date.UTC(2026, 9, 25), Date.UTC(2026, 9, 25, 3))).toEqual([
			"2026-10-25T00:00",
			"2026-10-25T01:00",
			"2026-10-25T02:00",
		]);
	});

	it("a window lasts its duration in elapsed time", () => {
		const night = cron("0 22 * * *", "Europe/Berlin");
		const { start, end } = spanAt(night, 8 * HOUR, Date.UTC(2026, 2, 29, 2))!;
		expect([new Date(start).toISOString(), new Date(end).toISOString()]).toEqual([
			"2026-03-28T21:00:00.000Z",
			"2026-03-29T05:00:00.000Z",
		]);
	});
});

describe("one time", () => {
	const once = (text: string, zone = "Europe/Berlin") =>
		parseSchedule({ scheduleType: "one_time", scheduleExpr: text, timezone: zone }, offset);

	it("is an instant, or a local time of its zone", () => {
		for (const text of ["2026-11-27T09:00:00+01:00", "2026-11-27T08:00Z", "2026-11-27T09:00", "2026-11-27 09:00"]) {
			const parsed = once(text);
			if (!parsed.ok) throw new Error(parsed.message);
			expect(parsed.starts.next(0), text).toBe(Date.UTC(2026, 10, 27, 8));
			expect(spanAt(parsed.starts, HOUR, Date.UTC(2026, 10, 27, 8, 59))).toEqual({
				start: Date.UTC(2026, 10, 27, 8),
				end: Date.UTC(2026, 10, 27, 9),
			});
			expect(spanAt(parsed.starts, HOUR, Date.UTC(2026, 10, 27, 9))).toBeUndefined();
			expect(boundaryAfter(parsed.starts, HOUR, Date.UTC(2026, 10, 27, 9))).toBeUndefined();
		}
	});

	it.each(["tomorrow", "2026-02-30T00:00", "2026-13-01", "2026-11-27T25:00", "0 9 * * *"])("refuses %s", (text) => {
		expect(once(text)).toMatchObject({ ok: false, message: expect.stringContaining("is no instant") });
	});
});

describe("random schedules, zones and instants", () => {
	const zones = [
		"Europe/Berlin",
		"America/New_York",
		"America/St_Johns",
		"America/Santiago",
		"Africa/Cairo",
		"Asia/Beirut",
		"Australia/Lord_Howe",
		"Pacific/Apia",
		"Asia/Kathmandu",
		"UTC",
	];
	// around the days on which some of them change their clocks
	const instant = fc
		.tuple(
			fc.constantFrom(
				Date.UTC(2026, 2, 8),
				Date.UTC(2026, 2, 29),
				Date.UTC(2026, 3, 5),
				Date.UTC(2026, 3, 24),
				Date.UTC(2026, 8, 6),
				Date.UTC(2026, 9, 4),
				Date.UTC(2026, 9, 25),
				Date.UTC(2026, 9, 30),
				Date.UTC(2026, 10, 1),
				Date.UTC(2011, 11, 30),
				Date.UTC(2027, 1, 28),
			),
			fc.integer({ min: -36 * 60, max: 36 * 60 }),
		)
		.map(([day, minutes]) => day + minutes * MINUTE);
	const list = (min: number, max: number) =>
		fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 3 }).map((values) => values.join(","));
	const expression = fc
		.tuple(
			fc.oneof(list(0, 59), fc.constant("*/20"), fc.constant("0")),
			fc.oneof(list(0, 4), list(0, 23), fc.constant("*"), fc.constant("*/3"), fc.constant("22-23")),
			fc.oneof({ weight: 4, arbitrary: fc.constant("*") }, { weight: 1, arbitrary: list(1, 31) }),
			fc.oneof({ weight: 4, arbitrary: fc.constant("*") }, { weight: 1, arbitrary: list(1, 12) }),
			fc.oneof({ weight: 2, arbitrary: fc.constant("*") }, { weight: 1, arbitrary: list(0, 7) }),
		)
		.map((fields) => fields.join(" "));

	/** Minute by minute: does the wall show a matching time here, or did it just jump over one? */
	function oracle(text: string, zone: string, from: number, to: number): number[] {
		const fields = text.split(" ");
		const [minutes, hours, days, months, weekdays] = [
			[0, 59],
			[0, 23],
			[1, 31],
			[1, 12],
			[0, 7],
		].map(([min, max], i) => expand(fields[i]!, min!, max!)) as [number[], number[], number[], number[], number[]];
		const everyHour = fields[1]!.startsWith("*");
		const eitherDay = fields[2] !== "*" && fields[4] !== "*";
		const matches = (local: number) => {
			const date = new Date(local);
			const byDay = days.includes(date.getUTCDate());
			const byWeekday = weekdays.some((weekday) => weekday % 7 === date.getUTCDay());
			return (
				minutes.includes(date.getUTCMinutes()) &&
				hours.includes(date.getUTCHours()) &&
				months.includes(date.getUTCMonth() + 1) &&
				(eitherDay ? byDay || byWeekday : byDay && byWeekday)
			);
		};
		const found: number[] = [];
		const begin = from - 5 * DAY;
		let highest = begin + offset(zone, begin) - MINUTE;
		for (let at = begin; at < to; at += MINUTE) {
			const local = at + offset(zone, at);
			const isStart = everyHour
				? matches(local)
				: // the wall shows it for the first time, alone or with all that it jumped over
					Array.from({ length: Math.max(0, (local - highest) / MINUTE) }, (_, i) => highest + (i + 1) * MINUTE).some(
						matches,
					);
			highest = Math.max(highest, local);
			if (isStart && at >= from) found.push(at);
		}
		return found;
	}

	function expand(text: string, min: number, max: number): number[] {
		const every = Array.from({ length: max - min + 1 }, (_, i) => min + i);
		if (text === "*") return every;
		if (text.startsWith("*/")) return every.filter((value) => (value - min) % Number(text.slice(2)) === 0);
		const range = /^(\d+)-(\d+)$/.exec(text);
		if (range !== null) return every.filter((value) => value >= Number(range[1]) && value <= Number(range[2]));
		return text.split(",").map(Number);
	}

	it("start, hold and end as the oracle says", () => {
		fc.assert(
			fc.property(
				expression,
				fc.constantFrom(...zones),
				instant,
				fc.integer({ min: 1, max: 40 * 60 }),
				(text, zone, at, minutes) => {
					const duration = minutes * MINUTE;
					const parsed = parseSchedule({ scheduleType: "cron", scheduleExpr: text, timezone: zone }, offset);
					// a list of days such as 30,31 of February
					if (!parsed.ok) return;
					const { starts } = parsed;
					const truth = oracle(text, zone, at - duration, at + 3 * DAY);
					const before = truth.filter((start) => start <= at && start > at - duration).at(-1);
					const after = truth.find((start) => start > at);
					expect(spanAt(starts, duration, at)?.start).toBe(before);
					const next = starts.next(at);
					if (after !== undefined) expect(next).toBe(after);
					else expect(next ?? Number.POSITIVE_INFINITY).toBeGreaterThanOrEqual(at + 3 * DAY);
					const boundary = boundaryAfter(starts, duration, at);
					expect(boundary).toBe(before === undefined ? next : before + duration);
				},
			),
			{ numRuns: 400 },
		);
	});

	it("each start is taken once by whoever follows the boundaries, however the clock jumps", () => {
		fc.assert(
			fc.property(
				expression,
				fc.constantFrom(...zones),
				instant,
				fc.array(fc.integer({ min: -2000, max: 3000 }), { minLength: 1, maxLength: 20 }),
				(text, zone, from, jumps) => {
					const parsed = parseSchedule({ scheduleType: "cron", scheduleExpr: text, timezone: zone }, offset);
					if (!parsed.ok) return;
					const seen: number[] = [];
					let at = from;
					for (const jump of jumps) {
						at += jump * MINUTE;
						const span = spanAt(parsed.starts, 90 * MINUTE, at);
						if (span !== undefined && !seen.includes(span.start)) seen.push(span.start);
					}
					const truth = oracle(text, zone, Math.min(...seen, from) - MINUTE, Math.max(...seen, from) + MINUTE);
					for (const start of seen) expect(truth).toContain(start);
				},
			),
			{ numRuns: 60 },
		);
	});
});
