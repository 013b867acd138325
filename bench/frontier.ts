/**
 * The frontier: production's time to first token against throughput, core × engine model on virtual time.
 *
 * Method: production arrives as a Poisson stream (prompt lognormal median 490, output median 134) beside a batch backlog that never
 * ends (735 / 270); 300 s per run after 30 s of warm-up, several seeds, TTFT counted from arrival at the gateway. `oracle` is
 * instant admission: the same engine at the same batch occupancy, production goes straight to an engine with room for it. `fifo`
 * sends everything at once. Ratios are against the oracle and against the best throughput of the engine. Virtual time: the
 * figures are the same on any machine. Usage: node bench/frontier.ts [--seeds N] [--quick] [--profile NAME,NAME]
 */
import { parseArgs } from "node:util";
import { priorityQueues } from "../src/core/allocate/priority-allocator.ts";
import type { SchedulerKind } from "../src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY, type PreemptionSettings } from "../src/core/schedule/core-settings.ts";
import { flowPath } from "../src/core/schedule/flow-path.ts";
import { ENGINE_PROFILES, type EngineProfile } from "../src/simulate/engine-profiles.ts";
import { Random } from "../src/simulate/random.ts";
import { type SimulatedRequest, simulate } from "../src/simulate/simulation.ts";

const { values } = parseArgs({
	options: {
		seeds: { type: "string", default: "3" },
		quick: { type: "boolean", default: false },
		profile: { type: "string" },
	},
});
const SEEDS = Number(values.seeds);
const WARM_UP_MS = 30_000;
const END_MS = 330_000;
/** 0.75 requests per second. */
const MEAN_GAP_MS = 1333;

interface Setting {
	readonly label: string;
	readonly profile: EngineProfile;
	readonly limit: number;
	readonly headroom: number;
	readonly window: number | "auto";
	readonly scheduler?: SchedulerKind;
	readonly preemption?: PreemptionSettings;
	readonly mode?: "scheduled" | "oracle" | "fifo";
	readonly promptScale?: number;
	/** Only requests of the first 30 s after the flood begins count. */
	readonly onset?: boolean;
}

function lengths(random: Random, median: number, sigma: number, largest: number): number {
	return Math.max(1, Math.min(largest, Math.round(median * Math.exp(sigma * random.normal()))));
}

function workload(setting: Setting, seed: number): SimulatedRequest[] {
	const random = new Random(seed);
	const requests: SimulatedRequest[] = [];
	const production = flowPath(["prod", "prod"]);
	const begin = setting.onset === true ? 30_000 : 0;
	for (let at = 0; at < END_MS; at += random.exponential(MEAN_GAP_MS)) {
		const outputTokens = lengths(random, 134, 0.6, 1024);
		requests.push({
			arrivalMs: at,
			queue: 0,
			flow: production,
			promptTokens: lengths(random, 490, 0.6, 2048),
			outputTokens,
			expectedOutputTokens: outputTokens,
			bypass: setting.mode === "oracle",
		});
	}
	const batch = 12_000;
	for (let i = 0; i < batch; i++) {
		const outputTokens = lengths(random, 270, 0.6, 1024);
		requests.push({
			arrivalMs: begin,
			queue: 4,
			flow: flowPath([`batch-${i % 4}`, `batch-${i % 4}`]),
			promptTokens: lengths(random, 735 * (setting.promptScale ?? 1), 0.6, 4096 * (setting.promptScale ?? 1)),
			outputTokens,
			expectedOutputTokens: outputTokens,
			buffered: true,
		});
	}
	return requests.sort((a, b) => a.arrivalMs - b.arrivalMs);
}

const quantile = (sorted: number[], q: number) =>
	sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;

export interface Outcome {
	readonly p50: number;
	readonly p99: number;
	readonly tokensPerSec: number;
	readonly engineQueue: number;
	readonly preemptions: number;
}

function run(setting: Setting): Outcome {
	const ttft: number[] = [];
	let tokens = 0;
	let engineQueue = 0;
	let preemptions = 0;
	const from = setting.onset === true ? 30_000 : WARM_UP_MS;
	const to = setting.onset === true ? 60_000 : END_MS;
	for (let seed = 1; seed <= SEEDS; seed++) {
		const base = setting.profile;
		const profile = setting.mode === "oracle" ? { ...base, slots: base.slots * 2, kvTokens: base.kvTokens * 2 } : base;
		const all = workload(setting, seed);
		const unlimited = setting.mode === "fifo";
		const result = simulate({
			core: coreSettings({
				scheduler: setting.scheduler ?? "strict",
				queues: priorityQueues({ levels: 5, defaultPriority: 4 }).map((queue) => ({ ...queue, maxDepth: 1e6 })),
				maxWaiting: 1e6,
				...(setting.preemption === undefined ? {} : { preemption: setting.preemption }),
				pools: [
					{
						name: "default",
						endpoints: 1,
						capacity: {
							...DEFAULT_CAPACITY,
							maxConcurrent: unlimited ? Number.POSITIVE_INFINITY : setting.limit,
							maxInflightTokens: unlimited ? Number.POSITIVE_INFINITY : base.kvTokens,
							headroom: unlimited ? 0 : setting.headroom,
							maxPrefillTokens: unlimited ? Number.POSITIVE_INFINITY : setting.window,
						},
					},
				],
			}),
			engines: [[profile]],
			requests: all,
			untilMs: to,
			onEnd: (request) => {
				if (request.finishedMs !== undefined && request.finishedMs >= from && request.finishedMs < to) {
					tokens += request.promptTokens + request.outputTokens;
				}
			},
		});
		// One that never started has waited at least until the end.
		for (const request of all) {
			if (request.queue !== 0 || request.arrivalMs < from || request.arrivalMs > to - 10_000) continue;
			ttft.push((request.firstTokenMs ?? to) - request.arrivalMs);
		}
		engineQueue += result.engines[0]![0]!.totals.waitingRequestMs / result.endMs / SEEDS;
		preemptions += result.preemptions;
	}
	ttft.sort((a, b) => a - b);
	return {
		p50: quantile(ttft, 0.5),
		p99: quantile(ttft, 0.99),
		tokensPerSec: tokens / SEEDS / ((to - from) / 1000),
		engineQueue,
		preemptions,
	};
}

