/**
 * Claims about scheduling with an oracle each: what is claimed, who proved or published it, how far off we may be, and our figure. The
 * tests hold every claim, the zoo of broken cores must miss them, and `docs/proof.md` shows them.
 */
import fc from "fast-check";
import type { SchedulerKind } from "../../src/core/model/policy.ts";
import type { CoreSettings } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";
import { Random } from "../../src/simulate/random.ts";
import { EXAMS, PAIRS, PLAIN_CAPACITY, settingsOf } from "../properties/core-fixtures.ts";
import { COMMANDS, History } from "../properties/core-history.ts";
import { type Client, serveBacklogged, shares, worstDifference } from "./backlog.ts";
import { type Job, quantile, serve, waitOf } from "./queueing.ts";

export type MakeCore = (settings: CoreSettings) => SchedulingCore;

export interface Outcome {
	/** As shown, with its unit. */
	readonly figure: string;
	readonly holds: boolean;
}

export interface Claim {
	readonly id: string;
	readonly claim: string;
	readonly source: string;
	readonly expected: string;
	readonly margin: string;
	measure(makeCore?: MakeCore): Outcome;
}

const sound: MakeCore = (settings) => new SchedulingCore(settings);
const SECOND = 1000;

function percent(value: number): string {
	return `${(100 * value).toFixed(2)} %`;
}

// --- S1

function cobham(makeCore: MakeCore): Outcome {
	const expected = [1, 2, 8];
	const margins = [0.05, 0.05, 0.1];
	const sums = [0, 0, 0];
	const counts = [0, 0, 0];
	for (const seed of [1, 2]) {
		const random = new Random(seed);
		const jobs: Job[] = [];
		let at = 0;
		for (let i = 0; i < 150_000; i++) {
			at += random.exponential(SECOND / 0.8);
			const pick = random.next() * 0.8;
			const queue = pick < 0.2 ? 0 : pick < 0.5 ? 1 : 2;
			jobs.push({ arrivalMs: at, queue, flow: "one", serviceMs: random.exponential(SECOND) });
		}
		serve(jobs, { servers: 1, makeCore });
		for (const job of jobs) {
			sums[job.queue]! += waitOf(job) / SECOND;
			counts[job.queue]!++;
		}
	}
	const waits = sums.map((sum, queue) => sum / counts[queue]!);
	const off = waits.map((wait, queue) => Math.abs(wait / expected[queue]! - 1));
	return {
		figure: waits.map((wait) => wait.toFixed(2)).join(" / "),
		holds: off.every((error, queue) => error < margins[queue]!),
	};
}

// --- bounds of fair queuing

const BOUND_WEIGHTS = [
	[1, 1, 1, 1, 1, 1],
	[4, 4, 2, 2, 1, 1],
] as const;

/** Six clients, a queue each, sizes 1 to 2,000; the worst pair's difference over any interval as a part of its bound. */
function worstOfBound(
	scheduler: SchedulerKind,
	quantum: number,
	bound: (wa: number, wb: number, largest: number) => number,
	makeCore: MakeCore,
): number {
	let worst = 0;
	for (const weights of BOUND_WEIGHTS) {
		const random = new Random(`${scheduler}-${quantum}`);
		const largest = 2000;
		const clients: Client[] = weights.map((_, queue) => ({
			flow: "one",
			queue,
			cost: () => random.integer(1, queue % 2 === 0 ? largest : 100),
		}));
		const served = serveBacklogged({
			scheduler,
			clients,
			queueWeights: weights,
			quantum,
			dispatches: 20_000,
			makeCore,
		});
		for (let a = 0; a < 6; a++) {
			for (let b = a + 1; b < 6; b++) {
				const allowed = bound(weights[a]!, weights[b]!, largest);
				worst = Math.max(worst, worstDifference(served.slice(12), weights, a, b) / allowed);
			}
		}
	}
	return worst;
}

function deficitBound(makeCore: MakeCore): Outcome {
	const worst = [512, 4096].map((quantum) =>
		worstOfBound("drr", quantum, (wa, wb, max) => quantum + max / wa + max / wb, makeCore),
	);
	return { figure: `${percent(Math.max(...worst))} of the bound`, holds: worst.every((part) => part <= 1) };
}

function startTimeBound(makeCore: MakeCore): Outcome {
	const worst = worstOfBound("wfq", 4096, (wa, wb, max) => max / wa + max / wb, makeCore);
	return { figure: `${percent(worst)} of the bound`, holds: worst <= 1 };
}

// --- S9

