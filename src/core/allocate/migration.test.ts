import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bucketsOfLevel } from "./migration.ts";

describe("bucketsOfLevel", () => {
	const all = (levels: number, count: number) =>
		Array.from({ length: levels }, (_, level) => bucketsOfLevel(level, levels, count));

	it("is the table of the design with five levels and ten buckets", () => {
		expect(all(5, 10)).toEqual([
			[0, 1],
			[2, 3],
			[4, 5],
			[6, 8],
			[9, 9],
		]);
	});

	it("keeps the proportions with other counts", () => {
		expect(all(5, 100)).toEqual([
			[0, 19],
			[20, 39],
			[40, 59],
			[60, 89],
			[90, 99],
		]);
		expect(all(5, 5).map(([first]) => first)).toEqual([0, 1, 2, 3, 4]);
		expect(all(10, 20)).toEqual([
			[0, 1],
			[2, 3],
			[4, 5],
			[6, 7],
			[8, 9],
			[10, 11],
			[12, 14],
			[15, 17],
			[18, 18],
			[19, 19],
		]);
	});

	it("stays inside, covers all buckets and never falls", () => {
		fc.assert(
			fc.property(fc.integer({ min: 2, max: 20 }), fc.integer({ min: 2, max: 100 }), (levels, count) => {
				const ranges = all(levels, count);
				expect(ranges[0]![0]).toBe(0);
				expect(ranges.at(-1)![1]).toBe(count - 1);
				for (const [index, [first, last]] of ranges.entries()) {
					expect(first <= last && last < count).toBe(true);
					const next = ranges[index + 1];
					if (next === undefined) continue;
					expect(next[0] >= first && next[0] <= last + 1).toBe(true);
					if (count >= 2 * levels) expect(next[0]).toBe(last + 1);
				}
			}),
		);
	});
});
