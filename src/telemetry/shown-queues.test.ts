import { expect, test } from "vitest";
import { shownQueues } from "./shown-queues.ts";

const EXPOSURE = { maxExposed: 20, inactiveMs: 1000, ranges: true };
const labels = (count: number, active: readonly number[] = [], exposure = EXPOSURE) =>
	shownQueues(count, exposure, (queue) => active.includes(queue)).map(({ label }) => label);

test("few queues are shown one by one, without ranges", () => {
	expect(labels(3)).toEqual(["0", "1", "2"]);
	expect(labels(20)).toHaveLength(20);
});

test("above the number: the active ones, and ranges of ten over all", () => {
	expect(labels(45, [3, 33]).slice(20)).toEqual(["33", "20-29", "30-39", "40-44"]);
	expect(labels(100).length).toBe(28);
	expect(labels(45, [], { ...EXPOSURE, maxExposed: 15 }).slice(15)).toEqual(["15-19", "20-29", "30-39", "40-44"]);
	expect(labels(45, [33], { ...EXPOSURE, ranges: false }).slice(20)).toEqual(["33"]);
});

test("ranges cover every queue above the number exactly once", () => {
	for (const maxExposed of [1, 7, 10, 20, 99]) {
		const shown = shownQueues(100, { ...EXPOSURE, maxExposed }, () => false);
		const covered = shown.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
		expect(covered).toEqual(Array.from({ length: 100 }, (_, i) => i));
	}
});