/** Weighted clients with wrong estimates in one queue, or in a queue each under a weighted scheduler. */
function weightedShares(scheduler: SchedulerKind, apart: boolean, makeCore: MakeCore): number {
	const weights = [4, 3, 2, 1];
	const random = new Random(9);
	const clients: Client[] = weights.map((weight, index) => ({
		flow: `client-${index}`,
		queue: apart ? index : 0,
		weight: apart ? 1 : weight,
		// Small requests and large ones, all expected to be alike.
		cost: () => random.integer(50, 100 + 200 * index),
		estimate: () => 200,
	}));
	const served = serveBacklogged({
		scheduler,
		clients,
		queueWeights: apart ? weights : [1, 1],
		servers: 8,
		dispatches: 30_000,
		makeCore,
	});
	const got = shares(served, 4);
	return Math.max(...got.map((share, index) => Math.abs(share / (weights[index]! / 10) - 1)));
}

function sharesByWeight(makeCore: MakeCore): Outcome {
	const errors = [
		weightedShares("strict", false, makeCore),
		weightedShares("wfq", true, makeCore),
		weightedShares("drr", true, makeCore),
		weightedShares("hybrid", true, makeCore),
	];
	const worst = Math.max(...errors);
	return { figure: `${percent(worst)} off`, holds: worst < 0.01 };
}

function underestimating(makeCore: MakeCore): Outcome {
	const served = serveBacklogged({
		scheduler: "strict",
		clients: [
			{ flow: "honest", queue: 0, cost: () => 400 },
			{ flow: "sly", queue: 0, cost: () => 400, estimate: () => 1 },
		],
		queueWeights: [1, 1],
		servers: 4,
		dispatches: 8000,
		makeCore,
	});
	const [, sly] = shares(served, 2);
	return { figure: `share ${percent(sly!)}`, holds: Math.abs(sly! / 0.5 - 1) < 0.05 };
}

function pausedClient(makeCore: MakeCore): Outcome {
	const rejoinMs = 300_000;
	const served = serveBacklogged({
		scheduler: "strict",
		clients: [
			{ flow: "steady", queue: 0, cost: () => 300 },
			{ flow: "late", queue: 0, cost: () => 300, fromMs: rejoinMs },
		],
		queueWeights: [1, 1],
		dispatches: 2000,
		makeCore,
	});
	const [, late] = shares(served, 2, rejoinMs);
	return { figure: `share ${percent(late!)} from then on`, holds: Math.abs(late! / 0.5 - 1) < 0.05 };
}

// --- E4

function lateJoiner(makeCore: MakeCore): Outcome {
	let longest = 0;
	for (const lightFirst of [true, false]) {
		const served = serveBacklogged({
			scheduler: "wfq",
			clients: [
				{ flow: "heavy", queue: 0, cost: () => 100, fromMs: lightFirst ? 60_000 : 0 },
				{ flow: "light", queue: 1, cost: () => 100, fromMs: lightFirst ? 0 : 60_000 },
			],
			queueWeights: [500, 50],
			dispatches: 8000,
			makeCore,
		});
		let gap = 0;
		for (const { client, startMs } of served) {
			if (startMs <= 60_000) continue;
			gap = client === 1 ? 0 : gap + 1;
			longest = Math.max(longest, gap);
		}
	}
	return { figure: `${longest} dispatches`, holds: longest <= 11 };
}

// --- S6, S11, S12, S13

function mouse(makeCore: MakeCore): Outcome {
	const jobs: Job[] = [];
	for (let i = 0; i < 1000; i++) jobs.push({ arrivalMs: 0, queue: 2, flow: "elephant", serviceMs: 200 });
	for (let i = 1; i <= 60; i++) jobs.push({ arrivalMs: i * SECOND, queue: 2, flow: "mouse", serviceMs: 200 });
	serve(jobs, { servers: 1, makeCore });
	const longest = Math.max(...jobs.slice(1000).map(waitOf));
	return { figure: `${longest} ms`, holds: longest <= 400 };
}

function bufferStealing(makeCore: MakeCore): Outcome {
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

function hold(makeCore: MakeCore): Outcome {
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

function headroom(makeCore: MakeCore): Outcome {
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

// --- rates

/** Consumption over every interval against burst + rate·τ + largest + error of the estimates. */
function rateBound(makeCore: MakeCore): Outcome {
	let worst = 0;
	const rate = 2000;
	const random = new Random(3);
	const core = makeCore(
		settingsOf(
			{ allocator: "priority", scheduler: "wfq" },
			{
				pools: [
					{
						name: "main",
						endpoints: 1,
						capacity: { ...PLAIN_CAPACITY, maxConcurrent: 8, maxTokensPerSec: rate, burstSeconds: 1 },
					},
				],
			},
		),
	);
	const uses: { at: number; tokens: number }[] = [];
	const running: { ticket: number; at: number }[] = [];
	const largest = 900;
	let now = 0;
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind === "dispatch") running.push({ ticket: decision.ticket, at: now + 20 });
		}
	};
	for (let i = 0; i < 3000; i++) {
		if (core.waitingCount < 20) {
			const request = submitRequest({
				flow: flowPath([`f${i % 3}`]),
				queue: i % 5,
				promptTokens: 300,
				completionTokens: 300,
			});
			core.submit(request, now);
			drain();
		}
		if (running[0] !== undefined && running[0].at <= now) {
			const completionTokens = random.integer(0, largest - 300);
			uses.push({ at: now, tokens: 300 + completionTokens });
			core.finish(running.shift()!.ticket, { promptTokens: 300, completionTokens, cachedTokens: 0 }, now);
			drain();
		}
		now += 5;
		core.advance(now);
		drain();
	}
	// Beyond the burst and one largest request: the error of the estimates of what runs at a time.
	const slack = rate + largest + 8 * 300;
	for (let from = 0; from < uses.length; from++) {
		let sum = 0;
		for (let to = from; to < uses.length; to++) {
			sum += uses[to]!.tokens;
			worst = Math.max(worst, sum - (rate * (uses[to]!.at - uses[from]!.at)) / SECOND);
		}
	}
	return { figure: `${worst.toFixed(0)} above the rate`, holds: worst <= slack };
}

