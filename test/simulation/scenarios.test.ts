/**
 * The reference scenarios of classical queueing theory and of fair queuing, on the real core in virtual time. Each has an oracle that is
 * independent of the code, and a deliberately wrong scheduler that must miss it.
 */
import { describe, expect, test } from "vitest";
import { Random } from "../../src/simulate/random.ts";
import { type Job, mean, type QueueOptions, quantile, serve, waitOf } from "./queueing.ts";

const SECOND = 1000;

/** Poisson arrivals per class (rates per second), exponential or constant service with mean 1 s. */
function classes(rates: readonly number[], count: number, seed: number, constant = false): Job[] {
	const random = new Random(seed);
	const total = rates.reduce((a, b) => a + b, 0);
	const jobs: Job[] = [];
	let at = 0;
	for (let i = 0; i < count; i++) {
		at += random.exponential(SECOND / total);
		let pick = random.next() * total;
		let queue = 0;
		while (pick > rates[queue]! && queue < rates.length - 1) pick -= rates[queue++]!;
		jobs.push({ arrivalMs: at, queue, flow: "one", serviceMs: constant ? SECOND : random.exponential(SECOND) });
	}
	return jobs;
}

function waits(
	rates: readonly number[],
	options: QueueOptions,
	constant = false,
	seeds = 3,
	count = 200_000,
): number[] {
	const sums = rates.map(() => ({ sum: 0, count: 0 }));
	for (let seed = 1; seed <= seeds; seed++) {
		const jobs = classes(rates, count, seed, constant);
		serve(jobs, options);
		for (const job of jobs) {
			sums[job.queue]!.sum += waitOf(job) / SECOND;
			sums[job.queue]!.count++;
		}
	}
	return sums.map(({ sum, count: n }) => sum / n);
}

/** Relative error. */
const off = (measured: number, expected: number) => Math.abs(measured / expected - 1);

describe("S1: strict priority waits as Cobham (1954) says", () => {
	const margins = [0.03, 0.03, 0.06];
	test.each([
		["M/M/1", [0.2, 0.3, 0.3], 1, false, [1, 2, 8]],
		["M/D/1", [0.2, 0.3, 0.3], 1, true, [0.5, 1, 4]],
		["M/M/10", [2, 3, 3], 10, false, [0.0511, 0.1023, 0.4092]],
	] as const)("%s", (_, rates, servers, constant, expected) => {
		const measured = waits(rates, { servers }, constant);
		for (const [queue, wait] of measured.entries()) expect(off(wait, expected[queue]!)).toBeLessThan(margins[queue]!);
	});

	test("first come first served misses it", () => {
		const measured = waits([0.2, 0.3, 0.3], { servers: 1, wrong: () => 0 }, false, 1, 100_000);
		expect(off(measured[0]!, 1)).toBeGreaterThan(0.5);
		expect(off(measured[2]!, 8)).toBeGreaterThan(0.2);
	});

	test("the waits of all classes, weighted by load, are conserved under every scheduler", () => {
		for (const scheduler of ["strict", "wfq", "drr", "hybrid", "atleast"] as const) {
			const measured = waits([0.2, 0.3, 0.3], { servers: 1, core: { scheduler } }, false, 2, 100_000);
			expect(off(0.2 * measured[0]! + 0.3 * measured[1]! + 0.3 * measured[2]!, 3.2)).toBeLessThan(0.1);
		}
	});
});

