/** Periods against a slow oracle: walk the hours and look at the clock on the wall. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ZoneOffset } from "../model/civil-time.ts";
import { periodAt } from "./period.ts";

/** An offset that changes at given instants: a zone of our own, so that the core is tested without the platform's. */
function zoneOf(changes: readonly (readonly [number, number])[]): ZoneOffset {
	return (_, at) => changes.findLast(([from]) => at >= from)?.[1] ?? 0;
}

const HOUR = 3_600_000;
const utc: ZoneOffset = () => 0;

/** Berlin 2026: forward on 29 March 01:00 UTC, back on 25 October 01:00 UTC. */
const berlin = zoneOf([
	[Number.NEGATIVE_INFINITY, HOUR],
	[Date.UTC(2026, 2, 29, 1), 2 * HOUR],
	[Date.UTC(2026, 9, 25, 1), HOUR],
]);
/** Clocks go forward at local midnight: that day begins at 01:00. */
const midnightForward = zoneOf([
	[Number.NEGATIVE_INFINITY, -3 * HOUR],
	[Date.UTC(2026, 9, 18, 3), -2 * HOUR],
]);
/** Clocks go back at local midnight, to 23:00 of the day before. */
const midnightBack = zoneOf([
	[Number.NEGATIVE_INFINITY, -2 * HOUR],
	[Date.UTC(2026, 1, 15, 2), -3 * HOUR],
]);
/** A zone that skipped a whole day by moving over the date line. */
const dateLine = zoneOf([
	[Number.NEGATIVE_INFINITY, -10 * HOUR],
	[Date.UTC(2011, 11, 30, 10), 14 * HOUR],
]);

function day(at: number, offset: ZoneOffset) {
	const { start, end } = periodAt({ kind: "day", resetDay: 1, zone: "Z" }, at, offset);
	return [new Date(start).toISOString(), new Date(end).toISOString()];
}

function month(at: number, resetDay: number, offset: ZoneOffset) {
	const { start, end } = periodAt({ kind: "month", resetDay, zone: "Z" }, at, offset);
	return [new Date(start).toISOString(), new Date(end).toISOString()];
}

describe("days", () => {
	it("have 23 hours when clocks go forward, 25 when they go back", () => {
		expect(day(Date.UTC(2026, 2, 29, 12), berlin)).toEqual(["2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"]);
		expect(day(Date.UTC(2026, 9, 25, 12), berlin)).toEqual(["2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"]);
	});

	it("begin where clocks land when midnight is jumped over, and once when it comes twice", () => {
		expect(day(Date.UTC(2026, 9, 18, 12), midnightForward)[0]).toBe("2026-10-18T03:00:00.000Z");
		expect(day(Date.UTC(2026, 1, 15, 1, 30), midnightBack)).toEqual(day(Date.UTC(2026, 1, 14, 12), midnightBack));
		const [start] = day(Date.UTC(2026, 1, 15, 12), midnightBack);
		expect(["2026-02-15T02:00:00.000Z", "2026-02-15T03:00:00.000Z"]).toContain(start);
	});

	it("a zone that skips a date skips a period", () => {
		expect(day(Date.UTC(2011, 11, 30, 9), dateLine)[1]).toBe("2011-12-30T10:00:00.000Z");
		expect(day(Date.UTC(2011, 11, 30, 10), dateLine)).toEqual(["2011-12-30T10:00:00.000Z", "2011-12-31T10:00:00.000Z"]);
	});
});

describe("months", () => {
	it("begin on the reset day", () => {
		expect(month(Date.UTC(2026, 0, 14, 23, 59), 15, utc)).toEqual([
			"2025-12-15T00:00:00.000Z",
			"2026-01-15T00:00:00.000Z",
		]);
		expect(month(Date.UTC(2026, 0, 15), 15, utc)).toEqual(["2026-01-15T00:00:00.000Z", "2026-02-15T00:00:00.000Z"]);
		expect(month(Date.UTC(2028, 1, 29), 1, utc)).toEqual(["2028-02-01T00:00:00.000Z", "2028-03-01T00:00:00.000Z"]);
	});
});

describe("any zone with any changes of its clocks", () => {
	const start = Date.UTC(2026, 0, 1);
	const change = fc.tuple(
		fc.integer({ min: 0, max: 400 * 24 * 4 }).map((quarters) => start + (quarters * HOUR) / 4),
		fc.integer({ min: -48, max: 56 }).map((quarters) => (quarters * HOUR) / 4),
	);
	const zone = fc
		.tuple(
			fc.integer({ min: -48, max: 56 }).map((quarters) => (quarters * HOUR) / 4),
			fc.array(fc.tuple(change, fc.constantFrom(-2, -1, 1, 2)), { maxLength: 4 }),
		)
		.map(([base, changes]) => {
			// as in the world: rare changes of up to two hours
			const sorted = changes.map(([[at], step]) => [at, step] as const).sort((a, b) => a[0] - b[0]);
			const spaced = sorted.filter(([at], i) => i === 0 || at - sorted[i - 1]![0] > 7 * 24 * HOUR);
			let offset = base;
			const rows: (readonly [number, number])[] = [[Number.NEGATIVE_INFINITY, base]];
			for (const [at, step] of spaced) {
				offset += step * HOUR;
				rows.push([at, offset]);
			}
			return zoneOf(rows);
		});

	it("periods cover time without gap or overlap, and each begins at the first instant that shows its date", () => {
		fc.assert(
			fc.property(zone, fc.constantFrom("day", "month"), fc.integer({ min: 1, max: 28 }), (offset, kind, resetDay) => {
				const rule = { kind, resetDay, zone: "Z" } as const;
				let at = start + 30 * 24 * HOUR;
				let { end } = periodAt(rule, at, offset);
				for (let i = 0; i < (kind === "day" ? 60 : 8); i++) {
					at = end;
					const next = periodAt(rule, at, offset);
					expect(next.start).toBe(end);
					expect(periodAt(rule, at - 1, offset).end).toBe(end);
					expect(periodAt(rule, next.end - 1, offset)).toEqual(next);
					// the oracle: just before it the wall shows an earlier date, from it on the new one
					const shown = (instant: number) => Math.floor((instant + offset("Z", instant)) / 86_400_000);
					const dayNumber = (instant: number) => new Date(shown(instant) * 86_400_000).getUTCDate();
					expect(shown(at - 1)).toBeLessThan(shown(at));
					if (kind === "month") expect(dayNumber(at)).toBe(resetDay);
					end = next.end;
				}
			}),
			{ numRuns: 300 },
		);
	});
});
