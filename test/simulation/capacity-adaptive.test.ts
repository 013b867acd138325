/**
 * Adaptive capacity against the best fixed limit, found by sweep, on the frozen profiles; deep queues, virtual time, no hand-set floor.
 * The best fixed limit is the one with the highest throughput among those that keep the engine's own queue below two.
 */
import { describe, expect, test } from "vitest";
import { ENGINE_PROFILES, type EngineProfile } from "../../src/simulate/engine-profiles.ts";
import { type DeepQueueResult, runDeepQueue } from "./capacity-workload.ts";

const STARTS = [4, 16, 64, 256];
const MEASURED = { fromMs: 60_000, untilMs: 180_000 };
const SWEEPS = {
	"a10g-7b": [4, 6, 7, 8, 9, 10, 11, 12, 14],
	"a100-8b": [64, 100, 115, 122, 126, 128, 130, 134, 150],
	"h100-70b": [128, 200, 230, 250, 254, 256, 258, 264, 300],
} as const;

function bestFixed(
	profile: EngineProfile,
	limits: readonly number[],
	allowed: (result: DeepQueueResult) => boolean,
): { readonly limit: number; readonly tokensPerSec: number } {
	const best = { limit: 0, tokensPerSec: 0 };
	for (const limit of limits) {
		const result = runDeepQueue({ profile, limit, ...MEASURED });
		if (allowed(result) && result.tokensPerSec > best.tokensPerSec) {
			best.limit = limit;
			best.tokensPerSec = result.tokensPerSec;
		}
	}
	return best;
}

for (const name of Object.keys(SWEEPS) as (keyof typeof SWEEPS)[]) {
	const profile = ENGINE_PROFILES[name];
	const best = bestFixed(profile, SWEEPS[name], (result) => result.engineQueue < 2);
	describe(`on ${name}`, () => {
		test.each(STARTS)(
			"from %d: within 10 percent of the best fixed limit, at 95 percent of its throughput, engine queue < 2",
			(from) => {
				const found = runDeepQueue({ profile, limit: { from }, ...MEASURED });
				expect(Math.abs(found.meanLimit - best.limit)).toBeLessThanOrEqual(0.1 * best.limit);
				expect(found.tokensPerSec).toBeGreaterThanOrEqual(0.95 * best.tokensPerSec);
				expect(found.engineQueue).toBeLessThan(2);
			},
		);

		test("follows a halving within 10 s", () => {
			const half = { ...profile, slots: profile.slots / 2, kvTokens: profile.kvTokens / 2 };
			const change = { atMs: 90_000, to: half };
			const { limitAt } = runDeepQueue({ profile, limit: { from: 32 }, change, fromMs: 60_000, untilMs: 101_000 });
			expect(limitAt[89]).toBeGreaterThan(0.8 * best.limit);
			expect(limitAt[100]).toBeLessThanOrEqual(0.6 * best.limit);
		});

		test("does not take a slower engine for a fuller one", () => {
			const slow = {
				...profile,
				stepBaseMs: 2 * profile.stepBaseMs,
				stepMsPerSequence: 2 * profile.stepMsPerSequence,
				stepMsPerContextToken: 2 * profile.stepMsPerContextToken,
				prefillMsPerToken: 2 * profile.prefillMsPerToken,
			};
			const change = { atMs: 90_000, to: slow };
			const found = runDeepQueue({ profile, limit: { from: 32 }, change, fromMs: 100_000, untilMs: 150_000 });
			expect(found.meanLimit).toBeGreaterThan(0.85 * best.limit);
		});

		test("keeps target_ttft_p99 at 95 % of the best fixed throughput that does", () => {
			const inTime = bestFixed(profile, SWEEPS[name], (result) => result.ttftP99Ms <= 2000);
			const found = runDeepQueue({ profile, limit: { from: 32 }, ...MEASURED, adaptive: { targetTtftP99Ms: 2000 } });
			expect(found.ttftP99Ms).toBeLessThanOrEqual(2000);
			expect(found.tokensPerSec).toBeGreaterThanOrEqual(0.95 * inTime.tokensPerSec);
		});

		test("headroom that lower levels may not use does not stop the limit from growing", () => {
			const found = runDeepQueue({ profile, limit: { from: 32 }, ...MEASURED, queue: 4, capacity: { headroom: 0.06 } });
			expect(found.meanLimit).toBeGreaterThan(0.9 * best.limit);
			expect(found.tokensPerSec).toBeGreaterThanOrEqual(0.9 * best.tokensPerSec);
		});

		test("the prefill window of lower levels does not hide the limit", () => {
			const found = runDeepQueue({ profile, limit: { from: 32 }, ...MEASURED, queue: 4 });
			expect(found.meanLimit).toBeLessThan(1.25 * best.limit);
			expect(found.tokensPerSec).toBeGreaterThanOrEqual(0.95 * best.tokensPerSec);
			expect(found.engineQueue).toBeLessThan(2);
		});
	});
}

describe("what the engine says of itself", () => {
	const profile = ENGINE_PROFILES["a100-8b"];

	test("is used where first tokens are not seen", () => {
		const found = runDeepQueue({ profile, limit: { from: 32 }, ...MEASURED, observed: false, reportEveryMs: 2000 });
		expect(found.isBlind).toBe(false);
		expect(found.tokensPerSec).toBeGreaterThan(0.9 * 11_500);
		expect(found.engineQueue).toBeLessThan(2);
	});

	test("and where nothing is seen and nothing said, the degradation mode decides", () => {
		const blind = { profile, limit: { from: 32 }, observed: false, fromMs: 90_000, untilMs: 100_000 } as const;
		const estimates = { tokensPerSec: 5000, maxConcurrent: 20 };
		const limits = (["fail_open", "fail_closed", "cached"] as const).map((mode) => {
			const found = runDeepQueue({ ...blind, adaptive: { degradation: { mode, ...estimates } } });
			expect(found.isBlind).toBe(true);
			return found.meanLimit;
		});
		expect(limits).toEqual([20, 4, 32]);
	});
});
