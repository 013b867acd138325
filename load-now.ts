/**
 * The load of the core bench: a pool of 64 slots kept full, with a standing backlog of N requests over 5,000 flows (500
 * organisations of ten accounts, two steps) in 5 levels or 100 buckets.
 *
 * One operation finishes a running request (its usage differs from the estimate), lets the next one start, submits one for the
 * flow that was just served, with a timeout, and asks when to wake, as the gateway does. So every flow keeps its N / 5,000 requests for as
 * long as the run lasts: the shape of the work is the same whatever the backlog, and a figure does not depend on when it is read.
 */
import { bucketQueues } from "/tmp/wt/coreperf/src/core/allocate/bucket-allocator.ts";
import { priorityQueues } from "/tmp/wt/coreperf/src/core/allocate/priority-allocator.ts";
import type { AllocatorKind, QueueSettings, SchedulerKind } from "/tmp/wt/coreperf/src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY } from "/tmp/wt/coreperf/src/core/schedule/core-settings.ts";
import type { Ticket } from "/tmp/wt/coreperf/src/core/schedule/decision.ts";
import { type FlowPath, flowPath } from "/tmp/wt/coreperf/src/core/schedule/flow-path.ts";
import { SchedulingCore } from "/tmp/wt/coreperf/src/core/schedule/scheduling-core.ts";
import { submitRequest } from "/tmp/wt/coreperf/src/core/schedule/submit-request.ts";

export const FLOWS = 5000;
const ORGANISATIONS = 500;
const SLOTS = 64;
/** Room for the tickets that run, a power of two. */
const RING = 128;
/** The low bits of a ticket are its row, below this. */
const ROWS = 2 ** 22;

export function queuesOf(allocator: AllocatorKind, scheduler: SchedulerKind): readonly QueueSettings[] {
	const made =
		allocator === "priority"
			? priorityQueues({ levels: 5, defaultPriority: 4 })
			: bucketQueues({
					buckets: {
						count: 100,
						baseCapacityRps: 1e9,
						distribution: "exponential",
						decayRatio: 0.95,
						basis: "bucket0",
					},
					mappings: [],
					scheduler,
					levels: 5,
				});
	return made.map((queue) => ({ ...queue, maxDepth: 1e7 }));
}

export function benchCore(allocator: AllocatorKind, scheduler: SchedulerKind): SchedulingCore {
	return new SchedulingCore(
		coreSettings({
			allocator,
			scheduler,
			queues: queuesOf(allocator, scheduler),
			maxWaiting: 1e7,
			maxWaitingBytes: Number.POSITIVE_INFINITY,
			pools: [
				{
					name: "default",
					endpoints: 1,
					capacity: { ...DEFAULT_CAPACITY, maxConcurrent: SLOTS, maxPrefillTokens: Number.POSITIVE_INFINITY },
				},
			],
		}),
	);
}

export function benchFlows(): readonly FlowPath[] {
	return Array.from({ length: FLOWS }, (_, i) => flowPath([`org-${i % ORGANISATIONS}`, `account-${i}`]));
}

export interface Figures {
	readonly perSecond: number;
	readonly heapMoves: number;
	readonly bytesPerWaiting: number;
}

/** A core with its backlog, ready to operate. */
export class CoreLoad {
	readonly core: SchedulingCore;
	readonly #flows: readonly FlowPath[];
	readonly #queues: number;
	readonly #request;
	readonly #running = new Int32Array(RING);
	/** Flow of a ticket, by its row. */
	readonly #flowOf = new Uint16Array(ROWS);
	readonly #usage = { promptTokens: 600, completionTokens: 200, cachedTokens: 0 };
	#head = 0;
	#tail = 0;
	#submitted = 0;
	#now = 0;

	constructor(core: SchedulingCore, flows: readonly FlowPath[]) {
		this.core = core;
		this.#flows = flows;
		this.#queues = core.settings.queues.length;
		this.#request = submitRequest({ flow: flows[0]!, promptTokens: 500, completionTokens: 250, timeoutMs: 300_000 });
	}

	/** Fills the slots and the queues; returns the tickets. */
	fill(backlog: number): Int32Array {
		const tickets = new Int32Array(backlog + SLOTS);
		// A stride that is prime to the number of flows: neighbours in arrival are strangers in memory.
		for (let n = 0; n < tickets.length; n++) tickets[n] = this.#submit((n * 1237) % FLOWS);
		return tickets;
	}

	operate(times: number): void {
		const { core } = this;
		for (let n = 0; n < times; n++) {
			this.#now += 0.01;
			const ticket = this.#running[this.#head++ & (RING - 1)]!;
			core.finish(ticket, this.#usage, this.#now);
			this.#drain();
			this.#submit(this.#flowOf[ticket & (ROWS - 1)]!);
			if (core.nextWakeAt() <= this.#now) {
				core.advance(this.#now);
				this.#drain();
			}
		}
	}

	#submit(flow: number): Ticket {
		const request = this.#request;
		request.queue = flow % this.#queues;
		request.flow = this.#flows[flow]!;
		request.promptTokens = 300 + (this.#submitted++ % 7) * 100;
		const ticket = this.core.submit(request, this.#now);
		this.#flowOf[ticket & (ROWS - 1)] = flow;
		this.#drain();
		return ticket;
	}

	#drain(): void {
		const { core } = this;
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") this.#running[this.#tail++ & (RING - 1)] = decision.ticket;
		}
	}
}

function memoryInUse(): number {
	// Buffers that a collection found dead are freed in the background; by the next one they are gone.
	for (let i = 0; i < 3; i++) globalThis.gc?.();
	const { heapUsed, arrayBuffers } = process.memoryUsage();
	return heapUsed + arrayBuffers;
}

/** Builds one core with its backlog and measures it; needs `--expose-gc` for the memory. */
export function measure(
	allocator: AllocatorKind,
	scheduler: SchedulerKind,
	backlog: number,
	operations: number,
): Figures {
	const flows = benchFlows();
	const core = benchCore(allocator, scheduler);
	const load = new CoreLoad(core, flows);
	const before = memoryInUse();
	load.fill(backlog);
	const bytes = memoryInUse() - before;
	load.operate(operations / 2);
	const moves = core.heapMoves;
	const start = process.cpuUsage();
	load.operate(operations);
	const { user, system } = process.cpuUsage(start);
	return {
		perSecond: operations / ((user + system) / 1e6),
		heapMoves: (core.heapMoves - moves) / operations,
		bytesPerWaiting: bytes / backlog,
	};
}
