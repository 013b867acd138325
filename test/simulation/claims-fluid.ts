/**
 * S3: how late a request may finish under fair queuing, against the fluid system.
 *
 * Under finish-tag order with known costs nothing finishes later than in the fluid system + Lmax/C (Parekh & Gallager, 1993). The core
 * orders by start tags, which need no fluid simulation; their bound is another one (Goyal, Vin, Cheng, 1996): a request of client f
 * finishes by its expected arrival + Σ_{n ≠ f} Lmax_n / C + its own cost / C, where expected arrivals are those at f's guaranteed rate
 * C · w_f ÷ Σ w. That bound is held exactly, on flows inside a queue and on queues under `wfq`. Against the fluid system itself we hold
 * fluid finish + Σ_n Lmax_n / C: measured, not proven.
 *
 * The oracle is checked by a scheduler that is made of it: served in the order of fluid finishes, the first bound must hold.
 */
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import type { TraceRequest } from "../../src/simulate/traces.ts";
import { type MakeCore, type Outcome, percent, type Scale } from "./claim.ts";
import { expectedArrivals, type FluidRequest, fluidFinishes } from "./gps.ts";
import { NumberHeap } from "./number-heap.ts";
import { type Job, serve } from "./queueing.ts";
import { costOf, PUBLISHED_RUNS, publishedRun, servegenDay } from "./traces.ts";

const LOADS = [0.9, 1.08];
/** Rounding of sums over a day, in milliseconds. */
const ROUNDING_MS = 1e-3;

export interface FluidCase {
	readonly requests: readonly FluidRequest[];
	readonly weights: readonly number[];
	readonly costPerMs: number;
	readonly fluid: Float64Array;
	readonly expected: Float64Array;
	/** Largest request per client. */
	readonly largest: readonly number[];
}

function* cases(scale: Scale): Generator<FluidCase> {
	const runs = scale.data === undefined ? (["poisson_short_long", "overload"] as const) : PUBLISHED_RUNS;
	for (const trace of [servegenDay(scale), ...runs.map((run) => publishedRun(run, scale))]) {
		for (const load of LOADS) for (const weighted of [false, true]) yield fluidCase(trace, load, weighted);
	}
}

export function fluidCase(trace: readonly TraceRequest[], load: number, weighted: boolean): FluidCase {
	const clients = [...new Set(trace.map((request) => request.client!))].sort();
	const weights = clients.map((_, index) => (weighted ? 1 + (index % 4) : 1));
	const requests = trace.map((request) => ({
		arrivalMs: request.arrivalMs,
		client: clients.indexOf(request.client!),
		cost: costOf(request),
	}));
	const total = requests.reduce((sum, { cost }) => sum + cost, 0);
	const costPerMs = total / (trace.at(-1)!.arrivalMs - trace[0]!.arrivalMs) / load;
	const largest = clients.map(() => 0);
	for (const { client, cost } of requests) largest[client] = Math.max(largest[client]!, cost);
	return {
		requests,
		weights,
		costPerMs,
		fluid: fluidFinishes(requests, weights, costPerMs),
		expected: expectedArrivals(requests, weights, costPerMs),
		largest,
	};
}

/** When each request leaves one server of the same rate that the core feeds. */
function served(given: FluidCase, place: "flows" | "queues", makeCore: MakeCore): number[] {
	const { requests, weights, costPerMs } = given;
	const jobs: Job[] = requests.map(({ arrivalMs, client, cost }) => ({
		arrivalMs,
		queue: place === "queues" ? client : 0,
		flow: place === "queues" ? "one" : `client-${client}`,
		weight: place === "queues" ? 1 : weights[client]!,
		serviceMs: cost / costPerMs,
		cost,
	}));
	const [queue] = priorityQueues({ levels: 2, defaultPriority: 0 });
	const queues = weights.map((weight) => ({ ...queue!, weight, maxDepth: 1e7 }));
	serve(jobs, { servers: 1, makeCore, ...(place === "queues" ? { core: { scheduler: "wfq", queues } } : {}) });
	return jobs.map((job) => job.endMs!);
}

/** The same server, whoever has the smallest key first. */
function servedBy(given: FluidCase, key: (index: number) => number): number[] {
	const { requests, costPerMs } = given;
	const ends: number[] = [];
	const waiting = new NumberHeap();
	let next = 0;
	let now = 0;
	while (next < requests.length || waiting.size > 0) {
		if (waiting.size === 0) now = Math.max(now, requests[next]!.arrivalMs);
		for (; next < requests.length && requests[next]!.arrivalMs <= now; next++) waiting.push(key(next), next);
		const index = waiting.pop();
		now += requests[index]!.cost / costPerMs;
		ends[index] = now;
	}
	return ends;
}

interface Lateness {
	/** Requests later than the fluid system + Lmax/C. */
	beyondFinishTagBound: number;
	/** Requests later than their expected arrival allows. */
	beyondStartTagBound: number;
	/** Largest part used of the start-tag bound. */
	part: number;
	/** Largest lateness behind the fluid system in Σ Lmax / C. */
	behindFluid: number;
}

function lateness(given: FluidCase, ends: readonly number[]): Lateness {
	const { requests, costPerMs, fluid, expected, largest } = given;
	const sum = largest.reduce((a, b) => a + b, 0);
	const most = Math.max(...largest);
	const found = { beyondFinishTagBound: 0, beyondStartTagBound: 0, part: 0, behindFluid: 0 };
	for (const [index, { client, cost }] of requests.entries()) {
		const behind = ends[index]! - fluid[index]!;
		const allowed = (sum - largest[client]! + cost) / costPerMs;
		const taken = ends[index]! - expected[index]!;
		if (behind > most / costPerMs + ROUNDING_MS) found.beyondFinishTagBound++;
		if (taken > allowed + ROUNDING_MS) found.beyondStartTagBound++;
		found.part = Math.max(found.part, taken / allowed);
		found.behindFluid = Math.max(found.behindFluid, behind / (sum / costPerMs));
	}
	return found;
}

export function fluidBounds(makeCore: MakeCore, scale: Scale): Outcome {
	let violations = 0;
	let part = 0;
	let behindFluid = 0;
	let count = 0;
	for (const given of cases(scale)) {
		for (const place of ["flows", "queues"] as const) {
			const found = lateness(given, served(given, place, makeCore));
			violations += found.beyondStartTagBound;
			part = Math.max(part, found.part);
			behindFluid = Math.max(behindFluid, found.behindFluid);
			count += given.requests.length;
		}
	}
	return {
		figure: `${violations} of ${count} later, up to ${percent(Math.min(part, 99))} of the bound used; behind the fluid by ≤ ${behindFluid.toFixed(2)} ΣLmax/C`,
		holds: violations === 0 && behindFluid <= 1,
	};
}

/** The oracle's own exam, and what first come first served does to it. */
export function oracleExam(scale: Scale): { finishTag: number; firstCome: number; firstComeStartTag: number } {
	const sums = { finishTag: 0, firstCome: 0, firstComeStartTag: 0 };
	for (const given of cases(scale)) {
		sums.finishTag += lateness(
			given,
			servedBy(given, (index) => given.fluid[index]!),
		).beyondFinishTagBound;
		const firstCome = lateness(
			given,
			servedBy(given, (index) => index),
		);
		sums.firstCome += firstCome.beyondFinishTagBound;
		sums.firstComeStartTag += firstCome.beyondStartTagBound;
	}
	return sums;
}
