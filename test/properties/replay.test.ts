/** A core made again from the events of another, through JSON, decides the same and stands where it stood. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { flowPath, keysOf } from "../../src/core/schedule/flow-path.ts";
import { RecordingCore, replay } from "../../src/core/schedule/recording.ts";
import { EXAMS, PAIRS } from "./core-fixtures.ts";
import { COMMANDS, History } from "./core-history.ts";

test.each(EXAMS.map((exam) => [exam.name, exam] as const))("%s", (_, exam) => {
	for (const pair of PAIRS) {
		fc.assert(
			fc.property(COMMANDS, (commands) => {
				const settings = exam.settings(pair);
				const core = new RecordingCore(settings);
				const decisions: string[] = [];
				const next = core.next.bind(core);
				core.next = () => {
					const decision = next();
					if (decision !== undefined) decisions.push(JSON.stringify(decision));
					return decision;
				};
				const history = new History(core, exam.judge(pair));
				for (const command of commands) history.play(command);
				const before = JSON.stringify(core.snapshot());
				const again = replay(settings, JSON.parse(JSON.stringify(core.events)));
				expect(again.decisions.map((decision) => JSON.stringify(decision))).toEqual(decisions);
				expect(JSON.stringify(again.core.snapshot())).toBe(before);
				expect(core.snapshot().requests).toHaveLength(core.requestCount);
			}),
			{ numRuns: 5 },
		);
	}
});

test("a path gives back its keys, hostile ones too", () => {
	fc.assert(
		fc.property(fc.array(fc.string({ unit: fc.constantFrom("a", "\0", "\x01", "b") }), { minLength: 1 }), (keys) => {
			expect(keysOf(flowPath(keys))).toEqual(keys);
		}),
	);
});
