import { describe, expect, it } from "vitest";
import { hashText, Random } from "./random.ts";

function meanOf(draw: () => number, count = 100_000): number {
	let sum = 0;
	for (let turn = 0; turn < count; turn++) sum += draw();
	return sum / count;
}

describe("Random", () => {
	it("repeats itself for a seed and differs between seeds", () => {
		const draw = (seed: number | string) => {
			const random = new Random(seed);
			return Array.from({ length: 20 }, () => random.uint32());
		};
		expect(draw(7)).toEqual(draw(7));
		expect(draw("seven")).toEqual(draw("seven"));
		expect(draw(7)).not.toEqual(draw(8));
		expect(draw("seven")).not.toEqual(draw("eight"));
	});

	it("spreads evenly over sixteen cells", () => {
		const random = new Random(1);
		const cells = new Array<number>(16).fill(0);
		for (let turn = 0; turn < 160_000; turn++) {
			const cell = Math.floor(random.next() * 16);
			cells[cell] = (cells[cell] ?? 0) + 1;
		}
		const chiSquare = cells.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
		expect(chiSquare).toBeLessThan(37.7); // 99.9 % quantile for 15 degrees of freedom
	});

	it("gives the means of its distributions", () => {
		const random = new Random(2);
		expect(meanOf(() => random.exponential(5))).toBeCloseTo(5, 1);
		expect(meanOf(() => random.normal())).toBeCloseTo(0, 1);
		expect(meanOf(() => random.normal() ** 2)).toBeCloseTo(1, 1);
		expect(meanOf(() => random.logNormal(10, 0.5)) / (10 * Math.exp(0.125))).toBeCloseTo(1, 1);
		expect(meanOf(() => random.integer(1, 6))).toBeCloseTo(3.5, 1);
	});

	it("keeps integers inside their bounds", () => {
		const random = new Random(3);
		const seen = new Set(Array.from({ length: 1000 }, () => random.integer(-1, 2)));
		expect([...seen].sort((left, right) => left - right)).toEqual([-1, 0, 1, 2]);
	});

	it("hashes texts apart", () => {
		const hashes = new Set(Array.from({ length: 10_000 }, (_, index) => hashText(`prompt ${index}`)));
		expect(hashes.size).toBeGreaterThan(9_990);
		expect(hashText("a", 1)).not.toBe(hashText("a", 2));
	});
});
