/**
 * What wrong schedulers do to the reference scenarios, and scenarios that are no claim of their own. The claims themselves, with their
 * oracles: `claims.ts`.
 */
import { describe, expect, test } from "vitest";
import { Random } from "../../src/simulate/random.ts";
import { classes } from "./claims-queueing.ts";
import { type Job, type QueueOptions, quantile, serve, waitOf } from "./queueing.ts";

const SECOND = 1000;

/** Mean waits per class in service times. */
function waits(rates: readonly number[], options: QueueOptions, seeds: number): number[] {
	const sums = rates.map(() => ({ sum: 0, count: 0 }));
	for (let seed = 1; seed <= seeds; seed++) {
		const jobs = classes(rates, 100_000, seed);
		serve(jobs, options);
		for (const job of jobs) {
			sums[job.queue]!.sum += waitOf(job) / SECOND;
			sums[job.queue]!.count++;
		}
	}
	return sums.map(({ sum, count }) => sum / count);
}

/** Relative error. */
const off = (measured: number, expected: number) => Math.abs(measured / expected - 1);

describe("S1: waits of priority classes", () => {
	test("first come first served misses those of strict priority", () => {
		const measured = waits([0.2, 0.3, 0.3], { servers: 1, wrong: () => 0 }, 1);
		expect(off(measured[0]!, 1)).toBeGreaterThan(0.5);
		expect(off(measured[2]!, 8)).toBeGreaterThan(0.2);
	});

	test("the waits of all classes, weighted by load, are conserved under every scheduler", () => {
		for (const scheduler of ["strict", "wfq", "drr", "hybrid", "atleast"] as const) {
			const measured = waits([0.2, 0.3, 0.3], { servers: 1, core: { scheduler } }, 1);
			expect(off(0.2 * measured[0]! + 0.3 * measured[1]! + 0.3 * measured[2]!, 3.2)).toBeLessThan(0.1);
		}
	});
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