describe("S2: capacity and bounded queue as Erlang says", () => {
	test("c = 10, λ = 8: P(wait) .4092, mean .2046, P95 1.051, P99 1.856", () => {
		const all: number[] = [];
		for (let seed = 1; seed <= 3; seed++) {
			const jobs = classes([8], 200_000, seed);
			serve(jobs, { servers: 10 });
			for (const job of jobs) all.push(waitOf(job) / SECOND);
		}
		expect(off(all.filter((wait) => wait > 0).length / all.length, 0.4092)).toBeLessThan(0.03);
		expect(off(mean(all), 0.2046)).toBeLessThan(0.05);
		expect(off(quantile(all, 0.95), 1.051)).toBeLessThan(0.05);
		expect(off(quantile(all, 0.99), 1.856)).toBeLessThan(0.06);
	});

	test.each([
		[10, 0.3019],
		[20, 0.1797],
		[60, 0.1667],
	])("λ = 12 with room for %d in the system: rejected %d", (room, expected) => {
		let refused = 0;
		let count = 0;
		for (let seed = 1; seed <= 2; seed++) {
			const jobs = classes([12], 200_000, seed);
			serve(jobs, { servers: 10, maxDepth: Math.max(0, room - 10) });
			refused += jobs.filter((job) => job.refused !== undefined).length;
			count += jobs.length;
		}
		expect(Math.abs(refused / count - expected)).toBeLessThan(0.005);
	});
});

describe("S0: every scheduler is work conserving", () => {
	test("same busy periods and last finish as first come first served", () => {
		const make = () => classes([0.3, 0.3, 0.3], 30_000, 7);
		const reference = make();
		serve(reference, { servers: 1, wrong: () => 0 });
		const last = Math.max(...reference.map((job) => job.endMs!));
		for (const scheduler of ["strict", "wfq", "drr", "hybrid", "atleast"] as const) {
			const jobs = make();
			serve(jobs, { servers: 1, core: { scheduler } });
			expect(busyPeriods(jobs)).toBe(busyPeriods(reference));
			expect(Math.max(...jobs.map((job) => job.endMs!))).toBeCloseTo(last, 3);
		}
	});

	function busyPeriods(jobs: readonly Job[]): number {
		let periods = 0;
		let until = Number.NEGATIVE_INFINITY;
		for (const job of jobs.toSorted((a, b) => a.startMs! - b.startMs!)) {
			if (job.startMs! > until + 1e-6) periods++;
			until = Math.max(until, job.endMs!);
		}
		return periods;
	}
});

describe("S6, S11: one tenant cannot hurt another inside a level", () => {
	/** An elephant with a thousand jobs at once, and a mouse that sends one a second. */
	const elephantAndMouse = (): Job[] => {
		const jobs: Job[] = [];
		for (let i = 0; i < 1000; i++) jobs.push({ arrivalMs: 0, queue: 2, flow: "elephant", serviceMs: 200 });
		for (let i = 1; i <= 60; i++) jobs.push({ arrivalMs: i * SECOND, queue: 2, flow: "mouse", serviceMs: 200 });
		return jobs;
	};
	const mouseWaits = (jobs: readonly Job[]) => jobs.filter((job) => job.flow === "mouse").map(waitOf);

	test("the mouse waits for at most what is running and one job more", () => {
		const jobs = elephantAndMouse();
		serve(jobs, { servers: 1 });
		expect(Math.max(...mouseWaits(jobs))).toBeLessThanOrEqual(400);
	});

	test("first come first served makes it wait for the elephant", () => {
		const jobs = elephantAndMouse();
		serve(jobs, { servers: 1, wrong: () => 0 });
		expect(Math.max(...mouseWaits(jobs))).toBeGreaterThan(10_000);
	});

	test("S11: a thousand keys fill the level to its depth; the mouse is never refused", () => {
		const jobs: Job[] = [];
		for (let i = 0; i < 1000; i++) {
			for (let n = 0; n < 4; n++) jobs.push({ arrivalMs: 0, queue: 2, flow: `key-${i}`, serviceMs: 100 });
		}
		for (let i = 1; i <= 30; i++) jobs.push({ arrivalMs: i * SECOND, queue: 2, flow: "mouse", serviceMs: 100 });
		serve(jobs, { servers: 1, maxDepth: 500 });
		expect(jobs.filter((job) => job.flow === "mouse" && job.refused !== undefined)).toHaveLength(0);
		expect(jobs.filter((job) => job.refused !== undefined).length).toBeGreaterThan(3000);
	});

	test("a flood of one flow is displaced by a newcomer of another, youngest first", () => {
		const jobs: Job[] = [];
		for (let i = 0; i < 20; i++) jobs.push({ arrivalMs: 0, queue: 2, flow: "flood", serviceMs: 100 });
		jobs.push({ arrivalMs: 1, queue: 2, flow: "other", serviceMs: 100 });
		serve(jobs, { servers: 1, maxDepth: 10 });
		expect(jobs[20]!.refused).toBeUndefined();
		expect(jobs.slice(11, 20).every((job) => job.refused === "queue_full")).toBe(true);
		expect(jobs[10]!.refused).toBe("displaced");
	});
});

