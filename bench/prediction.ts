/**
 * How well `tokligence simulate` predicts the gateway: the same arrivals through the real gateway before a mock LLM and through the simulator,
 * compared per tier (method in test/integration/prediction-run.ts).
 *
 * Between a decision and the engine's step, and between the end of a step and the settling of a request, time passes that belongs to the
 * machine. The simulator is told of it as one number per direction: the means of a calibration, a run of its own with other arrivals, in which
 * the gateway's ledger and the mock LLM's say when each did what. Nothing of the run that is predicted goes into its prediction.
 *
 * Usage: node bench/prediction.ts [--requests 20500] [--calibration 1200] [--speed 1] [--profile h100-70b] [--scheduler hybrid] [--concurrent 200]
 *   [--clock real] [--rate 15.5] [--answer 250] [--capacity key=value]… [--save run.json] [--real run.json]
 *   --save keeps what gateway and mock said, --real takes it from such a file instead of a run of twenty minutes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { findEngineProfile } from "../src/simulate/engine-profiles.ts";
import { comparePrediction, networkDelayOf, type RealRequest } from "../test/integration/prediction-run.ts";
import { predictionScenario } from "../test/integration/prediction-scenario.ts";

const { values } = parseArgs({
	options: {
		requests: { type: "string", default: "20500" },
		speed: { type: "string", default: "1" },
		profile: { type: "string", default: "h100-70b" },
		scheduler: { type: "string", default: "hybrid" },
		concurrent: { type: "string", default: "200" },
		rate: { type: "string", default: "15.5" },
		calibration: { type: "string", default: "1200" },
		clock: { type: "string", default: "virtual" },
		answer: { type: "string", default: "250" },
		save: { type: "string" },
		real: { type: "string" },
		capacity: { type: "string", multiple: true, default: [] },
	},
});
const profile = findEngineProfile(values.profile);
if (profile === undefined) throw new Error(`--profile ${values.profile}: no such engine profile`);
const rate = Number(values.rate);
if (values.clock !== "virtual" && values.clock !== "real") throw new Error("--clock: virtual or real is allowed");
const common = {
	clock: values.clock as "virtual" | "real",
	profile,
	speed: Number(values.speed),
	ini: `[request_scheduler]\nscheduler = ${values.scheduler}\n[capacity]\nmax_concurrent = ${values.concurrent}\n${values.capacity.join("\n")}\n`,
};
interface Saved {
	readonly calibration: readonly RealRequest[];
	readonly requests: readonly RealRequest[];
}
const saved: Saved | undefined = values.real === undefined ? undefined : JSON.parse(readFileSync(values.real, "utf8"));

let calibration: readonly RealRequest[] = [];
await comparePrediction({
	...common,
	...(saved && { real: saved.calibration }),
	scenario: predictionScenario(Number(values.calibration), rate, Number(values.answer), 8),
	onReal: (requests) => {
		calibration = requests;
	},
});
const network = networkDelayOf(calibration);
const result = await comparePrediction({
	...common,
	network,
	...(saved && { real: saved.requests }),
	scenario: predictionScenario(Number(values.requests), rate, Number(values.answer)),
	onReal: (requests) => {
		if (values.save !== undefined)
			writeFileSync(values.save, JSON.stringify({ calibration, requests } satisfies Saved));
		const { requestMs, responseMs } = networkDelayOf(requests);
		console.log(
			`to the engine ${network.requestMs.toFixed(1)} ms and back ${network.responseMs.toFixed(1)} ms in the calibration (${requestMs.toFixed(1)} and ${responseMs.toFixed(1)} in the run)`,
		);
	},
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
