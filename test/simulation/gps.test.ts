/** The fluid reference against cases worked by hand, and against the theorem about schedulers that are made of it. */
import { expect, test } from "vitest";
import { EVERY_RUN } from "./claim.ts";
import { oracleExam } from "./claims-fluid.ts";
import { expectedArrivals, fluidFinishes } from "./gps.ts";

test("two clients share, then the one that is left has all", () => {
	const requests = [
		{ arrivalMs: 0, client: 0, cost: 10 },
		{ arrivalMs: 0, client: 1, cost: 30 },
	];
	// Each at half of 1/ms until 20; then 20 are left of the second.
	expect([...fluidFinishes(requests, [1, 1], 1)]).toEqual([20, 40]);
	// At 3/4 and 1/4: the first leaves at 10 / .75.
	expect(fluidFinishes(requests, [3, 1], 1)[0]).toBeCloseTo(40 / 3);
	expect(fluidFinishes(requests, [3, 1], 1)[1]).toBeCloseTo(40);
});

test("a client's requests leave one after the other, a later client shares from its arrival on, an idle one hoards nothing", () => {
	const requests = [
		{ arrivalMs: 0, client: 0, cost: 10 },
		{ arrivalMs: 0, client: 0, cost: 10 },
		{ arrivalMs: 10, client: 1, cost: 5 },
		{ arrivalMs: 100, client: 1, cost: 4 },
		{ arrivalMs: 100, client: 0, cost: 4 },
	];
	expect([...fluidFinishes(requests, [1, 1], 1)]).toEqual([10, 25, 20, 108, 108]);
});

test("expected arrivals are those at the guaranteed rate", () => {
	const requests = [
		{ arrivalMs: 0, client: 0, cost: 10 },
		{ arrivalMs: 1, client: 0, cost: 10 },
		{ arrivalMs: 100, client: 0, cost: 10 },
	];
	expect([...expectedArrivals(requests, [1, 3], 1)]).toEqual([0, 40, 100]);
});

test("served in the order of fluid finishes nothing is later than the fluid system + Lmax/C; first come first served is", () => {
	const { finishTag, firstCome, firstComeStartTag } = oracleExam(EVERY_RUN);
	expect(finishTag).toBe(0);
	expect(firstCome).toBeGreaterThan(1000);
	expect(firstComeStartTag).toBeGreaterThan(1000);
});
