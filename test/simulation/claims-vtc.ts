/**
 * S5 and S6: what fair queuing in front of an engine gives its clients, against the runs that VTC published (Sheng et al., OSDI 2024).
 *
 * The engine is the profile fitted to those runs; the core has a token budget a third above the engine's pool, so that the engine is
 * never short of work and hardly anything waits in its own first-come queue. Service is `prompt + 2 · output`, as published.
 *
 * Bounds on how far the service of two clients may drift apart while both have work waiting. VTC charges what was produced:
 * 2 · max(prompt, 2 · M), M the pool. We charge the estimate at dispatch: charges drift by at most the two largest requests (start-time
 * fair queuing), and service lags charges by what is outstanding, hence
 * `Lmax_p + Lmax_q + 2 · (largest outstanding charge) + 2 · (largest error of the estimates outstanding)`.
 */

import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { StreamingQuantile } from "../../src/core/classify/streaming-quantile.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { ENGINE_PROFILES } from "../../src/simulate/engine-profiles.ts";
import { type SimulatedRequest, simulate } from "../../src/simulate/simulation.ts";
import type { TraceRequest } from "../../src/simulate/traces.ts";
import { type MakeCore, type Outcome, type Scale, sound } from "./claim.ts";
import { EXCERPT_END_MS, type PublishedRun, publishedRun } from "./traces.ts";

const ENGINE = ENGINE_PROFILES["a10g-7b-vtc"];
const BUDGET_TOKENS = 13_250;
const COMPLETION_WEIGHT = 2;
/** Grid on which service is compared. */
const GRID_MS = 500;

/** One request of a run, published or ours. */
interface Ran {
	readonly client: string;
	readonly arrivalMs: number;
	/** It waits until here. */
	readonly startedMs: number;
	readonly firstTokenMs: number;
	readonly endMs: number;
	readonly prompt: number;
	readonly output: number;
	readonly estimate: number;
}

interface Run {
	readonly requests: readonly Ran[];
	readonly endMs: number;
}

type Costs = "known" | "learnt";

/** `fifo`: everything goes to the engine at once, whose own queue is first come first served. */
export function play(trace: readonly TraceRequest[], costs: Costs | "fifo", makeCore: MakeCore = sound): Run {
	const paths = new Map(trace.map(({ client }) => [client!, flowPath([client!])]));
	const learnt = new Map(trace.map(({ client }) => [client!, new StreamingQuantile(0.75, 256)]));
	const simulated: SimulatedRequest[] = [];
	function* requests() {
		for (const { arrivalMs, client, promptTokens, outputTokens } of trace) {
			const expected = costs === "learnt" ? Math.round(learnt.get(client!)!.value) : outputTokens;
			const request = {
				arrivalMs,
				queue: 0,
				flow: paths.get(client!)!,
				promptTokens,
				outputTokens,
				expectedOutputTokens: expected,
			};
			simulated.push(request);
			yield request;
		}
	}
	const clientOf = new Map([...paths].map(([client, path]) => [path, client]));
	const unlimited = costs === "fifo";
	const capacity = {
		...DEFAULT_CAPACITY,
		maxConcurrent: Number.POSITIVE_INFINITY,
		maxInflightTokens: unlimited ? Number.POSITIVE_INFINITY : BUDGET_TOKENS,
		maxPrefillTokens: Number.POSITIVE_INFINITY,
		headroom: 0,
	};
	const { endMs } = simulate({
		core: coreSettings({
			scheduler: "strict",
			queues: priorityQueues({ levels: 2, defaultPriority: 0 }).map((queue) => ({ ...queue, maxDepth: 1e6 })),
			maxWaiting: 1e6,
			pools: [{ name: "a10g", endpoints: 1, capacity }],
		}),
		engines: [[ENGINE]],
		requests: requests(),
		onEnd: ({ flow, outputTokens }) => learnt.get(clientOf.get(flow)!)!.observe(outputTokens),
		makeCore,
	});
	return {
		endMs,
		requests: simulated.map((request) => ({
			client: clientOf.get(request.flow)!,
			arrivalMs: request.arrivalMs,
			startedMs: unlimited ? request.firstTokenMs! : request.dispatchedMs!,
			firstTokenMs: request.firstTokenMs!,
			endMs: request.finishedMs!,
			prompt: request.promptTokens,
			output: request.outputTokens,
			estimate: request.expectedOutputTokens,
		})),
	};
}

