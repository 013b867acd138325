/**
 * The scheduling core alone: requests per second of CPU for submit + dispatch + finish with true-up and timeout, against the targets
 * that are set for it. What one operation does is in `core-load.ts`.
 *
 * Method: every measurement of a scheduler has a process of its own; the clock is virtual, CPU time is `process.cpuUsage`; every figure is the median over rounds, and what is compared is interleaved
 * within a round, because machines are noisy: ratios are the result, absolute figures say what this machine could do at that moment.
 * Operations (heap moves) and bytes are exact. Peers run their own job, a queue with priorities for plain tasks: no flows, no cost,
 * no timeout; the core runs the same job behind a minimal adapter that makes a promise per task as they do, and also with
 * the standing backlog that a gateway has.
 *
 * Usage: node --expose-gc bench/core.ts [--quick] [speed|growth|cancellation|peers ...]
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import Bottleneck from "bottleneck";
import fastq from "fastq";
import PQueue from "p-queue";
import { inlineMore } from "../src/cli/inlining.ts";
import { ALLOCATORS, type AllocatorKind, SCHEDULERS, type SchedulerKind } from "../src/core/model/policy.ts";
import { flowPath } from "../src/core/schedule/flow-path.ts";
import { submitRequest } from "../src/core/schedule/submit-request.ts";
import { benchCore, benchFlows, CoreLoad, type Figures, FLOWS } from "./core-load.ts";

// As `tokligence` does; peers run with it too.
inlineMore();
const quick = process.argv.includes("--quick");
const OPERATIONS = quick ? 200_000 : 500_000;
const ROUNDS = quick ? 3 : 5;
const BACKLOG = 100_000;

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const million = (perSecond: number) => `${(perSecond / 1e6).toFixed(2)} M/s`;
const verdict = (holds: boolean) => (holds ? "met" : "not met");

const CHILD = fileURLToPath(new URL("core-child.ts", import.meta.url));

function measure(allocator: AllocatorKind, scheduler: SchedulerKind, backlog: number): Figures {
	const args = ["--expose-gc", CHILD, allocator, scheduler, String(backlog), String(OPERATIONS)];
	const { stdout, status } = spawnSync(process.execPath, args, {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "inherit"],
	});
	if (status !== 0) throw new Error(`the measurement of ${allocator} × ${scheduler} failed`);
	return JSON.parse(stdout);
}

/**
 * How far memory is at this moment, in nanoseconds: one dependent load in 4 MB, which fits no near cache. Neighbours on the machine move it
 * by several times, and the core, which touches about eight far lines per request, with it.
 */
function memoryLatency(): number {
	const links = new Int32Array(2 ** 20);
	// A walk over all of them that no prefetcher follows: a full-period linear congruential generator.
	for (let i = 0, at = 0; i < links.length; i++) {
		const next = (Math.imul(at, 1664525) + 1013904223) & (links.length - 1);
		links[at] = next;
		at = next;
	}
	const steps = 2_000_000;
	const start = process.cpuUsage();
	let at = 0;
	for (let i = 0; i < steps; i++) at = links[at]!;
	const { user, system } = process.cpuUsage(start);
	// Uses the result, or the walk would be optimised away.
	return at < 0 ? Number.NaN : ((user + system) * 1000) / steps;
}

/** Figures by name, in the order of their first round. */
class Results {
	readonly #byName = new Map<string, Figures[]>();

	add(name: string, figures: Figures): void {
		this.#byName.set(name, [...(this.#byName.get(name) ?? []), figures]);
	}

