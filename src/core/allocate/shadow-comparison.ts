/**
 * A second allocator that decides about every request without acting, and how far it agrees with the one that acts: before an installation
 * moves from levels to buckets, or back. A level and a bucket agree when the migration's mapping (`migration.ts`) puts the one into the other.
 */
import type { AllocationDecision, RoutingRule } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";
import type { Allocator } from "./allocator.ts";
import { bucketsOfLevel } from "./migration.ts";
import { type Adjusted, adjustAllocation } from "./time-window.ts";

export const VERDICTS = ["same", "better", "worse"] as const;
/** Where the shadow would put a request, compared with where it is. */
export type Verdict = (typeof VERDICTS)[number];

/** Requests that were put alike. */
export interface ShadowPair {
	/** Labels of the queues. */
	readonly queue: string;
	readonly shadowQueue: string;
	readonly tier: string;
	readonly environment: string | undefined;
	readonly verdict: Verdict;
	readonly requests: number;
}

export interface ShadowReport {
	readonly allocator: Allocator["kind"];
	readonly shadowAllocator: Allocator["kind"];
	readonly requests: number;
	readonly verdicts: Readonly<Record<Verdict, number>>;
	/** Most frequent first. */
	readonly pairs: readonly ShadowPair[];
}

/** Tiers and environments are words of users: beyond this many combinations they are counted together. */
const MOST_PAIRS = 500;

export class ShadowComparison {
	#acting: Allocator;
	#shadow: Allocator;
	readonly #pairs = new Map<string, { -readonly [K in keyof ShadowPair]: ShadowPair[K] }>();

	constructor(acting: Allocator, shadow: Allocator) {
		this.#acting = acting;
		this.#shadow = shadow;
	}

	/** Other settings of the same two kinds; what was counted stays. */
	use(acting: Allocator, shadow: Allocator): void {
		this.#acting = acting;
		this.#shadow = shadow;
	}

	/** Decides about a request that the acting allocator put into `decision`, and counts it. */
	observe(
		metadata: RoutingMetadata,
		rule: RoutingRule,
		adjusted: Adjusted,
		decision: AllocationDecision,
	): { readonly verdict: Verdict; readonly queue: string; readonly shadowQueue: string } {
		const plain = this.#shadow.allocate(metadata, rule);
		const shadow = adjustAllocation(plain, adjusted, this.#shadow, metadata, rule);
		const verdict = this.#compare(decision.queue, shadow.queue);
		const queue = this.#acting.queues[decision.queue]!.label;
		const shadowQueue = this.#shadow.queues[shadow.queue]!.label;
		const isFull = this.#pairs.size >= MOST_PAIRS;
		const own = `${queue}|${shadowQueue}|${metadata.tier}|${metadata.environment ?? ""}`;
		const key = isFull && !this.#pairs.has(own) ? `${queue}|${shadowQueue}` : own;
		const pair = this.#pairs.get(key);
		if (pair !== undefined) pair.requests++;
		else {
			const { tier, environment } = key === own ? metadata : { tier: "*", environment: undefined };
			this.#pairs.set(key, { queue, shadowQueue, tier, environment, verdict, requests: 1 });
		}
		return { verdict, queue, shadowQueue };
	}

	report(): ShadowReport {
		const pairs = [...this.#pairs.values()].map((pair) => ({ ...pair })).sort((a, b) => b.requests - a.requests);
		const verdicts = { same: 0, better: 0, worse: 0 };
		for (const { verdict, requests } of pairs) verdicts[verdict] += requests;
		return {
			allocator: this.#acting.kind,
			shadowAllocator: this.#shadow.kind,
			requests: verdicts.same + verdicts.better + verdicts.worse,
			verdicts,
			pairs,
		};
	}

	#compare(acting: number, shadow: number): Verdict {
		const actingCount = this.#acting.queues.length;
		const shadowCount = this.#shadow.queues.length;
		const [first, last] =
			this.#acting.kind === "priority"
				? bucketsOfLevel(acting, actingCount, shadowCount)
				: levelsOfBucket(acting, actingCount, shadowCount);
		if (shadow < first) return "better";
		return shadow > last ? "worse" : "same";
	}
}

/** Levels whose buckets hold this one: several when there are fewer buckets than levels. */
function levelsOfBucket(bucket: number, count: number, levels: number): readonly [number, number] {
	const holding = Array.from({ length: levels }, (_, level) => level).filter((level) => {
		const [first, last] = bucketsOfLevel(level, levels, count);
		return bucket >= first && bucket <= last;
	});
	return [holding[0] ?? 0, holding.at(-1) ?? levels - 1];
}
