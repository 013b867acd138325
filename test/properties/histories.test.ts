/**
 * Random histories against every pair of allocator and scheduler. The seed is in the name of each test; `HISTORY_SEED` repeats one,
 * `HISTORY_RUNS` runs more than the slice of every day.
 */
import fc from "fast-check";
import { describe, test } from "vitest";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { hasBucketRates, PAIRS, PLAIN_CAPACITY, queuesOf, settingsOf } from "./core-fixtures.ts";
import { COMMAND_KINDS, type Command, type CommandKind, History, type HistoryOptions } from "./core-history.ts";

const seed = Number(process.env["HISTORY_SEED"] ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env["HISTORY_RUNS"] ?? 40);

const WEIGHTS: Partial<Record<CommandKind, number>> = { submit: 14, finish: 8, produced: 4, advance: 3, cancel: 2 };

const number = fc.nat(10_000);
const command: fc.Arbitrary<Command> = fc.record({
	kind: fc.oneof(...COMMAND_KINDS.map((kind) => ({ weight: WEIGHTS[kind] ?? 1, arbitrary: fc.constant(kind) }))),
	a: number,
	b: number,
	c: number,
});
const commands = fc.array(command, { minLength: 10, maxLength: 150, size: "max" });

function run(makeCore: () => SchedulingCore, options: HistoryOptions): void {
	fc.assert(
		fc.property(commands, (history) => {
			const player = new History(makeCore(), options);
			for (const event of history) player.play(event);
			player.finishAll();
		}),
		{ seed, numRuns },
	);
}

const KNOWN_COSTS = [1];
const WRONG_COSTS = [1, 0, 0.2, 3, 10];

describe(`every allocator with every scheduler, random histories (seed ${seed})`, () => {
	for (const pair of PAIRS) {
		const name = `${pair.allocator} × ${pair.scheduler}`;

		test(`${name}: space only, known costs: exactly once, in order, no idle room`, () => {
			const settings = settingsOf(pair, {
				preemption: { victims: [3, 4], preemptorMax: 1, maxPerRequest: 1, flowing: false, maxAgeMs: 5000 },
			});
			run(() => new SchedulingCore(settings), {
				workConserving: !hasBucketRates(pair),
				strictOrder: pair.allocator === "priority" && pair.scheduler === "strict",
				outputFactors: KNOWN_COSTS,
			});
		});

		test(`${name}: token budget, two endpoints, wrong estimates, crowded queues`, () => {
			const queues = queuesOf(pair).map((queue) => ({ ...queue, maxDepth: 6 }));
			const settings = settingsOf(pair, {
				queues,
				maxWaiting: 20,
				maxWaitingBytes: 60_000,
				ruleDepths: [2],
				pools: [{ name: "main", endpoints: 2, capacity: { ...PLAIN_CAPACITY, maxInflightTokens: 700 } }],
			});
			run(() => new SchedulingCore(settings), {
				workConserving: !hasBucketRates(pair),
				strictOrder: false,
				outputFactors: WRONG_COSTS,
			});
		});

		test(`${name}: headroom, prefill window, rates, two pools with failover, preemption`, () => {
			const queues = queuesOf(pair).map((queue, index) => (index === 2 ? { ...queue, limitTps: 500 } : queue));
			const capacity = {
				...PLAIN_CAPACITY,
				maxConcurrent: 9,
				maxInflightTokens: 1500,
				maxPrefillTokens: "auto" as const,
				headroom: 0.2,
				maxTokensPerSec: 3000,
				maxRps: 100,
			};
			const settings = settingsOf(pair, {
				queues,
				maxWaiting: 40,
				pools: [
					{ name: "first", endpoints: 2, capacity },
					{ name: "second", endpoints: 1, capacity: { ...capacity, maxRps: Number.POSITIVE_INFINITY } },
				],
				preemption: { victims: [2, 3, 4], preemptorMax: 1, maxPerRequest: 2, flowing: true, maxAgeMs: 5000 },
			});
			run(() => new SchedulingCore(settings), {
				workConserving: false,
				strictOrder: false,
				outputFactors: WRONG_COSTS,
			});
		});
	}
});
