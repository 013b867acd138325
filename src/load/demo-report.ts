/** Per-tier results of a demo run: latency to first token, served, refused and why. */
import type { Millis } from "../core/model/units.ts";
import type { LoadResult } from "./load-generator.ts";

export interface TierReport {
	readonly ttft_ms: { readonly p50: number; readonly p99: number };
	readonly served: number;
	readonly refused: number;
	/** Still waiting for a first token when the run ended. */
	readonly unanswered: number;
	readonly refusals: Readonly<Record<string, number>>;
}

export interface DemoReport {
	/** Prompt and answer tokens that the engine worked through per second of the run. */
	readonly tokens_per_second: number;
	readonly tiers: Readonly<Record<string, TierReport>>;
}

interface TierSamples {
	readonly ttft: number[];
	served: number;
	refused: number;
	unanswered: number;
	readonly refusals: Map<string, number>;
}

export class DemoTally {
	readonly #tiers = new Map<string, TierSamples>();

	/** @param endMs end of the run; what had no first token by then has waited at least until then */
	add(result: LoadResult, endMs: Millis): void {
		const tier = this.#tier(result.tier);
		const answered = Number.isFinite(result.ttftMs) && result.atMs + result.ttftMs <= endMs;
		if (result.status >= 400) {
			tier.refused++;
			const code = result.errorCode ?? String(result.status);
			tier.refusals.set(code, (tier.refusals.get(code) ?? 0) + 1);
		} else if (answered) {
			tier.served++;
			tier.ttft.push(result.ttftMs);
		} else {
			tier.unanswered++;
			tier.ttft.push(Math.max(0, endMs - result.atMs));
		}
	}

	report(tokensPerSecond: number): DemoReport {
		const tiers: Record<string, TierReport> = {};
		for (const [name, samples] of this.#tiers) {
			const sorted = samples.ttft.toSorted((a, b) => a - b);
			tiers[name] = {
				ttft_ms: { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) },
				served: samples.served,
				refused: samples.refused,
				unanswered: samples.unanswered,
				refusals: Object.fromEntries(samples.refusals),
			};
		}
		return { tokens_per_second: Math.round(tokensPerSecond), tiers };
	}

	#tier(name: string): TierSamples {
		let tier = this.#tiers.get(name);
		if (tier === undefined) {
			tier = { ttft: [], served: 0, refused: 0, unanswered: 0, refusals: new Map() };
			this.#tiers.set(name, tier);
		}
		return tier;
	}
}

function quantile(sorted: readonly number[], q: number): number {
	const value = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
	return Math.round(value * 10) / 10;
}