	get names(): readonly string[] {
		return [...this.#byName.keys()];
	}

	of(name: string): Figures {
		const runs = this.#byName.get(name)!;
		return {
			perSecond: median(runs.map((run) => run.perSecond)),
			heapMoves: median(runs.map((run) => run.heapMoves)),
			bytesPerWaiting: median(runs.map((run) => run.bytesPerWaiting)),
		};
	}

	/** Median over rounds of the ratio of two speeds of the same round. */
	ratio(name: string, to: string): number {
		const others = this.#byName.get(to)!;
		return median(this.#byName.get(name)!.map((run, round) => run.perSecond / others[round]!.perSecond));
	}
}

function speed(): void {
	const results = new Results();
	const latencies: number[] = [];
	const nameOf = (allocator: string, scheduler: string) =>
		`${allocator === "priority" ? "5 levels" : "100 buckets"}, ${scheduler}`;
	for (let round = 0; round < ROUNDS; round++) {
		latencies.push(memoryLatency());
		for (const scheduler of SCHEDULERS) {
			for (const allocator of ALLOCATORS) {
				results.add(nameOf(allocator, scheduler), measure(allocator, scheduler, BACKLOG));
			}
		}
	}
	const latency = latencies.map((ns) => ns.toFixed(0)).join(", ");
	console.log(`a dependent load from 4 MB took ${latency} ns in these rounds (about 17 on the same machine at rest)`);
	console.log(`speed: ${FLOWS} flows, backlog ${BACKLOG}, one core; target 1.5 M/s, buckets within 1.5 × of levels`);
	for (const scheduler of SCHEDULERS) {
		const levels = nameOf("priority", scheduler);
		const buckets = nameOf("bucket", scheduler);
		const slower = results.ratio(levels, buckets);
		for (const name of [levels, buckets]) {
			const { perSecond, heapMoves } = results.of(name);
			const note =
				name === levels ? verdict(perSecond >= 1.5e6) : `${slower.toFixed(2)} × levels: ${verdict(slower <= 1.5)}`;
			console.log(`  ${name.padEnd(22)} ${million(perSecond)}  ${heapMoves.toFixed(2)} heap moves  ${note}`);
		}
	}
}

function growth(): void {
	const results = new Results();
	const backlogs = [10_000, 100_000, 1_000_000];
	for (let round = 0; round < ROUNDS; round++) {
		for (const backlog of backlogs) results.add(String(backlog), measure("priority", "wfq", backlog));
	}
	console.log("growth: 5 levels, wfq; target equal operation counts, time ≤ 3 ×, ≤ 100 B per waiting request");
	for (const name of results.names) {
		const { perSecond, heapMoves, bytesPerWaiting } = results.of(name);
		const slower = results.ratio("10000", name);
		console.log(
			`  ${name.padStart(9)} waiting ${million(perSecond)}  ${heapMoves.toFixed(2)} heap moves, ${slower.toFixed(2)} × the time: ` +
				`${verdict(slower <= 3)}; ${bytesPerWaiting.toFixed(0)} B each: ${verdict(bytesPerWaiting <= 100)}`,
		);
	}
}

/** A million waiting requests of 5,000 flows, cancelled in random order. */
function cancellation(): void {
	const waiting = 1_000_000;
	const times: number[] = [];
	for (let round = 0; round < ROUNDS; round++) {
		const core = benchCore("priority", "wfq");
		const load = new CoreLoad(core, benchFlows());
		const tickets = load.fill(waiting).filter((ticket) => core.isWaiting(ticket));
		shuffle(tickets, round + 1);
		const start = process.cpuUsage();
		for (const ticket of tickets) core.cancel(ticket, 1);
		const { user, system } = process.cpuUsage(start);
		times.push((user + system) / 1e6);
		if (core.waitingCount !== 0) throw new Error(`${core.waitingCount} still wait`);
	}
	const seconds = median(times);
	console.log("cancellation: target a million waiting in random order in less than a second");
	console.log(`  ${waiting} cancelled in ${seconds.toFixed(2)} s: ${verdict(seconds < 1)}`);
}

/** In place, the same for the same seed (a linear congruential generator is random enough to miss caches). */
function shuffle(values: Int32Array, seed: number): void {
	let state = seed >>> 0;
	for (let i = values.length - 1; i > 0; i--) {
		state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
		const j = state % (i + 1);
		const value = values[i]!;
		values[i] = values[j]!;
		values[j] = value;
	}
}

type Enqueue = (priority: number) => Promise<unknown>;

/** The core as a plain priority queue of asynchronous tasks: five levels, one flow, 64 at a time. */
function coreAsQueue(): Enqueue {
	const core = benchCore("priority", "strict");
	const request = submitRequest({ flow: flowPath(["tasks"]), promptTokens: 1, completionTokens: 0 });
	const usage = { promptTokens: 1, completionTokens: 0, cachedTokens: 0 };
	const tasks = new Map<number, () => void>();
	const task = async () => {};
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") void start(decision.ticket);
		}
	};
	const start = async (ticket: number) => {
		await task();
		const resolve = tasks.get(ticket)!;
		tasks.delete(ticket);
		core.finish(ticket, usage, 0);
		resolve();
		drain();
	};
	return (priority) =>
		new Promise<void>((resolve) => {
			request.queue = priority;
			tasks.set(core.submit(request, 0), resolve);
			drain();
		});
}

