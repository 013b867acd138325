/** S6, S11, S12, S13: nobody is hurt by another's flood, size or backlog. */
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { Random } from "../../src/simulate/random.ts";
import { PLAIN_CAPACITY, settingsOf } from "../properties/core-fixtures.ts";
import type { MakeCore, Outcome } from "./claim.ts";
import { type Job, quantile, serve, waitOf } from "./queueing.ts";

const SECOND = 1000;

export function mouse(makeCore: MakeCore): Outcome {
	const jobs: Job[] = [];
	for (let i = 0; i < 1000; i++) jobs.push({ arrivalMs: 0, queue: 2, flow: "elephant", serviceMs: 200 });
	for (let i = 1; i <= 60; i++) jobs.push({ arrivalMs: i * SECOND, queue: 2, flow: "mouse", serviceMs: 200 });
	serve(jobs, { servers: 1, makeCore });
	const longest = Math.max(...jobs.slice(1000).map(waitOf));
	return { figure: `${longest} ms`, holds: longest <= 400 };
}

export function bufferStealing(makeCore: MakeCore): Outcome {
	const jobs: Job[] = [];
	for (let n = 0; n < 4; n++) {
		for (let i = 0; i < 1000; i++) jobs.push({ arrivalMs: 0, queue: 2, flow: `tenant/key-${i}`, serviceMs: 100 });
	}
	for (let i = 1; i <= 30; i++) {
		// The tenant fills the queue again just before.
		for (let n = 0; n < 30; n++) {
			const flow = `tenant/key-${(30 * i + n) % 1000}`;
			jobs.push({ arrivalMs: i * SECOND + 49, queue: 2, flow, serviceMs: 100 });
		}
		jobs.push({ arrivalMs: i * SECOND + 50, queue: 2, flow: "mouse/mouse", serviceMs: 100 });
	}
	serve(jobs, { servers: 1, maxDepth: 500, makeCore });
	const mice = jobs.filter((job) => job.flow === "mouse/mouse");
	const refused = mice.filter((job) => job.refused !== undefined).length;
	const longest = Math.max(...mice.map(waitOf).filter((wait) => !Number.isNaN(wait)));
	return {
		figure: `${refused} of ${mice.length} refused, longest wait ${longest} ms`,
		holds: refused === 0 && longest <= 200,
	};
}

export function hold(makeCore: MakeCore): Outcome {
	const settings = settingsOf(
		{ allocator: "priority", scheduler: "strict" },
		{
			pools: [
				{
					name: "main",
					endpoints: 1,
					capacity: { ...PLAIN_CAPACITY, maxConcurrent: 1000, maxInflightTokens: 32_000 },
				},
			],
		},
	);
	const core = makeCore(settings);
	const started: number[] = [];
	const submit = (queue: number, tokens: number, now: number) => {
		const flow = flowPath([`q${queue}`]);
		const ticket = core.submit(submitRequest({ flow, queue, promptTokens: tokens, completionTokens: 0 }), now);
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") started.push(decision.ticket);
		}
		return ticket;
	};
	for (let i = 0; i < 64; i++) submit(4, 500, 0);
	const large = submit(2, 30_000, 1);
	let finished = 0;
	while (!started.includes(large) && finished < 500) {
		submit(4, 500, 2);
		const ticket = started[finished++]!;
		core.finish(ticket, { promptTokens: 500, completionTokens: 0, cachedTokens: 0 }, 2);
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") started.push(decision.ticket);
		}
	}
	return { figure: `after ${finished} of the 64 before it`, holds: finished === 60 };
}

export function headroom(makeCore: MakeCore): Outcome {
	const figures: string[] = [];
	let holds = true;
	for (const scheduler of ["wfq", "drr"] as const) {
		const waits = [0.03, 0].map((fraction) => {
			const jobs: Job[] = [];
			const random = new Random(5);
			for (let i = 0; i < 3000; i++) {
				jobs.push({ arrivalMs: 0, queue: 4, flow: "batch", serviceMs: 2000 + random.next() * 4000, cost: 1000 });
			}
			for (let burst = 1; burst <= 60; burst++) {
				for (let i = 0; i < 2; i++) {
					jobs.push({
						arrivalMs: burst * 2000 + i,
						queue: 0,
						flow: "production",
						serviceMs: 500,
						cost: 1000,
					});
				}
			}
			serve(jobs, { servers: 64, headroom: fraction, core: { scheduler }, makeCore });
			return quantile(jobs.filter((job) => job.queue === 0).map(waitOf), 0.9);
		});
		figures.push(`${scheduler} ${waits[0]!.toFixed(0)} ms, without ${waits[1]!.toFixed(0)} ms`);
		holds &&= waits[0]! <= 1 && waits[1]! > 20;
	}
	return { figure: figures.join("; "), holds };
}