function published(trace: readonly TraceRequest[]): Run {
	const requests = trace.map((request) => ({
		client: request.client!,
		arrivalMs: request.arrivalMs,
		startedMs: request.arrivalMs + request.measuredFirstTokenMs!,
		firstTokenMs: request.arrivalMs + request.measuredFirstTokenMs!,
		endMs: request.arrivalMs + request.measuredTotalMs!,
		prompt: request.promptTokens,
		output: request.outputTokens,
		estimate: request.outputTokens,
	}));
	return { requests, endMs: Math.max(...requests.map((request) => request.endMs)) };
}

const fullCost = ({ prompt, output, estimate }: Ran) => prompt + COMPLETION_WEIGHT * Math.max(output, estimate);

/** Largest drift apart of two clients' service over any interval in which both have work waiting; tokens come evenly. */
export function worstDrift({ requests, endMs }: Run, a: string, b: string): number {
	const steps = Math.ceil(endMs / GRID_MS) + 1;
	const service = new Float64Array(steps);
	const waiting = { [a]: new Int32Array(steps), [b]: new Int32Array(steps) };
	for (const request of requests) {
		const sign = request.client === a ? 1 : request.client === b ? -1 : 0;
		if (sign === 0) continue;
		const counts = waiting[request.client]!;
		for (let at = Math.ceil(request.arrivalMs / GRID_MS); at * GRID_MS < request.startedMs && at < steps; at++) {
			counts[at] = counts[at]! + 1;
		}
		for (let at = Math.ceil(request.firstTokenMs / GRID_MS); at < steps; at++) {
			const done = Math.min(1, (at * GRID_MS - request.firstTokenMs) / (request.endMs - request.firstTokenMs));
			const cost = request.prompt + COMPLETION_WEIGHT * request.output * done;
			service[at] = service[at]! + sign * cost;
		}
	}
	let worst = 0;
	let highest = Number.NEGATIVE_INFINITY;
	let lowest = Number.POSITIVE_INFINITY;
	for (let at = 0; at < steps; at++) {
		if (waiting[a]![at] === 0 || waiting[b]![at] === 0) {
			highest = Number.NEGATIVE_INFINITY;
			lowest = Number.POSITIVE_INFINITY;
			continue;
		}
		highest = Math.max(highest, service[at]!);
		lowest = Math.min(lowest, service[at]!);
		worst = Math.max(worst, highest - lowest);
	}
	return worst;
}

/** The bound of the file's header, out of what was in flight in this run. */
function ownBound({ requests }: Run): number {
	const largest = Math.max(...requests.map(fullCost));
	const events = requests.flatMap((request) => {
		const cost = fullCost(request);
		const error = COMPLETION_WEIGHT * Math.abs(request.output - request.estimate);
		return [
			{ at: request.startedMs, cost, error },
			{ at: request.endMs, cost: -cost, error: -error },
		];
	});
	events.sort((x, y) => x.at - y.at || x.cost - y.cost);
	let cost = 0;
	let error = 0;
	let mostCost = 0;
	let mostError = 0;
	for (const event of events) {
		cost += event.cost;
		error += event.error;
		mostCost = Math.max(mostCost, cost);
		mostError = Math.max(mostError, error);
	}
	return 2 * largest + 2 * mostCost + 2 * mostError;
}

