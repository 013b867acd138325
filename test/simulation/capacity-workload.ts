/**
 * A deep queue on an engine model, with a fixed limit or one that adapts: what the tests of adaptive capacity measure. Everything waits in
 * level 0, so that neither headroom nor the prefill window hides what the limit does.
 */
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { AdaptiveCapacity, type AdaptiveSettings } from "../../src/core/capacity/adaptive-capacity.ts";
import { type CapacitySettings, coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import type { EngineProfile } from "../../src/simulate/engine-profiles.ts";
import { Random } from "../../src/simulate/random.ts";
import { type SimulatedRequest, simulate } from "../../src/simulate/simulation.ts";

export interface DeepQueue {
	readonly profile: EngineProfile;
	/** A number fixes it; else it adapts from there, within 4 to 512. */
	readonly limit: number | { readonly from: number };
	readonly queue?: number;
	readonly untilMs: number;
	/** Figures are of the time after this. */
	readonly fromMs: number;
	readonly seed?: number;
	/** The engine becomes another one then. */
	readonly change?: { readonly atMs: number; readonly to: EngineProfile };
	readonly adaptive?: Partial<AdaptiveSettings>;
	readonly capacity?: Partial<CapacitySettings>;
	/** False: nobody sees first tokens. */
	readonly observed?: boolean;
	/** Seconds between two words of the engine about itself; none by default. */
	readonly reportEveryMs?: number;
}

export interface DeepQueueResult {
	readonly tokensPerSec: number;
	/** Mean requests that wait inside the engine. */
	readonly engineQueue: number;
	readonly meanLimit: number;
	/** Limit by whole second. */
	readonly limitAt: readonly number[];
	/** From dispatch. */
	readonly ttftP99Ms: number;
	readonly isBlind: boolean;
}

const TICK_MS = 200;
/** Never fewer wait. */
const DEPTH = 1000;
const MOST_PER_SECOND = 15;

function drawn(random: Random, median: number, largest: number): number {
	return Math.max(1, Math.min(largest, Math.round(median * Math.exp(0.6 * random.normal()))));
}

export function runDeepQueue(options: DeepQueue): DeepQueueResult {
	const { profile, limit, untilMs, fromMs, change } = options;
	const random = new Random(options.seed ?? 1);
	const requests = Array.from({ length: DEPTH + (untilMs / 1000) * MOST_PER_SECOND }, (): SimulatedRequest => {
		const outputTokens = drawn(random, 270, 1024);
		return {
			arrivalMs: 0,
			queue: options.queue ?? 0,
			flow: flowPath([`tenant-${random.integer(0, 3)}`]),
			promptTokens: drawn(random, 735, 4096),
			outputTokens,
			expectedOutputTokens: outputTokens,
			observed: options.observed ?? true,
			buffered: options.observed === false,
		};
	});
	const capacity: CapacitySettings = {
		...DEFAULT_CAPACITY,
		headroom: 0,
		...options.capacity,
		maxConcurrent: typeof limit === "number" ? limit : limit.from,
	};
	const control =
		typeof limit === "number"
			? undefined
			: new AdaptiveCapacity(
					{
						capacity,
						concurrency: { initial: limit.from, min: 4, max: 512 },
						degradation: { mode: "fail_open", tokensPerSec: 5000, maxConcurrent: 20 },
						...options.adaptive,
					},
					1,
				);
	const limitAt: number[] = [];
	const ttft: number[] = [];
	let tokens = 0;
	let waitingArea = 0;
	let limitSum = 0;
	let ticks = 0;
	let changed = false;
	let reportedAt = 0;
	const started = { waiting: Number.NaN };
	simulate({
		core: coreSettings({
			scheduler: "strict",
			queues: priorityQueues({ levels: 5, defaultPriority: 4 }).map((queue) => ({ ...queue, maxDepth: 1e6 })),
			maxWaiting: 1e6,
			pools: [
				{
					name: "default",
					endpoints: 1,
					capacity: { ...capacity, maxConcurrent: control?.limit ?? capacity.maxConcurrent },
				},
			],
		}),
		engines: [[profile]],
		requests,
		onInstant: (_, core) => {
			if (control !== undefined) core.pools[0]!.observer = control;
		},
		untilMs,
		everyToken: control !== undefined,
		onEnd: (request) => {
			const at = request.finishedMs;
			if (at === undefined || at < fromMs) return;
			tokens += request.promptTokens + request.outputTokens;
			if (request.dispatchedMs! >= fromMs) ttft.push(request.firstTokenMs! - request.dispatchedMs!);
		},
		control: {
			everyMs: TICK_MS,
			call: (now, core, engines) => {
				const pool = core.pools[0]!;
				const engine = engines[0]![0]!;
				if (change !== undefined && !changed && now >= change.atMs) {
					changed = true;
					engine.become(change.to);
				}
				if (control !== undefined) {
					if (options.reportEveryMs !== undefined && now - reportedAt >= options.reportEveryMs) {
						reportedAt = now;
						control.reported(engine.waiting, engine.kvUsed / engine.profile.kvTokens, now);
					}
					core.configureCapacity(0, control.tick(now, pool), now);
				}
				limitAt[Math.floor(now / 1000)] ??= pool.capacity.maxConcurrent;
				if (now < fromMs) return;
				if (Number.isNaN(started.waiting)) started.waiting = engine.totals.waitingRequestMs;
				waitingArea = (engine.totals.waitingRequestMs - started.waiting) / (now - fromMs + TICK_MS);
				limitSum += pool.capacity.maxConcurrent;
				ticks++;
			},
		},
	});
	ttft.sort((a, b) => a - b);
	return {
		tokensPerSec: (tokens / (untilMs - fromMs)) * 1000,
		engineQueue: waitingArea,
		meanLimit: limitSum / ticks,
		limitAt,
		ttftP99Ms: ttft[Math.floor(0.99 * ttft.length)] ?? Number.NaN,
		isBlind: control?.isBlind ?? false,
	};
}
