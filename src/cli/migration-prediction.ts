/**
 * What a migration to buckets does to the waits of each old level, for the requests of a trace or scenario: measured before and after by
 * simulation, and predicted by arithmetic alone: behind what its buckets are assured, a level waits no longer than if it had that to itself.
 */

import { bucketSettingsOf } from "../config/checks.ts";
import { compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { baseCapacity, bucketFigures, bucketUnit } from "../core/allocate/distribution.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import type { EngineProfile } from "../simulate/engine-profiles.ts";
import { simulateConfig } from "../simulate/report.ts";
import { ShareBound } from "../simulate/share-bound.ts";
import type { SimulatedArrival } from "../simulate/workload.ts";

export interface LevelPrediction {
	readonly level: number;
	readonly name: string;
	readonly requests: number;
	/** P99 of the wait in the queue, milliseconds. */
	readonly beforeP99Ms: number;
	/** No longer than that; at most the timeout of the queue. */
	readonly predictedP99Ms: number;
	readonly afterP99Ms: number;
	readonly refusedBefore: number;
	readonly refusedAfter: number;
}

export interface PredictionInput {
	readonly before: GatewayConfig;
	readonly after: GatewayConfig;
	readonly rulesBefore?: readonly RoutingRule[];
	readonly rulesAfter?: readonly RoutingRule[];
	readonly profile: EngineProfile;
	readonly arrivals: () => Iterable<SimulatedArrival>;
}

export interface Fate {
	readonly queue: number;
	readonly timeoutMs: number;
	/** Absent when it was refused. */
	readonly waitMs?: number;
}

export function predictMigration(input: PredictionInput): readonly LevelPrediction[] {
	const arrivals = [...input.arrivals()];
	const before = fatesOf(arrivals, input.before, input.rulesBefore, input.profile);
	const after = fatesOf(arrivals, input.after, input.rulesAfter, input.profile);
	const bounds = boundsOf(arrivals, after, input.after);
	const levels = compile(input.before, []).allocator.queues;
	return levels.flatMap(({ name }, level) => {
		const members = arrivals.flatMap((_, index) => (before[index]?.queue === level ? [index] : []));
		if (members.length === 0) return [];
		const waits = (of: readonly (Fate | undefined)[]) => members.flatMap((index) => of[index]?.waitMs ?? []);
		const [waitsBefore, waitsAfter] = [waits(before), waits(after)];
		return [
			{
				level,
				name,
				requests: members.length,
				beforeP99Ms: p99(waitsBefore),
				predictedP99Ms: p99(members.map((index) => bounds[index]!)),
				afterP99Ms: p99(waitsAfter),
				refusedBefore: members.length - waitsBefore.length,
				refusedAfter: members.length - waitsAfter.length,
			},
		];
	});
}

export function p99(values: readonly number[]): number {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[Math.max(0, Math.ceil(0.99 * sorted.length) - 1)] ?? 0;
}

/** Names of the levels, best first. */
export function levelsOf(config: GatewayConfig): readonly string[] {
	const requestScheduler = { ...config.requestScheduler, allocator: "priority" as const };
	return compile({ ...config, requestScheduler }, []).allocator.queues.map(({ name }) => name);
}

/** What becomes of each request; nothing for one that was refused before it had a queue. */
export function fatesOf(
	arrivals: readonly SimulatedArrival[],
	config: GatewayConfig,
	rules: readonly RoutingRule[] | undefined,
	profile: EngineProfile,
): readonly (Fate | undefined)[] {
	const index = new Map(arrivals.map((arrival, at) => [arrival, at]));
	const seen: (Fate | undefined)[] = arrivals.map(() => undefined);
	simulateConfig({
		name: "",
		config,
		profile,
		arrivals,
		...(rules === undefined ? {} : { rules }),
		onEnd: (arrival, { queue, arrivalMs, dispatchedMs, finishedMs, timeoutMs = Number.POSITIVE_INFINITY }) => {
			seen[index.get(arrival)!] = {
				queue,
				timeoutMs,
				...(finishedMs === undefined ? {} : { waitMs: (dispatchedMs ?? finishedMs) - arrivalMs }),
			};
		},
	});
	return seen;
}

function boundsOf(
	arrivals: readonly SimulatedArrival[],
	after: readonly (Fate | undefined)[],
	config: GatewayConfig,
): readonly number[] {
	const settings = bucketSettingsOf(config);
	const inTokens = bucketUnit(settings) === "tps";
	const base = baseCapacity(settings);
	const figures = bucketFigures(settings, config.requestScheduler.scheduler, base);
	const servers = figures.map(({ guarantee }) => (guarantee > 0 ? new ShareBound(guarantee) : undefined));
	const costOf = ({ promptTokens, outputTokens }: SimulatedArrival) => (inTokens ? promptTokens + outputTokens : 1);
	const alwaysMs = turnsMs(arrivals, config, costOf, base);
	const largestMs = (arrivals.reduce((largest, arrival) => Math.max(largest, costOf(arrival)), 0) / base) * 1000;
	return arrivals.map((arrival, index) => {
		const fate = after[index];
		const server = fate === undefined ? undefined : servers[fate.queue];
		const waitMs = server?.wait(arrival.arrivalMs, costOf(arrival)) ?? Number.POSITIVE_INFINITY;
		return Math.min(waitMs + largestMs + alwaysMs, fate?.timeoutMs ?? Number.POSITIVE_INFINITY);
	});
}

/**
 * Deficit round robin serves in turns: three rounds of all of them may pass before a queue is served at its rate (Stiliadis and Varma,
 * "Latency-rate servers", 1998). Nothing for the others.
 */
function turnsMs(
	arrivals: readonly SimulatedArrival[],
	config: GatewayConfig,
	unitsOf: (arrival: SimulatedArrival) => number,
	base: number,
): number {
	if (config.requestScheduler.scheduler !== "drr") return 0;
	const { promptWeight, completionWeight } = config.cost;
	let cost = 0;
	let units = 0;
	for (const arrival of arrivals) {
		cost += arrival.promptTokens * promptWeight + arrival.outputTokens * completionWeight;
		units += unitsOf(arrival);
	}
	const weights = compile(config, []).allocator.queues.reduce((sum, { weight }) => sum + weight, 0);
	const round = config.scheduler.drr.quantum * weights;
	return ((3 * round) / ((base * cost) / units)) * 1000;
}

export function predictionLines(predictions: readonly LevelPrediction[]): readonly string[] {
	const ms = (value: number) => (Number.isFinite(value) ? `${Math.round(value)} ms` : "no bound");
	return predictions.map(
		({ level, name, requests, beforeP99Ms, predictedP99Ms, afterP99Ms, refusedBefore, refusedAfter }) =>
			`P${level} ${name}, ${requests} requests: P99 of the wait ${ms(beforeP99Ms)} before, at most ${ms(predictedP99Ms)} predicted, ${ms(afterP99Ms)} in the simulation` +
			(refusedBefore + refusedAfter === 0 ? "" : `; refused ${refusedBefore} before, ${refusedAfter} after`),
	);
}

export function predictionAsJson(prediction: LevelPrediction) {
	const ms = (value: number) => (Number.isFinite(value) ? Math.round(value) : null);
	return {
		level: prediction.level,
		name: prediction.name,
		requests: prediction.requests,
		wait_p99_ms: {
			before: ms(prediction.beforeP99Ms),
			predicted_at_most: ms(prediction.predictedP99Ms),
			after: ms(prediction.afterP99Ms),
		},
		refused: { before: prediction.refusedBefore, after: prediction.refusedAfter },
	};
}
