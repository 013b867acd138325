/**
 * How fast the simulator is, and that its memory does not grow with the number of requests.
 *
 * Method: the whole of `tokligence simulate` but for reading and printing (life cycle, core, engine, report) over a scenario of five tiers, on the
 * engine model; and the core alone before plain servers with given service times, as the classical results use it, 5 levels × 200 flows,
 * load 0.95, drawn as they come, five times as many requests a round since each is so short. CPU time of the process (user and system) ÷ requests, median of the rounds after one to warm up, with the rounds of all interleaved. Memory: heap in use after a collection before and after a long run whose report is kept, and its highest in between.
 *
 * Usage: node --expose-gc bench/simulate.ts [--requests 200000] [--rounds 5] [--memory 1000000]
 */
import { parseArgs } from "node:util";
import { inlineMore } from "../src/cli/inlining.ts";
import { loadConfig } from "../src/config/load.ts";
import { ENGINE_PROFILES, type EngineProfile } from "../src/simulate/engine-profiles.ts";
import { Random } from "../src/simulate/random.ts";
import { simulateConfig } from "../src/simulate/report.ts";
import { readScenario, scenarioArrivals } from "../src/simulate/scenario.ts";
import { type Job, serve } from "../test/simulation/queueing.ts";

// As `tokligence` does.
inlineMore();
const { values } = parseArgs({
	options: {
		requests: { type: "string", default: "200000" },
		rounds: { type: "string", default: "5" },
		memory: { type: "string", default: "1000000" },
	},
});
const loaded = loadConfig({ text: "[capacity]\nmax_concurrent = 128\n", env: {} });
if (!loaded.ok) throw new Error("the configuration does not load");
const { config } = loaded;

/** Nine tenths of what the engine does, in five tiers. */
function scenario(requests: number, rate: number) {
	const tier = (name: string, share: number, more: object) => ({
		name,
		...more,
		rate: rate * share,
		tenants: 20,
		prompt: { min: 10, max: 500, mean: 150 },
		output: { min: 10, max: 400, mean: 100 },
	});
	return readScenario({
		duration: `${requests / rate}s`,
		tiers: [
			tier("production", 0.3, { tier: "internal", environment: "production" }),
			tier("staging", 0.1, { tier: "internal", environment: "staging" }),
			tier("premium", 0.2, { tier: "premium" }),
			tier("standard", 0.2, { tier: "external" }),
			tier("batch", 0.2, { tier: "internal", workload: "batch", stream: false }),
		],
	});
}

function run(profile: EngineProfile, rate: number, requests: number, onEnd?: () => void) {
	const arrivals = scenarioArrivals(scenario(requests, rate), 1);
	const before = process.cpuUsage();
	const report = simulateConfig({ name: "bench", config, profile, arrivals, ...(onEnd && { onEnd }) });
	const { user, system } = process.cpuUsage(before);
	return { report, perSecond: (report.total.requests / (user + system)) * 1e6 };
}

const TENANTS = Array.from({ length: 1000 }, (_, index) => `tenant-${index}`);

function* jobs(count: number): Generator<Job, void> {
	const random = new Random(1);
	for (let n = 0, at = 0; n < count; n++) {
		at += random.exponential(1);
		const flow = TENANTS[n % 1000]!;
		yield { arrivalMs: at, queue: n % 5, flow, serviceMs: random.exponential(9.5), startMs: 0, endMs: 0 };
	}
}

/** Requests per second of CPU through the core and ten plain servers. */
function plainServers(requests: number): number {
	const before = process.cpuUsage();
	serve(jobs(requests), { servers: 10 });
	const { user, system } = process.cpuUsage(before);
	return (requests / (user + system)) * 1e6;
}

const median = (list: readonly number[]) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!;
const requests = Number(values.requests);
const onEngine = (profile: EngineProfile) => () => run(profile, 24, requests).perSecond;
const SUBJECTS: { name: string; measure: () => number; target: number }[] = [
	{ name: "engine model, a100-8b", measure: onEngine(ENGINE_PROFILES["a100-8b"]), target: 100_000 },
	{ name: "engine model, h100-70b", measure: onEngine(ENGINE_PROFILES["h100-70b"]), target: 100_000 },
	{ name: "plain servers", measure: () => plainServers(5 * requests), target: 500_000 },
];
const figures = SUBJECTS.map((): number[] => []);
for (const { measure } of SUBJECTS) measure();
for (let round = 0; round < Number(values.rounds); round++)
	for (const [index, { measure }] of SUBJECTS.entries()) figures[index]!.push(measure());
for (const [index, { name, target }] of SUBJECTS.entries()) {
	const rate = median(figures[index]!);
	console.log(
		`${name.padEnd(28)}${Math.round(rate).toString().padStart(10)} requests/s of CPU (target ${target}: ${(rate / target).toFixed(2)} x)`,
	);
}
const heap = () => {
	globalThis.gc?.();
	return process.memoryUsage().heapUsed / 1e6;
};
const many = Number(values.memory);
const before = heap();
let highest = 0;
let ended = 0;
const startedAt = performance.now();
const { report } = run(ENGINE_PROFILES["a100-8b"], 24, many, () => {
	if (++ended % Math.ceil(many / 20) === 0) highest = Math.max(highest, heap());
});
const seconds = (performance.now() - startedAt) / 1000;
console.log(
	`${report.total.requests} requests in ${seconds.toFixed(1)} s: heap ${before.toFixed(1)} MB before, at most ${highest.toFixed(1)} MB, ${heap().toFixed(1)} MB after`,
);
