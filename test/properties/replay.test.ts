/** A core made again from the events of another, through JSON, decides the same and stands where it stood. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { flowPath, keysOf } from "../../src/core/schedule/flow-path.ts";
import { RECORDED_METHODS, RecordingCore, replay } from "../../src/core/schedule/recording.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { EXAMS, PAIRS, settingsOf } from "./core-fixtures.ts";
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

test("every method that changes a core is recorded", () => {
	const reading = [
		"constructor",
		"next",
		"nextWakeAt",
		"configuredCapacity",
		"snapshot",
		"isWaiting",
		"estimateStart",
		"outlook",
		"waitingUnder",
	];
	const methods = Object.entries(Object.getOwnPropertyDescriptors(SchedulingCore.prototype))
		.filter(([, { value }]) => typeof value === "function")
		.map(([name]) => name);
	expect(methods.filter((name) => !reading.includes(name)).sort()).toEqual([...RECORDED_METHODS].sort());
});

test("a scaled capacity is replayed, once", () => {
	const settings = settingsOf({ allocator: "priority", scheduler: "strict" });
	const core = new RecordingCore(settings);
	core.scaleCapacity(0.5, 1);
	for (let i = 0; i < 4; i++) {
		core.submit(submitRequest({ flow: flowPath(["one"]), promptTokens: 1, completionTokens: 1 }), 2);
	}
	expect(core.events).toHaveLength(5);
	const again = replay(settings, JSON.parse(JSON.stringify(core.events)));
	expect(again.decisions.filter(({ kind }) => kind === "dispatch").length).toBeLessThan(4);
	expect(again.core.snapshot()).toEqual(core.snapshot());
});
