import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RequestFacts } from "../model/request-facts.ts";
import type { Usage } from "../model/usage.ts";
import { Estimator } from "./estimator.ts";
import { StreamingQuantile } from "./streaming-quantile.ts";

function facts(fields: Partial<RequestFacts> = {}): RequestFacts {
	return {
		operation: "chat",
		model: "m",
		stream: true,
		wantsStreamUsage: false,
		promptChars: 400,
		promptExtraTokens: 0,
		sequences: 1,
		hasTools: false,
		...fields,
	};
}

function usage(promptTokens: number, completionTokens: number, cachedTokens = 0): Usage {
	return { promptTokens, completionTokens, cachedTokens, source: "measured" };
}

/** A fixed pseudo-random sequence in (0, 1). */
function uniform(seed: number): () => number {
	let state = seed;
	return () => {
		state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
		return (state + 0.5) / 2 ** 32;
	};
}

describe("Estimator before it has learnt", () => {
	const estimator = new Estimator();
	it.each([
		[{}, undefined, 100, 256],
		[{ promptChars: 401, promptExtraTokens: 85 }, undefined, 186, 256],
		[{ maxTokens: 10 }, undefined, 100, 10],
		[{ maxTokens: 0 }, undefined, 100, 0],
		[{ maxTokens: 1000 }, 50, 100, 50],
		[{}, -5, 100, 0],
		[{ sequences: 3, maxTokens: 10 }, undefined, 100, 30],
		[{ operation: "embedding", sequences: 8 }, undefined, 100, 0],
		[{ operation: "count_tokens" }, undefined, 100, 0],
	] as const)("%o with %s left → %i + %i", (fields, contextLeft, promptTokens, completionTokens) => {
		expect(estimator.estimate(facts(fields), "m", "f", contextLeft)).toEqual({
			promptTokens,
			completionTokens,
			cachedTokens: 0,
		});
		expect(estimator.promptTokens(facts(fields), "m")).toBe(promptTokens);
	});

	it("keeps nothing of requests that never ran, and hands out one object", () => {
		expect(estimator.estimate(facts(), "x", "y")).toBe(estimator.estimate(facts(), "__proto__", "constructor"));
		expect([estimator.modelCount, estimator.flowCount]).toEqual([0, 0]);
	});
});

