/**
 * The frontier's scenario on virtual time: production beside a batch backlog that never ends, on one engine of a profile, behind the core
 * with one setting. Used by `frontier.ts` (sweeps) and `frontier-live.ts` (beside real processes).
 *
 * Production arrives as a Poisson stream; TTFT counts from arrival. `oracle` is instant admission: the same engine at the same batch
 * occupancy, production goes straight to an engine with room for it. `fifo` sends everything at once.
 */
import { priorityQueues } from "../src/core/allocate/priority-allocator.ts";
import type { SchedulerKind } from "../src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY, type PreemptionSettings } from "../src/core/schedule/core-settings.ts";
import { flowPath } from "../src/core/schedule/flow-path.ts";
import type { EngineProfile } from "../src/simulate/engine-profiles.ts";
import { Random } from "../src/simulate/random.ts";
import { type SimulatedRequest, simulate } from "../src/simulate/simulation.ts";

const WARM_UP_MS = 30_000;
const END_MS = 330_000;
/** 0.75 requests per second. */
export const MEAN_GAP_MS = 1333;

export interface Setting {
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
	/** The batch comes from two tiers, levels 3 and 4 (weights 1 : 0.5), each with a backlog that never ends. Default: level 4 alone. */
	readonly twoTiers?: boolean;
}

/** Levels of the low tiers, and what part of the rest their weights give them. */
export const LOW_TIERS: readonly { readonly level: number; readonly share: number }[] = [
	{ level: 3, share: 2 / 3 },
	{ level: 4, share: 1 / 3 },
];

/** How far the service of the low tiers is off their weights, at worst, as a part of what is due; NaN without service. */
export function shareError(costs: readonly number[]): number {
	const total = costs.reduce((sum, cost) => sum + cost, 0);
	return Math.max(...LOW_TIERS.map(({ share }, index) => Math.abs(costs[index]! / total / share - 1)));
}

/** Service of a request, as the scheduler counts it. */
export function serviceOf(promptTokens: number, outputTokens: number): number {
	return promptTokens + 2 * outputTokens;
}

/** Medians of lognormal lengths, in tokens, and where they are cut. */
export interface Shape {
	readonly prompt: number;
	readonly output: number;
	readonly largestPrompt: number;
	readonly largestOutput: number;
}

export const PRODUCTION: Shape = { prompt: 490, output: 134, largestPrompt: 2048, largestOutput: 1024 };
export const BATCH: Shape = { prompt: 735, output: 270, largestPrompt: 4096, largestOutput: 1024 };
const SIGMA = 0.6;

export function lengths(random: Random, median: number, largest: number): number {
	return Math.max(1, Math.min(largest, Math.round(median * Math.exp(SIGMA * random.normal()))));
}

function workload(setting: Setting, seed: number): SimulatedRequest[] {
	const random = new Random(seed);
	const requests: SimulatedRequest[] = [];
	const production = flowPath(["prod", "prod"]);
	const begin = setting.onset === true ? 30_000 : 0;
	for (let at = 0; at < END_MS; at += random.exponential(MEAN_GAP_MS)) {
		const outputTokens = lengths(random, PRODUCTION.output, PRODUCTION.largestOutput);
		requests.push({
			arrivalMs: at,
			queue: 0,
			flow: production,
			promptTokens: lengths(random, PRODUCTION.prompt, PRODUCTION.largestPrompt),
			outputTokens,
			expectedOutputTokens: outputTokens,
			bypass: setting.mode === "oracle",
		});
	}
	const batch = 12_000;
	const scale = setting.promptScale ?? 1;
	for (let i = 0; i < batch; i++) {
		const outputTokens = lengths(random, BATCH.output, BATCH.largestOutput);
		requests.push({
			arrivalMs: begin,
			queue: setting.twoTiers === true ? LOW_TIERS[i % LOW_TIERS.length]!.level : 4,
			flow: flowPath([`batch-${i % 4}`, `batch-${i % 4}`]),
			promptTokens: lengths(random, BATCH.prompt * scale, BATCH.largestPrompt * scale),
			outputTokens,
			expectedOutputTokens: outputTokens,
			buffered: true,
		});
	}
	return requests.sort((a, b) => a.arrivalMs - b.arrivalMs);
}

export const quantile = (sorted: number[], q: number) =>
	sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;

export interface Outcome {
	readonly p50: number;
	readonly p99: number;
	readonly tokensPerSec: number;
	readonly engineQueue: number;
	readonly preemptions: number;
	/** See `shareError`; NaN unless two tiers. */
	readonly shareError: number;
}

export function simulateSetting(setting: Setting, seeds: number): Outcome {
	const ttft: number[] = [];
	let tokens = 0;
	let engineQueue = 0;
	let preemptions = 0;
	const costs = LOW_TIERS.map(() => 0);
	const from = setting.onset === true ? 30_000 : WARM_UP_MS;
	const to = setting.onset === true ? 60_000 : END_MS;
	for (let seed = 1; seed <= seeds; seed++) {
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
					const tier = LOW_TIERS.findIndex(({ level }) => level === request.queue);
					if (tier >= 0) costs[tier]! += serviceOf(request.promptTokens, request.outputTokens);
				}
			},
		});
		// One that never started has waited at least until the end.
		for (const request of all) {
			if (request.queue !== 0 || request.arrivalMs < from || request.arrivalMs > to - 10_000) continue;
			ttft.push((request.firstTokenMs ?? to) - request.arrivalMs);
		}
		engineQueue += result.engines[0]![0]!.totals.waitingRequestMs / result.endMs / seeds;
		preemptions += result.preemptions;
	}
	ttft.sort((a, b) => a - b);
	return {
		p50: quantile(ttft, 0.5),
		p99: quantile(ttft, 0.99),
		tokensPerSec: tokens / seeds / ((to - from) / 1000),
		engineQueue,
		preemptions,
		shareError: setting.twoTiers === true ? shareError(costs) : Number.NaN,
	};
}

export const PREEMPTION: PreemptionSettings = {
	victims: [3, 4],
	preemptorMax: 1,
	maxPerRequest: 1,
	flowing: false,
	maxAgeMs: 5000,
};
