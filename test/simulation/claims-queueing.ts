/** S0, S1, S2: what queueing theory says of any work-conserving order, of strict priority, and of a bounded queue. */
import { SCHEDULERS } from "../../src/core/model/policy.ts";
import { Random } from "../../src/simulate/random.ts";
import type { MakeCore, Outcome, Scale } from "./claim.ts";
import { type Job, mean, quantile, serve, waitOf } from "./queueing.ts";
import { azureConversations, costOf } from "./traces.ts";

const SECOND = 1000;

// --- S0

/** Busy periods and last finish of one server, from arrivals and services alone: the order does not matter (Kleinrock). */
function busyPeriods(jobs: readonly { readonly from: number; readonly to: number }[]): { count: number; last: number } {
	let count = 0;
	let until = Number.NEGATIVE_INFINITY;
	for (const { from, to } of jobs) {
		// Sums of services in another order differ in their last digits.
		if (from > until + 1e-5) {
			count++;
			until = from;
		}
		until += to - from;
	}
	return { count, last: until };
}

export function workConservation(makeCore: MakeCore, scale: Scale): Outcome {
	const trace = azureConversations(scale);
	const figures: string[] = [];
	let holds = true;
	// The published rates; a short excerpt has its own load, so that it is served slower.
	for (const costPerSecond of scale.data === undefined ? [9690.2, 3000] : [9690.2, 7928.4]) {
		const arrivals = trace.map((request) => ({
			from: request.arrivalMs,
			to: request.arrivalMs + (costOf(request) / costPerSecond) * SECOND,
		}));
		const expected = busyPeriods(arrivals);
		let same = 0;
		for (const scheduler of SCHEDULERS) {
			const jobs: Job[] = trace.map((request, index) => ({
				arrivalMs: request.arrivalMs,
				queue: index % 5,
				flow: `client-${index % 7}`,
				cost: costOf(request),
				serviceMs: (costOf(request) / costPerSecond) * SECOND,
			}));
			serve(jobs, { servers: 1, core: { scheduler }, makeCore });
			const ran = jobs.map((job) => ({ from: job.startMs!, to: job.endMs! })).sort((a, b) => a.from - b.from);
			const found = busyPeriods(ran);
			if (found.count === expected.count && Math.abs(found.last - expected.last) < 1e-3) same++;
		}
		holds &&= same === SCHEDULERS.length;
		figures.push(`${expected.count}, ${(expected.last / SECOND).toFixed(1)} s under ${same} of ${SCHEDULERS.length}`);
	}
	return { figure: figures.join("; "), holds };
}

// --- S1, S2

/**
 * Poisson arrivals per class (rates per second), exponential or constant service with mean 1 s. Gaps and services are scaled so that
 * their means are exactly those of theory: the load of a sample of 100,000 is off by half a percent, its waits by several.
 */
export function classes(rates: readonly number[], count: number, seed: number, constant = false): Job[] {
	const random = new Random(seed);
	const total = rates.reduce((a, b) => a + b, 0);
	const drawn = Array.from({ length: count }, () => {
		const gap = random.exponential(1);
		let pick = random.next() * total;
		let queue = 0;
		while (pick > rates[queue]! && queue < rates.length - 1) pick -= rates[queue++]!;
		return { gap, queue, service: constant ? 1 : random.exponential(1) };
	});
	const gapScale = SECOND / total / mean(drawn.map(({ gap }) => gap));
	const serviceScale = SECOND / mean(drawn.map(({ service }) => service));
	let arrivalMs = 0;
	return drawn.map(({ gap, queue, service }) => {
		arrivalMs += gap * gapScale;
		return { arrivalMs, queue, flow: "one", serviceMs: service * serviceScale };
	});
}

const COBHAM = [
	{ name: "M/M/1", rates: [0.2, 0.3, 0.3], servers: 1, constant: false, expected: [1, 2, 8] },
	{ name: "M/D/1", rates: [0.2, 0.3, 0.3], servers: 1, constant: true, expected: [0.5, 1, 4] },
	{ name: "M/M/10", rates: [2, 3, 3], servers: 10, constant: false, expected: [0.0511, 0.1023, 0.4092] },
] as const;

export function cobham(makeCore: MakeCore, { long }: Scale): Outcome {
	const margins = long ? [0.02, 0.02, 0.05] : [0.05, 0.05, 0.1];
	const [seeds, count] = long ? [5, 400_000] : [2, 100_000];
	const figures: string[] = [];
	for (const { name, rates, servers, constant, expected } of COBHAM) {
		const sums = [0, 0, 0];
		const counts = [0, 0, 0];
		for (let seed = 1; seed <= seeds; seed++) {
			const jobs = classes(rates, count, seed, constant);
			serve(jobs, { servers, makeCore });
			for (const job of jobs) {
				sums[job.queue]! += waitOf(job) / SECOND;
				counts[job.queue]!++;
			}
		}
		const waits = sums.map((sum, queue) => sum / counts[queue]!);
		figures.push(`${name} ${waits.map((wait) => wait.toPrecision(3)).join(" / ")}`);
		const holds = waits.every((wait, queue) => Math.abs(wait / expected[queue]! - 1) < margins[queue]!);
		if (!holds) return { figure: figures.join("; "), holds };
	}
	return { figure: figures.join("; "), holds: true };
}

const ROOMS = [
	[10, 0.3019],
	[20, 0.1797],
	[60, 0.1667],
] as const;

export function erlang(makeCore: MakeCore, { long }: Scale): Outcome {
	const rejected: string[] = [];
	for (const [room, expected] of ROOMS) {
		let refused = 0;
		let all = 0;
		for (let seed = 1; seed <= (long ? 5 : 1); seed++) {
			const jobs = classes([12], long ? 400_000 : 100_000, seed);
			serve(jobs, { servers: 10, maxDepth: room - 10, makeCore });
			refused += jobs.filter((job) => job.refused !== undefined).length;
			all += jobs.length;
		}
		rejected.push((refused / all).toFixed(4));
		if (Math.abs(refused / all - expected) >= 0.005) return { figure: rejected.join(" / "), holds: false };
	}
	const waits: number[] = [];
	for (let seed = 1; seed <= (long ? 5 : 2); seed++) {
		const jobs = classes([8], long ? 400_000 : 100_000, seed);
		serve(jobs, { servers: 10, makeCore });
		for (const job of jobs) waits.push(waitOf(job) / SECOND);
	}
	const found = [
		waits.filter((wait) => wait > 0).length / waits.length,
		mean(waits),
		quantile(waits, 0.95),
		quantile(waits, 0.99),
	];
	const margin = long ? 0.03 : 0.1;
	return {
		figure: `${found.map((value) => value.toPrecision(4)).join(" / ")}; ${rejected.join(" / ")}`,
		holds: [0.4092, 0.2046, 1.051, 1.856].every((value, index) => Math.abs(found[index]! / value - 1) < margin),
	};
}