// --- histories

function histories(makeCore: MakeCore): Outcome {
	const runs = 40;
	let count = 0;
	let failure = "";
	for (const pair of PAIRS) {
		for (const exam of EXAMS) {
			const settings = exam.settings(pair);
			const result = fc.check(
				fc.property(COMMANDS, (commands) => {
					const history = new History(makeCore(settings), exam.judge(pair));
					for (const command of commands) history.play(command);
					history.finishAll();
				}),
				{ seed: 20_250_101, numRuns: runs, endOnFailure: true },
			);
			count += result.numRuns;
			if (result.failed) {
				const error = result.errorInstance as Error;
				failure = `${pair.allocator} × ${pair.scheduler}: ${error.message}`;
				return { figure: failure, holds: false };
			}
		}
	}
	return { figure: `0 in ${count} histories`, holds: true };
}

function claim(
	id: string,
	text: string,
	source: string,
	expected: string,
	margin: string,
	measure: (makeCore: MakeCore) => Outcome,
): Claim {
	return { id, claim: text, source, expected, margin, measure: (makeCore = sound) => measure(makeCore) };
}

export const CLAIMS: readonly Claim[] = [
	claim(
		"S1",
		"strict priority: mean waits of three classes on M/M/1",
		"Cobham, 1954",
		"1 / 2 / 8 service times",
		"5 %, last class 10 % (2 seeds × 150k)",
		cobham,
	),
	claim(
		"S3",
		"wfq: weighted service of two backlogged queues over any interval",
		"Goyal, Vin, Cheng, SIGCOMM 1996",
		"≤ Lmax/wᵢ + Lmax/wⱼ",
		"0 violations",
		startTimeBound,
	),
	claim(
		"S4",
		"drr: the same, for quanta of 512 and 4096",
		"Shreedhar, Varghese, SIGCOMM 1995",
		"≤ quantum + Lmax/wᵢ + Lmax/wⱼ",
		"0 violations",
		deficitBound,
	),
	claim(
		"S6",
		"a client below its share beside one with a thousand requests",
		"max-min fairness",
		"waits ≤ one running and one more (400 ms)",
		"exact",
		mouse,
	),
	claim(
		"S9a",
		"weights 4:3:2:1 with wrong estimates, inside a queue and between queues",
		"definition",
		"service 4:3:2:1",
		"1 %",
		sharesByWeight,
	),
	claim("S9b", "a client that says 1 and uses 400 gains nothing", "definition", "share 50 %", "5 %", underestimating),
	claim(
		"S9c",
		"a client that was away hoards nothing",
		"definition",
		"share 50 % once it is back",
		"5 %",
		pausedClient,
	),
	claim(
		"S11",
		"a thousand keys fill a queue to its depth beside one other client",
		"McKenney, 1990",
		"0 refused, waits ≤ one running and one more (200 ms)",
		"exact",
		bufferStealing,
	),
	claim(
		"S12",
		"a 30,000-token request against 32,000 tokens and endless small ones",
		"hold",
		"starts when 60 of the 64 before it are done",
		"exact",
		hold,
	),
	claim(
		"S13",
		"3 % of headroom under wfq and drr: P90 wait of bursts",
		"definition",
		"≤ 1 ms with, > 20 ms without",
		"exact",
		headroom,
	),
	claim(
		"E4",
		"weights 500 : 50, whoever joins late",
		"start-time fair queuing",
		"the light one waits ≤ 11 dispatches",
		"exact",
		lateJoiner,
	),
	claim(
		"rate",
		"tokens used over any interval under a ceiling",
		"post-paid token bucket",
		"≤ burst + rate·τ + largest + estimate error (5,300)",
		"0 violations",
		rateBound,
	),
	claim(
		"histories",
		"exactly once, order in a flow, space, deadlines, idle room, leftovers",
		"own book-keeping",
		"0 violations",
		"exact",
		histories,
	),
];

export function claimOf(id: string): Claim {
	const found = CLAIMS.find((known) => known.id === id);
	if (found === undefined) throw new Error(`no claim ${id}`);
	return found;
}