const preemption: PreemptionSettings = {
	victims: [3, 4],
	preemptorMax: 1,
	maxPerRequest: 1,
	flowing: false,
	maxAgeMs: 5000,
};

function table(title: string, settings: Setting[]): void {
	const rows = settings.map((setting) => ({ setting, outcome: run(setting) }));
	const best = Math.max(...rows.filter((row) => row.setting.mode !== "oracle").map((row) => row.outcome.tokensPerSec));
	const oracle = rows.find((row) => row.setting.mode === "oracle")!.outcome.p99;
	console.log(`\n${title}\n${"setting".padEnd(44)} P50 ms   P99 ms  ×oracle  tok/s  of best  engine queue`);
	for (const { setting, outcome } of rows) {
		console.log(
			`${setting.label.padEnd(42)}${outcome.p50.toFixed(0).padStart(8)} ${outcome.p99.toFixed(0).padStart(8)} ${(outcome.p99 / oracle).toFixed(2).padStart(8)} ${outcome.tokensPerSec.toFixed(0).padStart(6)} ${((outcome.tokensPerSec / best) * 100).toFixed(1).padStart(7)}% ${outcome.engineQueue.toFixed(2).padStart(8)}${outcome.preemptions > 0 ? `  ${outcome.preemptions} preempted` : ""}`,
		);
	}
}

const OFF = Number.POSITIVE_INFINITY;
for (const name of (values.profile ?? "a100-8b,h100-70b,a10g-7b").split(",") as (keyof typeof ENGINE_PROFILES)[]) {
	const profile = ENGINE_PROFILES[name];
	const limit = profile.slots;
	const settings: Setting[] = [
		{ label: "pass-through (FIFO in the engine)", profile, limit, headroom: 0, window: OFF, mode: "fifo" },
		{ label: "oracle: instant admission", profile, limit, headroom: 0, window: "auto", mode: "oracle" },
	];
	for (const scheduler of ["strict", "wfq"] as const) {
		for (const headroom of [0, 0.02, 0.03, 0.05, 0.1]) {
			settings.push({
				label: `${scheduler} headroom ${headroom} window auto`,
				profile,
				limit,
				headroom,
				window: "auto",
				scheduler,
			});
		}
	}
	settings.push({ label: "strict headroom 0.03 window off", profile, limit, headroom: 0.03, window: OFF });
	settings.push({ label: "strict headroom 0.03 window 512", profile, limit, headroom: 0.03, window: 512 });
	settings.push({
		label: "strict headroom 0.03 limit 0.9",
		profile,
		limit: Math.round(limit * 0.9),
		headroom: 0.03,
		window: "auto",
	});
	settings.push({
		label: "strict headroom 0.03 preemption",
		profile,
		limit,
		headroom: 0.03,
		window: "auto",
		preemption,
	});
	settings.push({ label: "strict headroom 0 preemption", profile, limit, headroom: 0, window: "auto", preemption });
	for (const maxPerRequest of [2, 4, 1000]) {
		for (const headroom of [0.03, 0.1]) {
			settings.push({
				label: `strict headroom ${headroom} preemption ≤ ${maxPerRequest} each`,
				profile,
				limit,
				headroom,
				window: "auto",
				preemption: { ...preemption, maxPerRequest },
			});
		}
	}
	table(name, settings);
	if (values.quick) continue;
	for (const onset of [true, false]) {
		for (const promptScale of onset ? [1] : [4]) {
			table(`${name}, ${onset ? "onset of a flood" : `batch prompts × ${promptScale}`}`, [
				{ label: "oracle", profile, limit, headroom: 0, window: OFF, mode: "oracle", onset, promptScale },
				{ label: "headroom 0.03, no window", profile, limit, headroom: 0.03, window: OFF, onset, promptScale },
				{ label: "headroom 0.03, window auto", profile, limit, headroom: 0.03, window: "auto", onset, promptScale },
				{ label: "headroom 0.03, window 512", profile, limit, headroom: 0.03, window: 512, onset, promptScale },
			]);
		}
	}
}