/** Mean time to first token of a client in seconds, over the requests that the published run started before its arrivals end. */
function meanTtft(run: Run, truth: Run, client: string, untilMs: number): number {
	let sum = 0;
	let count = 0;
	for (const [index, request] of run.requests.entries()) {
		if (request.client !== client || truth.requests[index]!.firstTokenMs > untilMs) continue;
		sum += request.firstTokenMs - request.arrivalMs;
		count++;
	}
	return sum / count / 1000;
}

const TWO_CLIENTS = ["overload", "on_off_overload", "poisson_short_long"] as const satisfies readonly PublishedRun[];

export function serviceDrift(costs: Costs): (makeCore: MakeCore, scale: Scale) => Outcome {
	return (makeCore, scale) => {
		let holds = true;
		const figures = TWO_CLIENTS.map((name) => {
			const trace = publishedRun(name, scale);
			const run = play(trace, costs, makeCore);
			const drift = worstDrift(run, "c0", "c1");
			const bound = ownBound(run);
			holds &&= drift <= bound && drift <= 40_000;
			return `${name} ${drift.toFixed(0)} of ${bound.toFixed(0)} (VTC ${worstDrift(published(trace), "c0", "c1").toFixed(0)})`;
		});
		return { figure: figures.join("; "), holds };
	};
}

export function againstPublished(makeCore: MakeCore, scale: Scale): Outcome {
	let holds = true;
	const until = scale.data === undefined ? EXCERPT_END_MS : Number.POSITIVE_INFINITY;
	const figures = TWO_CLIENTS.map((name) => {
		const trace = publishedRun(name, scale);
		const truth = published(trace);
		const run = play(trace, "known", makeCore);
		const throughput = play(trace, "fifo").endMs / run.endMs;
		const ratios = ["c0", "c1"].map(
			(client) => meanTtft(run, truth, client, until) / meanTtft(truth, truth, client, until),
		);
		holds &&= throughput >= 0.98 && ratios.every((ratio) => Math.abs(ratio - 1) <= 0.2);
		return `${name} ${ratios.map((ratio) => ratio.toFixed(2)).join("/")} at ${(100 * throughput).toFixed(1)} %`;
	});
	return { figure: figures.join("; "), holds };
}

/** Runs with clients below their share: who they are. */
const LIGHT: Partial<Record<PublishedRun, readonly string[]>> = {
	proportional: ["c0", "c1"],
	on_off_less: ["c0"],
	increase: ["c0"],
};

export function lightClients(makeCore: MakeCore, scale: Scale): Outcome {
	let holds = true;
	const until = scale.data === undefined ? EXCERPT_END_MS : Number.POSITIVE_INFINITY;
	const figures: string[] = [];
	for (const [name, light] of Object.entries(LIGHT) as [PublishedRun, readonly string[]][]) {
		if (name === "increase" && scale.data === undefined) continue;
		const trace = publishedRun(name, scale);
		const truth = published(trace);
		const run = play(trace, "known", makeCore);
		for (const client of light) {
			const alone = play(
				trace.filter((request) => request.client === client),
				"known",
			);
			const solo = meanTtft(alone, alone, client, Number.POSITIVE_INFINITY);
			const service =
				alone.requests.reduce((sum, { endMs, firstTokenMs }) => sum + endMs - firstTokenMs, 0) /
				alone.requests.length /
				1000;
			const mine = meanTtft(run, truth, client, until);
			holds &&= mine <= 1.5 * solo + service;
			figures.push(
				`${name} ${client} ${mine.toFixed(2)} s of ${(1.5 * solo + service).toFixed(2)} (VTC ${meanTtft(truth, truth, client, until).toFixed(2)})`,
			);
		}
	}
	return { figure: figures.join("; "), holds };
}

/** Drifts of the published runs themselves: they check our way of measuring. */
export function publishedDrift(name: PublishedRun, policy: "VTC" | "FCFS", scale: Scale): number {
	return worstDrift(published(publishedRun(name, scale, policy)), "c0", "c1");
}
