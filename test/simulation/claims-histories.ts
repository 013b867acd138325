/** Random histories of events, judged by book-keeping that shares nothing with the core. */
import fc from "fast-check";
import { EXAMS, PAIRS } from "../properties/core-fixtures.ts";
import { COMMANDS, History } from "../properties/core-history.ts";
import type { MakeCore, Outcome, Scale } from "./claim.ts";

export function histories(makeCore: MakeCore, { long }: Scale): Outcome {
	const runs = long ? 3334 : 40;
	let count = 0;
	let failure = "";
	for (const pair of PAIRS) {
		for (const exam of EXAMS) {
			const settings = exam.settings(pair);
			const result = fc.check(
				fc.property(COMMANDS, (commands) => {
					const history = new History(makeCore(settings), exam.judge(pair));
					for (const command of commands) history.play(command);
					history.finishAll();
				}),
				{ seed: 20_250_101, numRuns: runs, endOnFailure: true },
			);
			count += result.numRuns;
			if (result.failed) {
				const error = result.errorInstance as Error;
				failure = `${pair.allocator} × ${pair.scheduler}: ${error.message}`;
				return { figure: failure, holds: false };
			}
		}
	}
	return { figure: `0 in ${count} histories`, holds: true };
}
