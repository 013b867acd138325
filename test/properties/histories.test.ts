/**
 * Random histories against every pair of allocator and scheduler. The seed is in the name of the suite; `HISTORY_SEED` repeats one,
 * `HISTORY_RUNS` runs more than the slice of every day.
 */
import fc from "fast-check";
import { describe, test } from "vitest";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { EXAMS, PAIRS } from "./core-fixtures.ts";
import { COMMANDS, History } from "./core-history.ts";

const seed = Number(process.env["HISTORY_SEED"] ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env["HISTORY_RUNS"] ?? 40);

describe(`every allocator with every scheduler, random histories (seed ${seed})`, () => {
	for (const pair of PAIRS) {
		for (const exam of EXAMS) {
			test(`${pair.allocator} × ${pair.scheduler}: ${exam.name}`, () => {
				const settings = exam.settings(pair);
				const judge = exam.judge(pair);
				fc.assert(
					fc.property(COMMANDS, (commands) => {
						const history = new History(new SchedulingCore(settings), judge);
						for (const command of commands) history.play(command);
						history.finishAll();
					}),
					{ seed, numRuns },
				);
			});
		}
	}
});
