/**
 * An exponential series of a hundred buckets ends at 10⁻¹⁴ of its base. A request down there must not push virtual time so far that the
 * shares of those at the top lose their last digits: as a weight a bucket counts at least a thousandth of the largest.
 */
import { expect, test } from "vitest";
import { bucketQueues } from "../../src/core/allocate/bucket-allocator.ts";
import { Random } from "../../src/simulate/random.ts";
import { serveBacklogged, worstDifference } from "./backlog.ts";

const BUCKETS = 100;
const RATIO = 0.7;
const LARGEST = 100;

/** The worst difference of the two best buckets as a part of its bound, after requests in the last bucket and a rest. */
function drift(scheduler: "wfq" | "drr", weights: readonly number[]): number {
	const random = new Random(99);
	const served = serveBacklogged({
		scheduler,
		queueWeights: weights,
		quantum: 512,
		clients: [
			{ flow: "tail", queue: BUCKETS - 1, cost: () => 2000, untilMs: 1 },
			{ flow: "best", queue: 0, cost: () => random.integer(1, LARGEST), fromMs: 5000 },
			{ flow: "second", queue: 1, cost: () => random.integer(1, LARGEST), fromMs: 5000 },
		],
		dispatches: 50_000,
	});
	const of = [weights[BUCKETS - 1]!, weights[0]!, weights[1]!];
	const bound = LARGEST / of[1]! + LARGEST / of[2]! + (scheduler === "drr" ? 512 : 0);
	expect(served.slice(0, 3).map(({ client }) => client)).toEqual([0, 0, 0]);
	return worstDifference(served.slice(3), of, 1, 2) / bound;
}

test.each(["wfq", "drr"] as const)(
	"%s: requests in bucket 99 leave the shares of buckets 0 and 1 exact",
	(scheduler) => {
		const weights = bucketQueues({
			buckets: {
				count: BUCKETS,
				baseCapacityTps: 100,
				distribution: "exponential",
				decayRatio: RATIO,
				basis: "bucket0",
			},
			mappings: [],
			scheduler,
			levels: 5,
		}).map(({ weight }) => weight);
		expect(drift(scheduler, weights)).toBeLessThanOrEqual(1);
	},
);

test("with the series itself as weights they would not be", () => {
	const series = Array.from({ length: BUCKETS }, (_, bucket) => 100 * RATIO ** bucket);
	expect(drift("wfq", series)).toBeGreaterThan(1);
});
