/**
 * How well `tokligence simulate` predicts the gateway: the same arrivals through the real gateway before a mock LLM and through the simulator,
 * compared per tier (method in test/integration/prediction-run.ts).
 *
 * The load goes up and down around what the engine can do, so that every tier but the best waits. A tier agrees when P50 and P99 differ by at
 * most 10 %, or by at most two steps of the engine: nothing is dispatched between steps, and HTTP has its own milliseconds. The answers are
 * long, since the time from the end of one answer to the start of the next belongs to the machine and not to the prediction: on two busy
 * cores it reaches 100 ms, 1 % of an answer of 250 tokens.
 *
 * Usage: node bench/prediction.ts [--requests 20000] [--speed 1] [--profile h100-70b] [--scheduler hybrid] [--concurrent 200] [--rate 17.5]
 *   [--answer 250] [--capacity key=value]… [--save waits.json] [--real waits.json]
 *   --save keeps the gateway's waits, --real takes them from such a file instead of a run of twenty minutes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findEngineProfile } from "../src/simulate/engine-profiles.ts";
import { comparePrediction } from "../test/integration/prediction-run.ts";
import { predictionScenario } from "../test/integration/prediction-scenario.ts";

const { values } = parseArgs({
	options: {
		requests: { type: "string", default: "20000" },
		speed: { type: "string", default: "1" },
		profile: { type: "string", default: "h100-70b" },
		scheduler: { type: "string", default: "hybrid" },
		concurrent: { type: "string", default: "200" },
		rate: { type: "string", default: "17.5" },
		answer: { type: "string", default: "250" },
		save: { type: "string" },
		real: { type: "string" },
		capacity: { type: "string", multiple: true, default: [] },
	},
});
const profile = findEngineProfile(values.profile);
if (profile === undefined) throw new Error(`--profile ${values.profile}: no such engine profile`);
const rate = Number(values.rate);
const result = await comparePrediction({
	profile,
	speed: Number(values.speed),
	ini: `[request_scheduler]\nscheduler = ${values.scheduler}\n[capacity]\nmax_concurrent = ${values.concurrent}\n${values.capacity.join("\n")}\n`,
	...(values.real !== undefined && { real: JSON.parse(readFileSync(values.real, "utf8")) }),
	...(values.save !== undefined && { onReal: (requests) => writeFileSync(values.save!, JSON.stringify(requests)) }),
	scenario: predictionScenario(Number(values.requests), rate, Number(values.answer)),
});
const cell = (value: number) => value.toFixed(0).padStart(9);
console.log(
	"tier          requests  refused(sim)  p50 real      sim   differ  p99 real      sim   differ  median |difference|",
);
for (const { tier, requests, refused, p50, p99, medianDifferenceMs } of result) {
	const differ = ({ real, simulated }: typeof p50) => `${((simulated / real - 1) * 100).toFixed(1)} %`.padStart(9);
	console.log(
		`${tier.padEnd(12)}${cell(requests)}${`${refused.real} (${refused.simulated})`.padStart(14)}` +
			`${cell(p50.real)}${cell(p50.simulated)}${differ(p50)}${cell(p99.real)}${cell(p99.simulated)}${differ(p99)}${cell(medianDifferenceMs)} ms`,
	);
}
