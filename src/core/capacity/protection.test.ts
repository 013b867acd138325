import fc from "fast-check";
import { expect, test } from "vitest";
import { Protection, ProtectionTaken } from "./protection.ts";

const NONE = { modelMaxRps: [], modelMaxTps: [], modelContextLimits: [] };

test("in any window no more is admitted than burst and rate allow, over all models and for each", () => {
	const request = fc.record({
		gapMs: fc.integer({ min: 0, max: 400 }),
		model: fc.constantFrom("llama-8b", "llama-70b", "other"),
		tokens: fc.integer({ min: 1, max: 900 }),
	});
	fc.assert(
		fc.property(fc.array(request, { minLength: 20, maxLength: 200 }), (requests) => {
			const settings = { ...NONE, maxTps: 500, modelMaxRps: [{ model: "llama-*", value: 3 }] };
			const protection = new Protection(settings, 2, 0);
			const admitted: { at: number; model: string; tokens: number }[] = [];
			let now = 0;
			for (const { gapMs, model, tokens } of requests) {
				now += gapMs;
				const taken = protection.take(model, tokens, now);
				if (taken instanceof ProtectionTaken) admitted.push({ at: now, model, tokens });
				else expect(taken.waitMs).toBeGreaterThan(0);
			}
			for (const from of admitted) {
				for (const until of admitted.filter(({ at }) => at >= from.at)) {
					const within = admitted.filter(({ at }) => at >= from.at && at <= until.at);
					const seconds = (until.at - from.at) / 1000;
					const tokens = within.reduce((sum, one) => sum + Math.min(one.tokens, 1000), 0);
					expect(tokens).toBeLessThanOrEqual(1000 + 500 * seconds + 1e-6);
					const llamas = within.filter(({ model }) => model.startsWith("llama-")).length;
					expect(llamas).toBeLessThanOrEqual(6 + 3 * seconds + 1e-6);
				}
			}
		}),
		{ numRuns: 60 },
	);
});

test("a request that one limit refuses takes from none, and what it did not use comes back", () => {
	const settings = { ...NONE, maxTps: 100, modelMaxTps: [{ model: "small", value: 10 }], maxRps: 4 };
	const protection = new Protection(settings, 1, 0);
	const first = protection.take("small", 10, 0);
	expect(first).toBeInstanceOf(ProtectionTaken);
	for (let again = 0; again < 20; again++)
		expect(protection.take("small", 10, 0)).toMatchObject({ allowed: "model small allows 10 tokens per second" });
	const others = [protection.take("large", 90, 0), protection.take("large", 1, 0)];
	expect(others[0]).toBeInstanceOf(ProtectionTaken);
	expect(others[1]).toMatchObject({ allowed: "this gateway allows 100 tokens per second" });
	(others[0] as ProtectionTaken).trueUp(40, 0);
	expect(protection.take("large", 50, 0)).toBeInstanceOf(ProtectionTaken);
	expect(protection.take("large", 1, 0)).toMatchObject({ waitMs: 10 });
});

test("the first pattern that means a model says how long its context is", () => {
	const modelContextLimits = [
		{ model: "llama3:8b", value: 8192 },
		{ model: "llama*", value: 4096 },
	];
	const protection = new Protection({ ...NONE, contextLimit: 2048, modelContextLimits }, 2, 0);
	expect(["llama3:8b", "llama-70b", "qwen"].map((model) => protection.contextOf(model))).toEqual([8192, 4096, 2048]);
	expect(new Protection(NONE, 2, 0).contextOf("any")).toBe(Number.POSITIVE_INFINITY);
});
