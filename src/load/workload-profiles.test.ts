import { describe, expect, it } from "vitest";
import { findWorkloadProfile, WORKLOAD_PROFILE_NAMES, WORKLOAD_PROFILES, workload } from "./workload-profiles.ts";

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