describe("E4: a late joiner starts at the present", () => {
	const run = (first: "light" | "heavy", wrong?: QueueOptions["wrong"]): number => {
		const jobs: Job[] = [];
		const of = (kind: string, count: number, at: number) => {
			for (let i = 0; i < count; i++) {
				jobs.push({ arrivalMs: at, queue: kind === "heavy" ? 0 : 3, flow: kind, serviceMs: 100 });
			}
		};
		of(first, 3000, 0);
		of(first === "light" ? "heavy" : "light", 3000, 60_000);
		// Weights 10 : 1.
		serve(jobs, { servers: 1, core: { scheduler: "wfq" }, ...(wrong === undefined ? {} : { wrong }) });
		const order = jobs.toSorted((a, b) => a.startMs! - b.startMs!).filter((job) => job.startMs! >= 60_000);
		const heavyLeft = order.findLastIndex((job) => job.flow === "heavy");
		let gap = 0;
		let longest = 0;
		for (const job of order.slice(
			0,
			Math.min(
				heavyLeft,
				order.findLastIndex((j) => j.flow === "light"),
			),
		)) {
			gap = job.flow === "light" ? 0 : gap + 1;
			longest = Math.max(longest, gap);
		}
		return longest;
	};

	test("with weights 10 : 1 the light one waits for at most 11 dispatches, whoever joins when", () => {
		expect(run("light")).toBeLessThanOrEqual(11);
		expect(run("heavy")).toBeLessThanOrEqual(11);
	});

	test("counting service since the beginning misses it", () => {
		const served = { light: 0, heavy: 0 } as Record<string, number>;
		const wrong = (waiting: readonly Job[]) => {
			let best = 0;
			for (const [index, job] of waiting.entries()) if (served[job.flow]! < served[waiting[best]!.flow]!) best = index;
			served[waiting[best]!.flow]! += 1;
			return best;
		};
		expect(run("light", wrong)).toBeGreaterThan(11);
	});
});

describe("S13: headroom under wfq and drr", () => {
	const make = (): Job[] => {
		const jobs: Job[] = [];
		const random = new Random(5);
		for (let i = 0; i < 4000; i++) {
			jobs.push({ arrivalMs: 0, queue: 4, flow: "batch", serviceMs: 2000 + random.next() * 4000, cost: 1000 });
		}
		for (let burst = 1; burst <= 60; burst++) {
			for (let i = 0; i < 2; i++) {
				jobs.push({ arrivalMs: burst * 2000 + i, queue: 0, flow: "production", serviceMs: 500, cost: 1000 });
			}
		}
		return jobs;
	};
	const productionWaits = (headroom: number, scheduler: "wfq" | "drr") => {
		const jobs = make();
		serve(jobs, { servers: 64, headroom, core: { scheduler } });
		return jobs.filter((job) => job.queue === 0).map(waitOf);
	};

	test.each(["wfq", "drr"] as const)(
		"%s: a burst starts at once with 3 percent of headroom, and waits without",
		(scheduler) => {
			expect(quantile(productionWaits(0.03, scheduler), 0.9)).toBeLessThanOrEqual(1);
			expect(quantile(productionWaits(0, scheduler), 0.9)).toBeGreaterThan(20);
		},
	);
});