async function taskSpeed(enqueue: Enqueue, operations: number, batch: number): Promise<number> {
	const start = process.cpuUsage();
	for (let n = 0; n < operations; n += batch) {
		await Promise.all(Array.from({ length: batch }, (_, i) => enqueue(i % 5)));
	}
	const { user, system } = process.cpuUsage(start);
	return operations / ((user + system) / 1e6);
}

async function peers(): Promise<void> {
	const pQueue = new PQueue({ concurrency: 64 });
	const bottleneck = new Bottleneck({ maxConcurrent: 64 });
	const fast = fastq.promise(async () => {}, 64);
	const core = coreAsQueue();
	const candidates: [string, Enqueue, number][] = [
		["core, with a promise per task", core, 1],
		["p-queue", (priority) => pQueue.add(async () => {}, { priority }), 1],
		["bottleneck", (priority) => bottleneck.schedule({ priority }, async () => {}), 0.05],
		["fastq (no priorities)", () => fast.push(0), 1],
	];
	for (const batch of [1000, 20_000]) {
		const speeds = new Map<string, number[]>();
		for (let round = 0; round < ROUNDS; round++) {
			for (const [name, enqueue, share] of candidates) {
				if (share < 1 && batch > 1000) continue;
				const operations = Math.max(batch, Math.round((OPERATIONS / 5) * share));
				speeds.set(name, [...(speeds.get(name) ?? []), await taskSpeed(enqueue, operations, batch)]);
			}
			const alone = "core, decisions only";
			speeds.set(alone, [...(speeds.get(alone) ?? []), decisionSpeed(batch)]);
		}
		console.log(`peers on their own job, ${batch} tasks at once, 64 run; target ≥ 10 × p-queue, ≥ 50 × bottleneck`);
		const ours = speeds.get("core, decisions only")!;
		const adapted = speeds.get("core, with a promise per task")!;
		for (const [name, runs] of speeds) {
			const times = (own: readonly number[]) => median(own.map((speed, round) => speed / runs[round]!)).toFixed(1);
			console.log(
				`  ${name.padEnd(30)} ${million(median(runs))}  core is ${times(ours)} ×, with a promise ${times(adapted)} ×`,
			);
		}
	}
}

/** The same job without promises: what deciding alone costs. */
function decisionSpeed(batch: number): number {
	const core = benchCore("priority", "strict");
	const request = submitRequest({ flow: flowPath(["tasks"]), promptTokens: 1, completionTokens: 0 });
	const usage = { promptTokens: 1, completionTokens: 0, cachedTokens: 0 };
	const running: number[] = [];
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") running.push(decision.ticket);
		}
	};
	const start = process.cpuUsage();
	for (let n = 0; n < OPERATIONS; n += batch) {
		for (let i = 0; i < batch; i++) {
			request.queue = i % 5;
			core.submit(request, 0);
			drain();
		}
		while (running.length > 0) {
			core.finish(running.pop()!, usage, 0);
			drain();
		}
	}
	const { user, system } = process.cpuUsage(start);
	return OPERATIONS / ((user + system) / 1e6);
}

const parts = { speed, growth, cancellation, peers };
const wanted = Object.keys(parts).filter((name) => process.argv.includes(name));
for (const [name, run] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await run();
