/**
 * S3b, S4, S9, E4: shares and bounds of clients that always have more to send, on a plain server whose service is cost.
 */
import type { SchedulerKind } from "../../src/core/model/policy.ts";
import { DeficitRoundRobin } from "../../src/core/schedule/deficit-round-robin.ts";
import { Random } from "../../src/simulate/random.ts";
import { type Client, type Served, serveBacklogged, shares, worstDifference } from "./backlog.ts";
import { type MakeCore, type Outcome, percent, type Scale } from "./claim.ts";
import { azureConversations, costOf } from "./traces.ts";

const BOUND_WEIGHTS = [
	[1, 1, 1, 1, 1, 1],
	[4, 4, 2, 2, 1, 1],
] as const;

interface Drift {
	/** The worst pair's difference over any interval as a part of its bound. */
	readonly part: number;
	/** Deficits at or above the largest cost in a queue whose turn it is not. */
	readonly deficits: number;
}

/** Six clients, a queue each, with sizes from 1 to 2,000 and with those of conversations. */
function worstOfBound(
	scheduler: SchedulerKind,
	quantum: number,
	bound: (wa: number, wb: number, largestA: number, largestB: number) => number,
	makeCore: MakeCore,
	scale: Scale,
): Drift {
	let part = 0;
	let deficits = 0;
	const conversations = azureConversations(scale).map(costOf);
	for (const weights of BOUND_WEIGHTS) {
		for (const real of [false, true]) {
			const random = new Random(`${scheduler}-${quantum}`);
			const sizes = weights.map((_, queue) =>
				real
					? conversations.filter((_, index) => index % 6 === queue)
					: Array.from({ length: 4000 }, () => random.integer(1, queue % 2 === 0 ? 2000 : 100)),
			);
			const largest = sizes.map((of) => Math.max(...of));
			const clients: Client[] = weights.map((_, queue) => ({
				flow: "one",
				queue,
				cost: (n) => sizes[queue]![n % sizes[queue]!.length]!,
			}));
			const served = serveBacklogged({
				scheduler,
				clients,
				queueWeights: weights,
				quantum,
				dispatches: real ? 4000 : 20_000,
				makeCore,
				onEvent: (core) => {
					const { scheduler: used } = core.pools[0]!;
					if (!(used instanceof DeficitRoundRobin)) return;
					const above = largest.filter((most, queue) => used.deficitOf(queue) >= most).length;
					if (above > 1) deficits++;
				},
			});
			for (let a = 0; a < 6; a++) {
				for (let b = a + 1; b < 6; b++) {
					const allowed = bound(weights[a]!, weights[b]!, largest[a]!, largest[b]!);
					part = Math.max(part, worstDifference(served.slice(12), weights, a, b) / allowed);
				}
			}
		}
	}
	return { part, deficits };
}

export function deficitBound(makeCore: MakeCore, scale: Scale): Outcome {
	const worst = [512, 4096].map((quantum) =>
		worstOfBound("drr", quantum, (wa, wb, la, lb) => quantum + la / wa + lb / wb, makeCore, scale),
	);
	const deficits = worst.reduce((sum, drift) => sum + drift.deficits, 0);
	return {
		figure: `${percent(Math.max(...worst.map(({ part }) => part)))} of the bound, ${deficits} deficits at the largest cost`,
		holds: worst.every(({ part }) => part <= 1) && deficits === 0,
	};
}

export function startTimeBound(makeCore: MakeCore, scale: Scale): Outcome {
	const { part } = worstOfBound("wfq", 4096, (wa, wb, la, lb) => la / wa + lb / wb, makeCore, scale);
	return { figure: `${percent(part)} of the bound`, holds: part <= 1 };
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

export function sharesByWeight(makeCore: MakeCore): Outcome {
	const errors = [
		weightedShares("strict", false, makeCore),
		weightedShares("wfq", true, makeCore),
		weightedShares("drr", true, makeCore),
		weightedShares("hybrid", true, makeCore),
	];
	const worst = Math.max(...errors);
	return { figure: `${percent(worst)} off`, holds: worst < 0.01 };
}

export function underestimating(makeCore: MakeCore): Outcome {
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

export function pausedClient(makeCore: MakeCore): Outcome {
	const rejoinMs = 300_000;
	const of = (apart: boolean) => {
		const served = serveBacklogged({
			scheduler: apart ? "wfq" : "strict",
			clients: [
				{ flow: "steady", queue: 0, cost: () => 300 },
				{ flow: "late", queue: apart ? 1 : 0, cost: () => 300, fromMs: rejoinMs },
			],
			queueWeights: [1, 1],
			dispatches: 2000,
			makeCore,
		});
		return shares(served, 2, rejoinMs)[1]!;
	};
	const [inside, apart] = [of(false), of(true)];
	return {
		figure: `share ${percent(inside)}, as a queue ${percent(apart)}, from then on`,
		holds: [inside, apart].every((share) => Math.abs(share / 0.5 - 1) < 0.05),
	};
}

// --- E4

/** Two backlogged queues with weights 500 : 50, one of which joins after 600 dispatches. */
function joinLate(
	lightFirst: boolean,
	costs: { heavy: (n: number) => number; light: (n: number) => number },
	makeCore: MakeCore,
): Served[] {
	return serveBacklogged({
		scheduler: "wfq",
		clients: [
			{ flow: "heavy", queue: 0, cost: costs.heavy, fromMs: lightFirst ? JOINS_MS : 0 },
			{ flow: "light", queue: 1, cost: costs.light, fromMs: lightFirst ? 0 : JOINS_MS },
		],
		queueWeights: [500, 50],
		dispatches: 8000,
		makeCore,
	});
}

const JOINS_MS = 60_000;

export function lateJoiner(makeCore: MakeCore): Outcome {
	let longest = 0;
	for (const lightFirst of [true, false]) {
		let gap = 0;
		for (const { client, startMs } of joinLate(lightFirst, { heavy: () => 100, light: () => 100 }, makeCore)) {
			if (startMs <= JOINS_MS) continue;
			gap = client === 1 ? 0 : gap + 1;
			longest = Math.max(longest, gap);
		}
	}
	return { figure: `${longest} dispatches`, holds: longest <= 11 };
}

/** Jain's index of weighted service from the joining on: (Σx)² / (n · Σx²), 1 when all have their share. */
export function jainOfLateJoiner(makeCore: MakeCore, scale: Scale): Outcome {
	let lowest = 1;
	const conversations = azureConversations(scale).map(costOf);
	const sizes = [
		{ heavy: () => 90, light: () => 900 },
		{ heavy: () => 900, light: () => 90 },
		{
			heavy: (n: number) => conversations[n % conversations.length]! / 20,
			light: (n: number) => conversations[(7 * n) % conversations.length]! / 20,
		},
	];
	for (const costs of sizes) {
		for (const lightFirst of [true, false]) {
			const service = [0, 0];
			const whole = {
				heavy: (n: number) => Math.ceil(costs.heavy(n)),
				light: (n: number) => Math.ceil(costs.light(n)),
			};
			for (const { client, cost, startMs } of joinLate(lightFirst, whole, makeCore)) {
				if (startMs > JOINS_MS) service[client]! += cost / [500, 50][client]!;
			}
			const [x, y] = service as [number, number];
			lowest = Math.min(lowest, (x + y) ** 2 / (2 * (x * x + y * y)));
		}
	}
	return { figure: `≥ ${lowest.toFixed(5)}`, holds: lowest >= 0.999 };
}
