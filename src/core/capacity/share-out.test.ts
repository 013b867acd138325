import { describe, expect, test } from "vitest";
import { Random } from "../../simulate/random.ts";
import { type Claim, shareOut } from "./share-out.ts";

const claim = (target: number, lower: number, upper: number): Claim => ({ target, lower, upper });

describe("S8: reserved, lent and borrowed shares", () => {
	test.each([
		["nominal 12/12, demand 24/6, the second lends at most 4", 24, [claim(24, 12, 24), claim(6, 8, 12)], [16, 8]],
		[
			"(50,20,100)(30,30,60)(20,5,100) of 100",
			100,
			[claim(50, 20, 100), claim(30, 30, 60), claim(20, 5, 100)],
			[50, 30, 20],
		],
		[
			"(80,10,90)(30,25,30)(10,10,100) of 100",
			100,
			[claim(80, 10, 90), claim(30, 25, 30), claim(10, 10, 100)],
			[65, 25, 10],
		],
		[
			"(10,10,10)(20,0,40)(60,15,40) of 40",
			40,
			[claim(10, 10, 10), claim(20, 0, 40), claim(60, 15, 40)],
			[10, 7.5, 22.5],
		],
	])("%s", (_, capacity, claims, expected) => {
		const shares = shareOut(capacity, claims);
		for (const [index, share] of shares.entries()) expect(share).toBeCloseTo(expected[index]!, 6);
	});

	test("10,000 random problems satisfy the optimality conditions", () => {
		const random = new Random(8);
		for (let problem = 0; problem < 10_000; problem++) {
			const claims = Array.from({ length: random.integer(1, 12) }, () => {
				const lower = random.integer(0, 3) === 0 ? 0 : random.next() * 50;
				const upper = random.integer(0, 5) === 0 ? Number.POSITIVE_INFINITY : lower + random.next() * 100;
				return claim(random.integer(0, 6) === 0 ? 0 : random.next() * 100, lower, upper);
			});
			const capacity = random.next() * 400;
			const shares = shareOut(capacity, claims);
			const total = shares.reduce((sum, share) => sum + share, 0);
			const least = claims.reduce((sum, { lower }) => sum + lower, 0);
			// What has no target never grows beyond its lower bound.
			const most = claims.reduce((sum, { target, lower, upper }) => sum + (target > 0 ? upper : lower), 0);
			expect(total).toBeCloseTo(Math.min(Math.max(capacity, least), most), 6);
			for (const [i, one] of claims.entries()) {
				const share = shares[i]!;
				expect(share).toBeGreaterThanOrEqual(one.lower - 1e-6);
				expect(share).toBeLessThanOrEqual(one.upper + 1e-6);
				for (const [j, other] of claims.entries()) {
					// Nobody above its lower bound has more for its target than another that is below its upper bound.
					if (one.target === 0 || other.target === 0 || share <= one.lower + 1e-6 || shares[j]! >= other.upper - 1e-6)
						continue;
					expect(share / one.target).toBeLessThanOrEqual(shares[j]! / other.target + 1e-6);
				}
			}
		}
	});
});
