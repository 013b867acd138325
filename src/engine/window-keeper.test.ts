import { expect, test } from "vitest";
import type { TimeWindow } from "../core/allocate/time-window.ts";
import { nextChange, WindowKeeper, windowStates } from "./window-keeper.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOON = Date.UTC(2026, 4, 10, 12);
const utc = () => 0;

function window(name: string, scheduleExpr: string, hours: number, more: Partial<TimeWindow> = {}): TimeWindow {
	return {
		id: name,
		name,
		scheduleType: "cron",
		scheduleExpr,
		durationMs: hours * HOUR,
		timezone: "UTC",
		enabled: true,
		order: 1,
		rules: [{ targetType: "all", adjustments: { priorityDelta: 1 } }],
		...more,
	};
}

/** A keeper on a clock that the test sets, with its timer in the test's hand. */
async function keeper(...windows: TimeWindow[]) {
	const world = { now: NOON, windows, changes: [] as string[], errors: [] as string[] };
	let timer: { at: number; call: () => void } | undefined;
	const kept = new WindowKeeper({
		store: { all: async () => world.windows },
		offset: utc,
		epochNow: () => world.now,
		timers: {
			after: (delayMs, call) => {
				const own = { at: world.now + delayMs, call };
				timer = own;
				return () => {
					if (timer === own) timer = undefined;
				};
			},
		},
		onChange: (_, began, ended) => world.changes.push(`+${began.join(",")} -${ended.join(",")}`),
		onError: (error) => world.errors.push(String(error)),
	});
	await kept.reload();
	return {
		kept,
		world,
		names: () => kept.active.windows.map(({ name }) => name),
		/** Lets time pass, the timer firing when it is due. */
		sleepUntil: (at: number) => {
			while (timer !== undefined && timer.at <= at) {
				world.now = timer.at;
				timer.call();
			}
			world.now = at;
		},
		timerAt: () => timer?.at,
	};
}

test("windows begin and end by themselves, each start counted once", async () => {
	const { kept, world, sleepUntil, names } = await keeper(
		window("lunch", "0 12 * * *", 1),
		window("night", "0 22 * * *", 8),
	);
	expect(world.changes).toEqual(["+lunch -"]);
	sleepUntil(NOON + 3 * DAY - 1);
	expect(world.changes).toEqual([
		"+lunch -",
		...["night", "night", "night"].flatMap((name, i) => [
			...(i === 0 ? ["+ -lunch"] : ["+lunch -", "+ -lunch"]),
			`+${name} -`,
			`+ -${name}`,
		]),
	]);
	expect(names()).toEqual([]);
	expect([...kept.applied].map(([name, { count }]) => [name, count])).toEqual([
		["lunch", 3],
		["night", 3],
	]);
});

test("a clock that jumps over boundaries, forward and back, is followed at the next request", async () => {
	const { kept, world, names } = await keeper(window("night", "0 22 * * *", 8));
	const at = (time: number) => {
		world.now = time;
		return names();
	};
	expect(at(NOON)).toEqual([]);
	expect(at(NOON + 10 * HOUR)).toEqual(["night"]);
	expect(at(NOON)).toEqual([]);
	expect(at(NOON + 11 * HOUR)).toEqual(["night"]);
	expect(at(NOON + 34 * HOUR)).toEqual(["night"]);
	expect(at(NOON + 10 * HOUR)).toEqual(["night"]);
	expect(at(NOON + 35 * HOUR)).toEqual(["night"]);
	// two nights were seen, whatever the clock did
	expect(kept.applied.get("night")?.count).toBe(2);
});

test("sleeps until the boundary, and no longer than it trusts the clock", async () => {
	const { timerAt, sleepUntil, kept } = await keeper(window("night", "0 22 * * *", 8));
	expect(timerAt()).toBe(NOON + 30_000);
	sleepUntil(NOON + 10 * HOUR - 5000);
	expect(timerAt()).toBe(NOON + 10 * HOUR);
	kept.close();
	expect(timerAt()).toBeUndefined();
});

test("a change is in force when the reload resolves; a disabled window never holds", async () => {
	const { kept, world, names } = await keeper(window("lunch", "0 12 * * *", 1));
	world.windows = [window("lunch", "0 12 * * *", 1, { enabled: false }), window("noon", "59 11 * * *", 1)];
	await kept.reload();
	expect(names()).toEqual(["noon"]);
	expect(world.changes.at(-1)).toBe("+noon -lunch");
	world.windows = [];
	await kept.reload();
	expect(names()).toEqual([]);
});

test("new rules of a window that goes on holding are another set", async () => {
	const { kept, world } = await keeper(window("lunch", "0 12 * * *", 1));
	const before = kept.active;
	world.windows = [window("lunch", "0 12 * * *", 1, { order: 5 })];
	await kept.reload();
	expect(kept.active).not.toBe(before);
	expect(world.changes.at(-1)).toBe("+ -");
});

test("reading the same windows again changes nothing", async () => {
	const { kept, world } = await keeper(window("lunch", "0 12 * * *", 1));
	const before = kept.active;
	world.windows = [window("lunch", "0 12 * * *", 1)];
	await kept.reload();
	expect(kept.active).toBe(before);
	expect(world.changes).toEqual(["+lunch -"]);
});

test("one that cannot be read is said to be, the others hold", async () => {
	const { world, names } = await keeper(window("bad", "0 25 * * *", 1), window("lunch", "0 12 * * *", 1));
	expect(names()).toEqual(["lunch"]);
	expect(world.errors).toEqual([expect.stringContaining('time window "bad" is ignored: hour "25"')]);
});

test("the future can be asked for", () => {
	const windows = [window("night", "0 22 * * *", 8), window("off", "0 12 * * *", 1, { enabled: false })];
	expect(windowStates(windows, NOON + 12 * HOUR, utc)).toMatchObject([
		{ span: { start: NOON + 10 * HOUR, end: NOON + 18 * HOUR }, nextStart: NOON + 34 * HOUR },
		{ nextStart: NOON + DAY },
	]);
	expect(nextChange(windows, NOON, utc)).toBe(NOON + 10 * HOUR);
	expect(nextChange([], NOON, utc)).toBeUndefined();
});
