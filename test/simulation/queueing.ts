/**
 * A plain c-server queue in front of the core, in virtual time: the set-up of the classical results. Service times are given with the
 * requests; the core decides the order. `pickOrder` replaces the core by a deliberately wrong scheduler, to prove that a test can fail.
 */
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import { type CoreSettings, coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { NumberHeap } from "./number-heap.ts";

export interface Job {
	readonly arrivalMs: number;
	readonly queue: number;
	/** Steps of the flow path, separated by slashes. */
	readonly flow: string;
	readonly serviceMs: number;
	/** Cost that the scheduler sees; the service time when absent. */
	readonly cost?: number;
	/** Weight of its flow; 1 when absent. */
	readonly weight?: number;
	startMs?: number;
	endMs?: number;
	refused?: string;
}

/** A scheduler to be caught: chooses an index into the waiting jobs. */
export type WrongPick = (waiting: readonly Job[]) => number;

export interface QueueOptions {
	readonly servers: number;
	readonly core?: Partial<CoreSettings>;
	readonly headroom?: number;
	readonly maxDepth?: number;
	readonly wrong?: WrongPick;
	/** Makes the core; for cores with a planted fault. */
	readonly makeCore?: (settings: CoreSettings) => SchedulingCore;
}

export function serve(jobs: Iterable<Job>, options: QueueOptions): void {
	if (options.wrong === undefined) serveByCore(jobs, options);
	else serveWrongly(jobs, options.servers, options.wrong);
}

function serveByCore(jobs: Iterable<Job>, options: QueueOptions): void {
	const queues = priorityQueues({ levels: 5, defaultPriority: 4 }).map((queue) => ({
		...queue,
		maxDepth: options.maxDepth ?? 1e7,
	}));
	const makeCore = options.makeCore ?? ((settings: CoreSettings) => new SchedulingCore(settings));
	const core = makeCore(
		coreSettings({
			scheduler: "strict",
			queues,
			maxWaiting: 1e7,
			cost: { promptWeight: 1, completionWeight: 1, cachedWeight: 1 },
			pools: [
				{
					name: "default",
					endpoints: 1,
					capacity: {
						...DEFAULT_CAPACITY,
						maxConcurrent: options.servers,
						maxPrefillTokens: Number.POSITIVE_INFINITY,
						headroom: options.headroom ?? 0,
					},
				},
			],
			...options.core,
		}),
	);
	const paths = new Map<string, ReturnType<typeof flowPath>>();
	const byTicket = new Map<number, Job>();
	const ends = new NumberHeap();
	// Both are the caller's again when the call returns.
	const request = submitRequest({ flow: flowPath([]), promptTokens: 0, completionTokens: 0 });
	const usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
	let now = 0;
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const job = byTicket.get(decision.ticket);
			if (job === undefined) continue;
			if (decision.kind === "dispatch") {
				job.startMs = now;
				ends.push(now + job.serviceMs, decision.ticket);
			} else if (decision.kind === "shed" || decision.kind === "evict") {
				job.refused = decision.reason;
				byTicket.delete(decision.ticket);
			}
		}
	};
	const finish = () => {
		const ticket = ends.pop();
		const job = byTicket.get(ticket)!;
		byTicket.delete(ticket);
		job.endMs = now;
		usage.promptTokens = costOfJob(job);
		core.finish(ticket, usage, now);
		drain();
	};
	for (const job of jobs) {
		while (ends.size > 0 && ends.first <= job.arrivalMs) {
			now = ends.first;
			finish();
		}
		now = job.arrivalMs;
		let path = paths.get(job.flow);
		if (path === undefined) {
			path = flowPath(job.flow.split("/"));
			paths.set(job.flow, path);
		}
		request.flow = path;
		request.queue = job.queue;
		request.weight = job.weight ?? 1;
		request.promptTokens = costOfJob(job);
		const ticket = core.submit(request, now);
		byTicket.set(ticket, job);
		drain();
	}
	while (ends.size > 0) {
		now = ends.first;
		finish();
	}
	if (core.requestCount !== 0) throw new Error(`${core.requestCount} requests were never served`);
}

/** Costs are whole numbers. */
function costOfJob(job: Job): number {
	return Math.max(1, Math.round(job.cost ?? job.serviceMs));
}

function serveWrongly(jobs: Iterable<Job>, servers: number, pick: WrongPick): void {
	const waiting: Job[] = [];
	const ends = new NumberHeap();
	let now = 0;
	let busy = 0;
	const start = () => {
		while (busy < servers && waiting.length > 0) {
			const [job] = waiting.splice(pick(waiting), 1);
			job!.startMs = now;
			job!.endMs = now + job!.serviceMs;
			ends.push(job!.endMs, 0);
			busy++;
		}
	};
	for (const job of jobs) {
		while (ends.size > 0 && ends.first <= job.arrivalMs) {
			now = ends.first;
			ends.pop();
			busy--;
			start();
		}
		now = job.arrivalMs;
		waiting.push(job);
		start();
	}
	while (ends.size > 0) {
		now = ends.first;
		ends.pop();
		busy--;
		start();
	}
}

export const waitOf = (job: Job) => job.startMs! - job.arrivalMs;

export function mean(values: readonly number[]): number {
	return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function quantile(values: readonly number[], q: number): number {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}