describe("Estimator", () => {
	it("learns characters per token by model, whatever share of the tokens were images", () => {
		const estimator = new Estimator();
		for (let request = 0; request < 200; request++) estimator.learn("m", "f", 3000, usage(1500 + 85, 100), 1, 85);
		expect(estimator.promptTokens(facts({ promptChars: 3000 }), "m")).toBeCloseTo(1500, -1);
		expect(estimator.promptTokens(facts({ promptChars: 3000 }), "other")).toBe(750);
	});

	it("does not let one absurd report ruin the ratio", () => {
		const estimator = new Estimator();
		estimator.learn("m", "f", 1, usage(10_000_000, 1));
		estimator.learn("m", "f", 10, usage(0, 1));
		expect(estimator.promptTokens(facts({ promptChars: 4000 }), "m")).toBeLessThan(2000);
	});

	it("learns nothing from estimated usage", () => {
		const estimator = new Estimator();
		estimator.learn("m", "f", 100, { ...usage(100, 9999), source: "estimated" });
		expect(estimator.flowCount).toBe(0);
	});

	it("learns P75 per sequence and flow; a new flow starts where its model stands", () => {
		const estimator = new Estimator();
		for (let request = 0; request < 600; request++) estimator.learn("m", "long", 400, usage(100, 2 * 2000), 2);
		const long = estimator.estimate(facts(), "m", "long").completionTokens;
		expect(long).toBeGreaterThan(1900);
		expect(long).toBeLessThan(2100);
		expect(estimator.estimate(facts({ sequences: 4 }), "m", "long").completionTokens).toBe(4 * long);
		expect(estimator.estimate(facts(), "m", "new").completionTokens).toBe(long);
		for (let request = 0; request < 600; request++) estimator.learn("m", "short", 400, usage(100, 20));
		expect(estimator.estimate(facts(), "m", "short").completionTokens).toBeLessThan(25);
		expect(estimator.estimate(facts(), "m", "long").completionTokens).toBe(long);
	});

	it("learns the cached share per flow, within the prompt", () => {
		const estimator = new Estimator();
		for (let request = 0; request < 50; request++) estimator.learn("m", "chat", 4000, usage(1000, 10, 600));
		expect(estimator.estimate(facts({ promptChars: 4000 }), "m", "chat").cachedTokens).toBeCloseTo(600, -1);
		expect(estimator.estimate(facts({ promptChars: 4000 }), "m", "other").cachedTokens).toBe(0);
		for (let request = 0; request < 50; request++) estimator.learn("m", "liar", 4000, usage(1000, 10, 9_999_999));
		const { cachedTokens, promptTokens } = estimator.estimate(facts({ promptChars: 4000 }), "m", "liar");
		expect(cachedTokens).toBeLessThanOrEqual(promptTokens);
	});

	it("forgets the flows and models longest unused beyond its bounds", () => {
		const estimator = new Estimator({ maxFlows: 3, maxModels: 2 });
		for (let request = 0; request < 30; request++) estimator.learn("m", "kept", 400, usage(100, 10, 90));
		for (let flow = 0; flow < 100; flow++) {
			estimator.learn("m", `once-${flow}`, 400, usage(100, 10));
			estimator.learn("m", "kept", 400, usage(100, 10, 90));
		}
		expect(estimator.flowCount).toBe(3);
		expect(estimator.estimate(facts(), "m", "kept").cachedTokens).toBeGreaterThan(80);
		estimator.learn("m2", "f", 400, usage(100, 10));
		estimator.learn("m3", "f", 400, usage(100, 10));
		expect([estimator.modelCount, estimator.flowCount]).toEqual([2, 2]);
		expect(estimator.estimate(facts(), "m", "kept").completionTokens).toBe(256);
	});

	it("stays within its bounds and its numbers whatever it is told", () => {
		const key = fc.oneof(fc.constantFrom("__proto__", "constructor", "toString", ""), fc.string({ maxLength: 3 }));
		const count = fc.integer({ min: 0, max: 10_000_000 });
		fc.assert(
			fc.property(fc.array(fc.tuple(key, key, count, count, count, count), { maxLength: 60 }), (reports) => {
				const estimator = new Estimator({ maxFlows: 5, maxModels: 3 });
				for (const [model, flow, chars, prompt, completion, cached] of reports) {
					estimator.learn(model, flow, chars, usage(prompt, completion, cached));
					const estimate = estimator.estimate(facts({ promptChars: chars }), model, flow);
					for (const value of Object.values(estimate)) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
					expect(estimate.cachedTokens).toBeLessThanOrEqual(estimate.promptTokens);
					expect(estimator.flowCount).toBeLessThanOrEqual(5);
					expect(estimator.modelCount).toBeLessThanOrEqual(3);
				}
			}),
		);
	});
});

describe("StreamingQuantile", () => {
	it("settles within a quarter of the true P75 of answers that spread widely, and follows a change", () => {
		const random = uniform(7);
		const quantile = new StreamingQuantile(0.75, 256);
		// An exponential distribution: its P75 is the mean × ln 4.
		for (const mean of [300, 3000, 50]) {
			let sum = 0;
			for (let sample = 0; sample < 3000; sample++) {
				quantile.observe(-mean * Math.log(random()));
				if (sample >= 2000) sum += quantile.value;
			}
			expect(quantile.value / (mean * Math.log(4))).toBeGreaterThan(0.75);
			expect(quantile.value / (mean * Math.log(4))).toBeLessThan(1.25);
			expect(sum / 1000 / (mean * Math.log(4))).toBeCloseTo(1, 1);
		}
	});
});
