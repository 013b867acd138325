/**
 * Time zones from the platform's `Intl`. A question costs some 5 µs, so answers are kept per zone and quarter of an hour: no zone has
 * changed its offset at any other instant since 1970.
 */
import type { Calendar } from "../ports/calendar.ts";

const STEP_MS = 15 * 60_000;
const KEPT = 20_000;

const formats = new Map<string, Intl.DateTimeFormat>();
const answers = new Map<string, number>();

function formatOf(zone: string): Intl.DateTimeFormat {
	let format = formats.get(zone);
	if (format === undefined) {
		format = new Intl.DateTimeFormat("en-US", {
			timeZone: zone,
			calendar: "gregory",
			numberingSystem: "latn",
			hourCycle: "h23",
			year: "numeric",
			month: "2-digit",
			day: "2-digit",
			hour: "2-digit",
			minute: "2-digit",
			second: "2-digit",
		});
		formats.set(zone, format);
	}
	return format;
}

/** Local time minus UTC, to the second. */
function offsetOf(zone: string, at: number): number {
	const parts = new Map(
		formatOf(zone)
			.formatToParts(at)
			.map(({ type, value }) => [type, Number(value)]),
	);
	const local = Date.UTC(
		parts.get("year")!,
		parts.get("month")! - 1,
		parts.get("day")!,
		parts.get("hour")!,
		parts.get("minute")!,
		parts.get("second")!,
	);
	return local - Math.floor(at / 1000) * 1000;
}

export const systemCalendar: Calendar = {
	offset(zone, at) {
		const step = Math.floor(at / STEP_MS);
		const key = `${zone}\0${step}`;
		let offset = answers.get(key);
		if (offset === undefined) {
			offset = offsetOf(zone, step * STEP_MS);
			if (answers.size >= KEPT) answers.clear();
			answers.set(key, offset);
		}
		return offset;
	},
	isZone(name) {
		// `Intl` also takes offsets such as +01:00, which know no summer time
		if (!/^[A-Za-z]/.test(name)) return false;
		try {
			formatOf(name);
			return true;
		} catch {
			return false;
		}
	},
};
