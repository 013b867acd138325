/**
 * Claims about scheduling with an oracle each: what is claimed, who proved or published it, how far off we may be, and our figure. The
 * tests hold every claim, the zoo of broken cores must miss them, and `docs/proof.md` shows them.
 */
import { type Claim, claim } from "./claim.ts";
import {
	deficitBound,
	jainOfLateJoiner,
	lateJoiner,
	pausedClient,
	sharesByWeight,
	startTimeBound,
	underestimating,
} from "./claims-fair.ts";
import { fluidBounds } from "./claims-fluid.ts";
import { histories } from "./claims-histories.ts";
import { bufferStealing, headroom, hold, mouse } from "./claims-isolation.ts";
import { batchBesideChat, costOfFairness, noisyNeighbour } from "./claims-published.ts";
import { cobham, erlang, workConservation } from "./claims-queueing.ts";
import { prepaid, rateBound } from "./claims-rates.ts";
import { upgradesWithinLimits } from "./claims-upgrades.ts";
import { againstPublished, lightClients, serviceDrift } from "./claims-vtc.ts";

const VTC = "Sheng et al. (VTC), OSDI 2024";

export const CLAIMS: readonly Claim[] = [
	claim(
		"S0",
		"conversations on one server: busy periods and last finish under each of the five schedulers",
		"Kleinrock: conservation",
		"those of the arrivals alone, whatever the order",
		["exact, on the first 200", "exact; published 1470, 3501.8 s and 117, 3891.4 s"],
		workConservation,
	),
	claim(
		"S1",
		"strict priority: mean waits of three classes",
		"Cobham, 1954",
		"M/M/1 1 / 2 / 8; M/D/1 .5 / 1 / 4; M/M/10 .0511 / .1023 / .4092 service times",
		["5 %, last class 10 % (2 seeds × 100k)", "2 %, last class 5 % (5 seeds × 400k)"],
		cobham,
	),
	claim(
		"S2",
		"ten servers, full: who waits, mean, P95, P99; who is refused with room for 10 / 20 / 60",
		"Erlang",
		".4092 / .2046 / 1.051 / 1.856; .3019 / .1797 / .1667",
		["10 % (2 seeds × 100k); ±.005 (100k)", "3 %; ±.005 (5 seeds × 400k)"],
		erlang,
	),
	claim(
		"S3",
		"fair queuing by start tags, flows and queues, load .9 and 1.08, weights equal and 1..4: when each request of a trace finishes",
		"Goyal, Vin, Cheng, SIGCOMM 1996; fluid reference: Parekh, Gallager, 1993",
		"≤ expected arrival + Σ other Lmax/C + own cost/C; ≤ fluid finish + ΣLmax/C (the latter measured, not proven)",
		["0 violations, two hours of 27 clients and two VTC runs", "0 violations, a day of 73 clients and six VTC runs"],
		fluidBounds,
	),
	claim(
		"S3b",
		"wfq: weighted service of two backlogged queues over any interval",
		"Goyal, Vin, Cheng, SIGCOMM 1996",
		"≤ Lmaxᵢ/wᵢ + Lmaxⱼ/wⱼ",
		"0 violations",
		startTimeBound,
	),
	claim(
		"S4",
		"drr: the same, for quanta of 512 and 4096; deficits stay below the largest cost",
		"Shreedhar, Varghese, SIGCOMM 1995",
		"≤ quantum + Lmaxᵢ/wᵢ + Lmaxⱼ/wⱼ",
		"0 violations",
		deficitBound,
	),
	claim(
		"S5a",
		"two backlogged clients on the engine VTC was measured on: how far their service drifts apart, known lengths",
		VTC,
		"≤ own bound (2 Lmax + 2 × largest outstanding charge + 2 × error), and VTC's 40,000",
		["0 violations, first three minutes of the runs", "0 violations, whole runs"],
		serviceDrift("known"),
	),
	claim(
		"S5b",
		"the same with lengths that are learnt",
		VTC,
		"≤ own bound, and VTC's 40,000",
		["0 violations, first three minutes of the runs", "0 violations, whole runs"],
		serviceDrift("learnt"),
	),
	claim(
		"S5c",
		"mean time to first token per client against the published run; throughput against first come first served",
		VTC,
		"within 20 % of the published; ≥ 98 %",
		["as said, first three minutes of the runs", "as said, whole runs"],
		againstPublished,
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
		"S6b",
		"clients below their share in the published runs: mean time to first token",
		VTC,
		"≤ 1.5 × alone + one service time",
		["as said, first three minutes of the runs", "as said, whole runs and one more"],
		lightClients,
	),
	claim(
		"S7",
		"pre-paid limit of 100/s, burst 1000: requests of 50 at 10/s for a minute, and conversations at twice their limit",
		"token bucket",
		"139 admitted; any interval τ ≤ burst + rate·τ",
		"exact",
		prepaid,
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
		"S10",
		"atleast on 2 to 100 buckets: only idle capacity is lent, within the limits; better requests do not wait for it",
		"definition",
		"0 violations; later by ≤ (2·burst + largest)/rate; without upgrades as strict",
		["0 violations, 16 set-ups", "0 violations, 1000 set-ups"],
		upgradesWithinLimits,
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
		"E1",
		"a tenant's burst of 450 requests beside steady tenants on two small replicas",
		"N. Richard, per-tenant caps: P99 603 ms with caps, 404 of 450 failed; 33.2 s without",
		"P99 ≤ 400 ms, 0 of 450 failed within 300 s",
		"as said",
		noisyNeighbour,
	),
	claim(
		"E3",
		"3,000 batch requests beside chat at 15/s and at 28/s on two replicas: chat's P99 time to first token against alone",
		"llm-d-batch-gateway #491: 1.36 × with AIMD, 53 × with flow control",
		"≤ 1.36 × with the batch done in ≤ 1.5 × the unprotected time (15/s); ≤ 1.36 × (28/s)",
		["as said (1 seed)", "as said (8 seeds)"],
		batchBesideChat,
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
		"E4b",
		"the same with unequal sizes and those of conversations: Jain's index of weighted service",
		"Jain, Chiu, Hawe, 1984",
		"≥ 0.999",
		"as said",
		jainOfLateJoiner,
	),
	claim(
		"E5",
		"wfq over five levels and twenty tenants against first come first served on two engines: throughput",
		"vLLM #31909: 92–95 %",
		"≥ 99 %",
		["as said, excerpts of four traces", "as said, six traces"],
		costOfFairness,
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
		["exact, 1,200 histories", "exact, 100,020 histories"],
		histories,
	),
];

export function claimOf(id: string): Claim {
	const found = CLAIMS.find((known) => known.id === id);
	if (found === undefined) throw new Error(`no claim ${id}`);
	return found;
}
