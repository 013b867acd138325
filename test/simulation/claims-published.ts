/**
 * E1, E3, E5: results that others published, with our core in front of an engine like theirs.
 *
 * Their engines are known only through what they did without contention; the profiles here are calibrated to that and are not used
 * anywhere else. Capacity is what an operator would set: levels for who matters, a limit, headroom for the traffic that is protected.
 */
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import type { SchedulerKind } from "../../src/core/model/policy.ts";
import { type CapacitySettings, coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { ENGINE_PROFILES, type EngineProfile } from "../../src/simulate/engine-profiles.ts";
import { Random } from "../../src/simulate/random.ts";
import { type SimulatedRequest, simulate } from "../../src/simulate/simulation.ts";
import type { TraceRequest } from "../../src/simulate/traces.ts";
import { type MakeCore, type Outcome, type Scale, sound } from "./claim.ts";
import { quantile } from "./queueing.ts";
import { azureConversations, LENGTHS, lengths, mooncake, publishedRun, servegenDay } from "./traces.ts";

const PROMPT = 512;
const OUTPUT = 128;
const BATCH = 4;

/** Two L4 with a 7B model: alone P99 of time to first token 263 ms and 61 ms per token; flooded 33.2 s. */
const L4: EngineProfile = {
	...ENGINE_PROFILES["a100-8b"],
	name: "l4-7b",
	slots: 256,
	kvTokens: 100_000,
	chunkTokens: 2048,
	prefillMsPerToken: 0.25,
	stepBaseMs: 59,
	stepMsPerSequence: 0.1,
	stepMsPerContextToken: 0.0002,
};

/** A large mixture of experts: alone P99 73 ms at 15/s on two replicas, 12 ms per token. */
const MIXTURE: EngineProfile = {
	...ENGINE_PROFILES["h100-70b"],
	name: "mixture-120b",
	slots: 256,
	kvTokens: 400_000,
	chunkTokens: 8192,
	prefillMsPerToken: 0.04,
	stepBaseMs: 11,
	stepMsPerSequence: 0.05,
	stepMsPerContextToken: 0.00003,
};

/** Everything goes to the engines at once, spread evenly. */
const UNPROTECTED: CapacitySettings = {
	...DEFAULT_CAPACITY,
	maxConcurrent: 1e6,
	maxPrefillTokens: Number.POSITIVE_INFINITY,
	headroom: 0,
};

/** `protectedSlots` of the limit are open to the better levels only. */
function limited(batchSlots: number, protectedSlots: number, window: number | "auto"): CapacitySettings {
	const maxConcurrent = batchSlots + protectedSlots;
	// A hair less, since headroom is rounded up.
	const headroom = protectedSlots / maxConcurrent - 1e-9;
	return { ...DEFAULT_CAPACITY, maxConcurrent, headroom, maxPrefillTokens: window };
}

function play(
	requests: SimulatedRequest[],
	engine: EngineProfile,
	endpoints: number,
	capacity: CapacitySettings,
	makeCore: MakeCore,
	scheduler: SchedulerKind = "strict",
): number {
	requests.sort((a, b) => a.arrivalMs - b.arrivalMs);
	return simulate({
		core: coreSettings({
			scheduler,
			queues: priorityQueues({ levels: 5, defaultPriority: BATCH }).map((queue) => ({ ...queue, maxDepth: 1e6 })),
			maxWaiting: 1e6,
			pools: [{ name: "main", endpoints, capacity }],
		}),
		engines: [Array.from({ length: endpoints }, () => engine)],
		requests,
		makeCore,
	}).endMs;
}

const ttftP99 = (requests: readonly SimulatedRequest[]) =>
	quantile(
		requests.map((request) => (request.firstTokenMs ?? Number.POSITIVE_INFINITY) - request.arrivalMs),
		0.99,
	);

// --- E1

function tenants(withB: boolean): Record<"a" | "b" | "c", SimulatedRequest[]> {
	const steady = (name: string, queue: number, count: number, perSecond: number, fromMs: number): SimulatedRequest[] =>
		Array.from({ length: count }, (_, index) => ({
			arrivalMs: fromMs + (index * 1000) / perSecond,
			queue,
			flow: flowPath([name]),
			promptTokens: PROMPT,
			outputTokens: OUTPUT,
			expectedOutputTokens: OUTPUT,
			timeoutMs: 300_000,
		}));
	return {
		a: steady("a", 0, 240, 2, 0),
		b: withB ? steady("b", BATCH, 450, 30, 30_000) : [],
		c: steady("c", 0, 120, 1, 250),
	};
}

export function noisyNeighbour(makeCore: MakeCore): Outcome {
	const run = (withB: boolean, capacity: CapacitySettings, core: MakeCore) => {
		const { a, b, c } = tenants(withB);
		const endMs = play([...a, ...b, ...c], L4, 2, capacity, core);
		return { p99: ttftP99(a), failed: b.filter((request) => request.finishedMs === undefined).length, endMs };
	};
	const alone = run(false, UNPROTECTED, sound);
	const open = run(true, UNPROTECTED, sound);
	const ours = run(true, limited(48, 24, "auto"), makeCore);
	return {
		figure: `A's P99 ${ours.p99.toFixed(0)} ms (alone ${alone.p99.toFixed(0)} ms, unprotected ${(open.p99 / 1000).toFixed(1)} s), ${ours.failed} of 450 failed, all done after ${(ours.endMs / open.endMs).toFixed(2)} × the time`,
		holds: ours.p99 <= 400 && ours.failed === 0,
	};
}

// --- E3

function chatAndBatch(seed: number, perSecond: number): { chat: SimulatedRequest[]; batch: SimulatedRequest[] } {
	const random = new Random(seed);
	const sized = { promptTokens: PROMPT, outputTokens: OUTPUT, expectedOutputTokens: OUTPUT };
	const chat: SimulatedRequest[] = [];
	const flow = flowPath(["chat"]);
	for (let phase = 0; phase < 8; phase++) {
		const end = (phase + 1) * 90_000;
		const rate = phase % 2 === 0 ? perSecond : 1;
		for (let at = phase * 90_000 + random.exponential(1000 / rate); at < end; at += random.exponential(1000 / rate)) {
			chat.push({ arrivalMs: at, queue: 0, flow, ...sized });
		}
	}
	const jobs = ["job-1", "job-2", "job-3"].map((job) => flowPath([job]));
	const batch = jobs.flatMap((job) =>
		Array.from({ length: 1000 }, () => ({ arrivalMs: 0, queue: BATCH, flow: job, buffered: true, ...sized })),
	);
	return { chat, batch };
}

interface Beside {
	/** Chat's P99 as a multiple of alone. */
	readonly ttft: number;
	/** The batch's time as a multiple of unprotected. */
	readonly time: number;
	readonly unprotectedTtft: number;
}

/** Chat's P99 and when the batch is done. */
function chatRun(seed: number, perSecond: number, withBatch: boolean, capacity: CapacitySettings, makeCore: MakeCore) {
	const { chat, batch } = chatAndBatch(seed, perSecond);
	play(withBatch ? [...chat, ...batch] : [...chat], MIXTURE, 2, capacity, makeCore);
	return { p99: ttftP99(chat), doneMs: Math.max(0, ...batch.map((request) => request.finishedMs ?? 0)) };
}

/** What it is compared with, by seed and rate. */
const references = new Map<string, { alone: number; open: number; openDoneMs: number }>();

function reference(seed: number, perSecond: number) {
	const key = `${seed}/${perSecond}`;
	let known = references.get(key);
	if (known === undefined) {
		const alone = chatRun(seed, perSecond, false, UNPROTECTED, sound);
		const open = chatRun(seed, perSecond, true, UNPROTECTED, sound);
		known = { alone: alone.p99, open: open.p99, openDoneMs: open.doneMs };
		references.set(key, known);
	}
	return known;
}

/** Means over seeds. */
function batchBeside(perSecond: number, capacity: CapacitySettings, seeds: number, makeCore: MakeCore = sound): Beside {
	const sums = { ttft: 0, time: 0, unprotectedTtft: 0 };
	for (let seed = 1; seed <= seeds; seed++) {
		const { alone, open, openDoneMs } = reference(seed, perSecond);
		const ours = chatRun(seed, perSecond, true, capacity, makeCore);
		sums.ttft += ours.p99 / alone / seeds;
		sums.time += ours.doneMs / openDoneMs / seeds;
		sums.unprotectedTtft += open / alone / seeds;
	}
	return sums;
}

/** The part of the limit that is open to chat alone: as many as it ever has running. */
const CHAT_SLOTS = 64;

export function batchBesideChat(makeCore: MakeCore, { long }: Scale): Outcome {
	const seeds = long ? 8 : 1;
	// One batch prompt at a time, and a second one while the learnt rate says that chat is quiet.
	const capacity = { ...limited(MIXTURE.slots - CHAT_SLOTS, CHAT_SLOTS, "auto"), prefillWindowMs: 38 };
	const calm = batchBeside(15, capacity, seeds, makeCore);
	const busy = batchBeside(28, capacity, seeds, makeCore);
	const shown = ({ ttft, time, unprotectedTtft }: Beside) =>
		`${ttft.toFixed(2)} × in ${time.toFixed(2)} × the time (unprotected ${unprotectedTtft.toFixed(0)} ×)`;
	return {
		figure: `${shown(calm)}; at 28/s ${shown(busy)}`,
		holds: calm.ttft <= 1.36 && calm.time <= 1.5 && busy.ttft <= 1.36,
	};
}

/** What an operator can choose between: rows of batch slots, prefill window, chat's P99, the batch's time. */
export function* batchFrontier(perSecond: number, seeds: number): Generator<readonly [number, number, Beside]> {
	for (const slots of [16, 32, 64, 128, 192]) {
		for (const window of [512, 1024, 2048, Number.POSITIVE_INFINITY]) {
			yield [slots, window, batchBeside(perSecond, limited(slots, CHAT_SLOTS, window), seeds)];
		}
	}
}

// --- E5

/** Requests of a trace at several times the speed an engine can bear, by twenty tenants over all levels, or as one queue. */
function crowd(trace: readonly TraceRequest[], one: boolean): SimulatedRequest[] {
	const paths = Array.from({ length: 20 }, (_, index) => flowPath([`tenant-${index}`]));
	const count = Math.max(1000, trace.length);
	return Array.from({ length: count }, (_, index) => {
		const { promptTokens, outputTokens } = trace[index % trace.length]!;
		return {
			arrivalMs: index,
			queue: one ? 0 : index % 5,
			flow: one ? paths[0]! : paths[(index * 7) % 20]!,
			promptTokens: Math.max(1, promptTokens),
			outputTokens: Math.max(1, outputTokens),
			expectedOutputTokens: Math.max(1, outputTokens),
		};
	});
}

/** Time of the same work first come first served ÷ under fair queuing, the least of all engines and traces. */
export function costOfFairness(makeCore: MakeCore, scale: Scale): Outcome {
	const traces = [
		azureConversations(scale),
		publishedRun("poisson_short_long", scale),
		...LENGTHS.map((of) => lengths(of, scale)),
		...(scale.data === undefined ? [] : [mooncake(scale.data), servegenDay(scale).slice(0, 5000)]),
	];
	let worst = Number.POSITIVE_INFINITY;
	let runs = 0;
	for (const name of ["a100-8b", "a10g-7b"] as const) {
		const engine = ENGINE_PROFILES[name];
		const capacity = {
			...UNPROTECTED,
			maxConcurrent: engine.slots,
			maxInflightTokens: engine.kvTokens,
		};
		for (const trace of traces) {
			// A request as large as the engine would make the last one's luck the result.
			const fitting = trace.filter((row) => row.promptTokens + row.outputTokens <= engine.kvTokens / 4);
			if (fitting.length < 10) continue;
			const firstComeMs = play(crowd(fitting, true), engine, 1, capacity, sound);
			const fairMs = play(crowd(fitting, false), engine, 1, capacity, makeCore, "wfq");
			worst = Math.min(worst, firstComeMs / fairMs);
			runs++;
		}
	}
	return { figure: `≥ ${(100 * worst).toFixed(1)} % in ${runs} runs`, holds: worst >= 0.99 };
}
