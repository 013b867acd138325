/**
 * Who asks in a simulation: the arrivals of a trace as requests of tenants and tiers.
 *
 * A trace without tiers gets them by a fixed split, the same in every run: a client's name, else the number of its row, is hashed, and
 * the hash falls into production 30 %, staging 10 %, premium 20 %, standard 20 %, spot 10 % or batch 10 %. Rows without clients belong to
 * one of four tenants of their tier, by the same hash. Units: milliseconds, tokens.
 */
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import { hashText } from "./random.ts";
import type { Trace } from "./traces.ts";

export interface SimulatedArrival {
	readonly arrivalMs: Millis;
	readonly metadata: RoutingMetadata;
	readonly promptTokens: Tokens;
	readonly outputTokens: Tokens;
	readonly stream: boolean;
}

export interface TierShare {
	readonly name: string;
	/** Of all hashes, in percent. */
	readonly percent: number;
	readonly tier: string;
	readonly environment?: string;
	readonly workload?: string;
}

export const TIER_SPLIT: readonly TierShare[] = [
	{ name: "production", percent: 30, tier: "internal", environment: "production" },
	{ name: "staging", percent: 10, tier: "internal", environment: "staging" },
	{ name: "premium", percent: 20, tier: "premium" },
	{ name: "standard", percent: 20, tier: "external" },
	{ name: "spot", percent: 10, tier: "spot" },
	{ name: "batch", percent: 10, tier: "internal", environment: "dev", workload: "batch" },
];

const TENANTS_PER_TIER = 4;

/** @param speedUp 2 lets everything arrive in half the time */
export function* traceArrivals(trace: Trace, speedUp: number): Generator<SimulatedArrival, void> {
	let row = 0;
	for (const { arrivalMs, promptTokens, outputTokens, client } of trace.requests()) {
		const hash = hashText(client ?? `row ${row}`);
		row++;
		const { name, tier, environment, workload } = shareOf(hash % 100);
		yield {
			arrivalMs: arrivalMs / speedUp,
			metadata: {
				tier,
				...(environment === undefined ? {} : { environment }),
				...(workload === undefined ? {} : { workload }),
				accountId: client ?? `${name}-${(Math.floor(hash / 100) % TENANTS_PER_TIER) + 1}`,
				routedBy: "token",
			},
			promptTokens,
			outputTokens: Math.max(1, outputTokens),
			stream: workload !== "batch",
		};
	}
}

function shareOf(percentile: number): TierShare {
	let end = 0;
	for (const share of TIER_SPLIT) {
		end += share.percent;
		if (percentile < end) return share;
	}
	return TIER_SPLIT.at(-1)!;
}
