import { describe, expect, it } from "vitest";
import {
	balancedWorkload,
	findWorkloadProfile,
	WORKLOAD_PROFILE_NAMES,
	WORKLOAD_PROFILES,
	workload,
} from "./workload-profiles.ts";

const COUNT = 50_000;

describe.each(WORKLOAD_PROFILE_NAMES)("workload %s", (name) => {
	const profile = WORKLOAD_PROFILES[name];
	const generator = workload(profile, 11);
	const requests = Array.from({ length: COUNT }, () => generator.next().value);
	const mean = (pick: (request: (typeof requests)[number]) => number) =>
		requests.reduce((sum, request) => sum + pick(request), 0) / COUNT;

	it("keeps range and mean of its lengths", () => {
		for (const [key, range] of [
			["promptTokens", profile.prompt],
			["completionTokens", profile.completion],
		] as const) {
			const values = requests.map((request) => request[key]);
			expect(Math.min(...values)).toBeGreaterThanOrEqual(range.min);
			expect(Math.max(...values)).toBeLessThanOrEqual(range.max);
			expect(Math.abs(mean((request) => request[key]) / range.mean - 1)).toBeLessThan(0.02);
			expect(new Set(values).size).toBeGreaterThan((range.max - range.min) / 20);
		}
	});

	it("balanced: keeps its means over a few hundred requests, wherever they begin", () => {
		const balanced = balancedWorkload(profile, 3);
		const worst = { prompt: 0, completion: 0 };
		for (let skip = 0; skip < 20; skip++) {
			for (let n = 0; n < 7; n++) balanced.next();
			const window = Array.from({ length: 256 }, () => balanced.next().value);
			const off = (sum: number, mean: number) => Math.abs(sum / window.length / mean - 1);
			const sumOf = (pick: (request: (typeof window)[number]) => number) =>
				window.reduce((sum, one) => sum + pick(one), 0);
			worst.prompt = Math.max(
				worst.prompt,
				off(
					sumOf((one) => one.promptTokens),
					profile.prompt.mean,
				),
			);
			worst.completion = Math.max(
				worst.completion,
				off(
					sumOf((one) => one.completionTokens),
					profile.completion.mean,
				),
			);
			for (const { promptTokens, completionTokens } of window) {
				expect(promptTokens).toBeGreaterThanOrEqual(profile.prompt.min);
				expect(completionTokens).toBeLessThanOrEqual(profile.completion.max);
			}
		}
		expect(worst.prompt).toBeLessThan(0.03);
		expect(worst.completion).toBeLessThan(0.03);
	});

	it("keeps its shares of streaming and tools", () => {
		expect(mean((request) => Number(request.streaming))).toBeCloseTo(profile.streamingRatio, 1);
		expect(mean((request) => Number(request.tools))).toBeCloseTo(profile.toolCallRatio, 1);
		if (profile.toolCallRatio === 0) expect(requests.some((request) => request.tools)).toBe(false);
	});

	it("repeats itself for a seed", () => {
		const again = workload(profile, 11);
		expect(Array.from({ length: 50 }, () => again.next().value)).toEqual(requests.slice(0, 50));
		expect(workload(profile, 12).next().value).not.toEqual(requests[0]);
	});
});

describe("findWorkloadProfile", () => {
	it("knows only the profiles", () => {
		expect(findWorkloadProfile("code")?.streamingRatio).toBe(0.95);
		expect(findWorkloadProfile("constructor")).toBeUndefined();
	});
});
