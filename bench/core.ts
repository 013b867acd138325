/**
 * The scheduling core alone: requests per second of CPU for submit + dispatch + finish with true-up and timeout.
 *
 * Method: a pool with 64 slots is kept full; a backlog of N requests over 5 × 1,000 flows (two-step flow path) stands; then each
 * operation finishes one running request (usage differs from the estimate), and submits one new one, and drains the decisions. The clock is virtual,
 * CPU time is process.cpuUsage; medians of interleaved rounds. Peers do what they can do: p-queue (priority queue of promises),
 * bottleneck, fastq: submit and run a no-op task at concurrency 64 under the same standing backlog. Ratios, not absolute figures, are the result.
 * Usage: node --expose-gc bench/core.ts [--quick]
 */
import Bottleneck from "bottleneck";
import fastq from "fastq";
import PQueue from "p-queue";
import { bucketQueues } from "../src/core/allocate/bucket-allocator.ts";
import { priorityQueues } from "../src/core/allocate/priority-allocator.ts";
import { type AllocatorKind, type QueueSettings, SCHEDULERS, type SchedulerKind } from "../src/core/model/policy.ts";
import { coreSettings, DEFAULT_CAPACITY } from "../src/core/schedule/core-settings.ts";
import { flowPath } from "../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../src/core/schedule/submit-request.ts";

const quick = process.argv.includes("--quick");
const OPERATIONS = quick ? 100_000 : 400_000;
const ROUNDS = quick ? 1 : 5;

function queues(allocator: AllocatorKind, scheduler: SchedulerKind): readonly QueueSettings[] {
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

interface Run {
	readonly perSecond: number;
	readonly heapMovesPerRequest: number;
	readonly bytesPerWaiting: number;
}

function run(allocator: AllocatorKind, scheduler: SchedulerKind, backlog: number): Run {
	const settings = queues(allocator, scheduler);
	const core = new SchedulingCore(
		coreSettings({
			allocator,
			scheduler,
			queues: settings,
			maxWaiting: 1e7,
			maxWaitingBytes: Number.POSITIVE_INFINITY,
			pools: [
				{
					name: "default",
					endpoints: 1,
					capacity: { ...DEFAULT_CAPACITY, maxPrefillTokens: Number.POSITIVE_INFINITY },
				},
			],
		}),
	);
	const flows = Array.from({ length: 5000 }, (_, i) => flowPath([`org-${i % 500}`, `account-${i}`]));
	const request = submitRequest({ flow: flows[0]!, promptTokens: 500, completionTokens: 250, timeoutMs: 300_000 });
	const running = new Float64Array(128);
	let head = 0;
	let count = 0;
	let now = 0;
	let i = 0;
	const submit = () => {
		request.queue = i % settings.length;
		request.flow = flows[i % 5000]!;
		request.promptTokens = 300 + (i % 7) * 100;
		i++;
		core.submit(request, now);
		drain();
	};
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") running[(head + count++) % 128] = decision.ticket;
		}
	};
	globalThis.gc?.();
	const before = process.memoryUsage();
	for (let n = 0; n < backlog; n++) submit();
	globalThis.gc?.();
	const after = process.memoryUsage();
	const usage = { promptTokens: 600, completionTokens: 200, cachedTokens: 0 };
	const operate = (times: number) => {
		for (let n = 0; n < times; n++) {
			now += 0.01;
			const ticket = running[head]!;
			head = (head + 1) % 128;
			count--;
			core.finish(ticket, usage, now);
			drain();
			submit();
		}
	};
	operate(OPERATIONS / 4);
	const moves = core.heapMoves;
	const start = process.cpuUsage();
	operate(OPERATIONS);
	const { user, system } = process.cpuUsage(start);
	return {
		perSecond: OPERATIONS / ((user + system) / 1e6),
		heapMovesPerRequest: (core.heapMoves - moves) / OPERATIONS,
		bytesPerWaiting: (after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers) / backlog,
	};
}

async function peer(submitTask: (priority: number) => Promise<unknown>, operations: number): Promise<number> {
	const start = process.cpuUsage();
	for (let n = 0; n < operations; n += 1000) {
		await Promise.all(Array.from({ length: 1000 }, (_, i) => submitTask(i % 5)));
	}
	const { user, system } = process.cpuUsage(start);
	return operations / ((user + system) / 1e6);
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const million = (perSecond: number) => `${(perSecond / 1e6).toFixed(2)} M/s`;

const results = new Map<string, Run[]>();
for (let round = 0; round < ROUNDS; round++) {
	for (const allocator of ["priority", "bucket"] as const) {
		for (const scheduler of SCHEDULERS) {
			const key = `${allocator === "priority" ? "5 levels  " : "100 buckets"} ${scheduler}`;
			results.set(key, [...(results.get(key) ?? []), run(allocator, scheduler, 100_000)]);
		}
	}
}
console.log("backlog 100k, 5,000 flows, one core (median)");
for (const [key, runs] of results) {
	console.log(
		`  ${key.padEnd(24)} ${million(median(runs.map((r) => r.perSecond)))}  ${runs[0]!.heapMovesPerRequest.toFixed(2)} heap moves/request`,
	);
}
console.log("growth of the backlog, 5 levels, wfq");
for (const backlog of [10_000, 100_000, 1_000_000]) {
	const runs = Array.from({ length: ROUNDS }, () => run("priority", "wfq", backlog));
	console.log(
		`  ${String(backlog).padStart(9)} waiting ${million(median(runs.map((r) => r.perSecond)))}  ${runs[0]!.heapMovesPerRequest.toFixed(2)} heap moves/request, ${median(runs.map((r) => r.bytesPerWaiting)).toFixed(0)} B each`,
	);
}
const ours = median(results.get("5 levels   wfq")!.map((r) => r.perSecond));
const pQueue = new PQueue({ concurrency: 64 });
const bottleneck = new Bottleneck({ maxConcurrent: 64 });
const fast = fastq.promise(async () => {}, 64);
const peers: [string, number][] = [
	["p-queue", await peer((priority) => pQueue.add(async () => {}, { priority }), quick ? 20_000 : 100_000)],
	["bottleneck", await peer((priority) => bottleneck.schedule({ priority }, async () => {}), quick ? 5000 : 20_000)],
	["fastq (no priorities, no fairness)", await peer(() => fast.push(0), quick ? 20_000 : 200_000)],
];
console.log("peers on their own job (no fairness, no cost, batches of 1,000)");
for (const [name, perSecond] of peers)
	console.log(`  ${name.padEnd(36)} ${million(perSecond)}  core is ${(ours / perSecond).toFixed(1)} ×`);
