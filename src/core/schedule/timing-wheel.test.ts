import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestTable } from "./request-table.ts";
import { TimingWheel } from "./timing-wheel.ts";

type Step = { readonly kind: "set" | "cancel" | "advance"; readonly by: number };

const step = fc.record({
	kind: fc.constantFrom<Step["kind"]>("set", "set", "cancel", "advance"),
	by: fc.oneof(
		fc.double({ min: 0, max: 200, noNaN: true }),
		fc.double({ min: 0, max: 1e5, noNaN: true }),
		fc.double({ min: 0, max: 4e9, noNaN: true }),
	),
});

test("timers fire in the first millisecond at or after their time, each once, none cancelled", () => {
	fc.assert(
		fc.property(fc.array(step, { maxLength: 80 }), fc.nat(2 ** 41), (steps, start) => {
			const requests = new RequestTable();
			const wheel = new TimingWheel(requests);
			const armed = new Map<number, number>();
			let now = start;
			for (const { kind, by } of steps) {
				if (kind === "set") {
					const row = requests.allocate();
					armed.set(row, now + by);
					wheel.set(row, now + by, now);
				} else if (kind === "cancel") {
					const row = [...armed.keys()][Math.floor(by) % Math.max(1, armed.size)];
					if (row !== undefined) {
						wheel.cancel(row);
						armed.delete(row);
					}
				} else {
					now += by;
					for (let row = wheel.expire(now); row >= 0; row = wheel.expire(now)) {
						expect(armed.get(row)).toBeLessThanOrEqual(now);
						armed.delete(row);
					}
					for (const dueAt of armed.values()) expect(Math.ceil(dueAt)).toBeGreaterThan(now);
				}
				const earliest = Math.min(...armed.values());
				expect(wheel.nextAt()).toBeLessThanOrEqual(Math.ceil(earliest));
				if (armed.size === 0) expect(wheel.nextAt()).toBe(Number.POSITIVE_INFINITY);
			}
		}),
		{ numRuns: 500 },
	);
});

test("following nextAt alone fires every timer on time", () => {
	fc.assert(
		fc.property(fc.array(fc.integer({ min: 0, max: 1e7 }), { minLength: 1, maxLength: 50 }), (times) => {
			const requests = new RequestTable();
			const wheel = new TimingWheel(requests);
			for (const at of times) wheel.set(requests.allocate(), at, 0);
			const fired: number[] = [];
			let wakes = 0;
			while (wheel.nextAt() < Number.POSITIVE_INFINITY) {
				const now = wheel.nextAt();
				wakes++;
				for (let row = wheel.expire(now); row >= 0; row = wheel.expire(now)) {
					expect(requests.dueAt(row)).toBe(now);
					fired.push(now);
				}
			}
			expect(fired).toEqual([...times].sort((a, b) => a - b));
			expect(wakes).toBeLessThanOrEqual(5 * times.length);
		}),
	);
});
