import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimit } from "./rate-limit.ts";

test("S7: r = 100, b = 1000, 50-token requests at 10/s for 60 s → 139 admitted", () => {
	const limit = new RateLimit(100, 1000, 0);
	let admitted = 0;
	for (let i = 0; i < 600; i++) if (limit.take(50, i * 100) === 0) admitted++;
	expect(admitted).toBe(139);
});

test("admitted in any interval is at most burst + rate × time, and a wait that it names is enough", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 1, max: 1000 }),
			fc.integer({ min: 1, max: 1000 }),
			fc.array(fc.tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 1, max: 500 }))),
			(rate, burst, steps) => {
				const limit = new RateLimit(rate, burst, 0);
				const taken: [number, number][] = [];
				let now = 0;
				for (const [gap, amount] of steps) {
					now += gap;
					const wait = limit.take(amount, now);
					if (wait === 0) taken.push([now, amount]);
					else if (Number.isFinite(wait)) {
						now += wait + 1e-6;
						expect(limit.take(amount, now)).toBe(0);
						taken.push([now, amount]);
					} else expect(amount).toBeGreaterThan(burst);
				}
				for (let from = 0; from < taken.length; from++) {
					let sum = 0;
					for (let to = from; to < taken.length; to++) {
						sum += taken[to]![1];
						expect(sum).toBeLessThanOrEqual(burst + ((taken[to]![0] - taken[from]![0]) * rate) / 1000 + 1e-6);
					}
				}
			},
		),
	);
});
