/**
 * The demo's traffic: several tiers through three phases, as requests for the load generator. The same seed gives the same
 * requests at the same times, so that two systems can be shown the same traffic.
 *
 * Prompt and answer lengths are drawn from an excerpt of the Azure LLM inference trace (conversation, 2023; CC BY 4.0, see
 * data/). Interactive tiers stream, batch and spot do not.
 */
import { readFileSync } from "node:fs";
import type { Millis, Tokens } from "../core/model/units.ts";
import { Random } from "../simulate/random.ts";
import type { LoadRequest } from "./load-generator.ts";

export const DEMO_PHASES = ["calm", "batch flood", "internal peak"] as const;
export type DemoPhase = (typeof DEMO_PHASES)[number];

export interface DemoTier {
	readonly name: string;
	readonly headers: Readonly<Record<string, string>>;
	readonly stream: boolean;
	/** Requests per second in each phase. */
	readonly rates: readonly [number, number, number];
}

export const DEMO_TIERS: readonly DemoTier[] = [
	{
		name: "production",
		headers: { "x-tgw-source": "internal", "x-tgw-environment": "production" },
		stream: true,
		rates: [5, 5, 12],
	},
	{
		name: "staging",
		headers: { "x-tgw-source": "internal", "x-tgw-environment": "staging" },
		stream: true,
		rates: [2, 2, 2],
	},
	{ name: "premium", headers: { "x-tgw-source": "premium" }, stream: true, rates: [2, 2, 2] },
	{ name: "standard", headers: { "x-tgw-source": "external" }, stream: true, rates: [2, 3, 3] },
	{ name: "spot", headers: { "x-tgw-source": "spot" }, stream: false, rates: [1, 4, 4] },
	{
		name: "batch",
		headers: { "x-tgw-source": "internal", "x-tgw-environment": "dev", "x-tgw-workload": "batch" },
		stream: false,
		rates: [2, 60, 30],
	},
];

/** Phase at a moment of the run: the first fifth is calm, then two fifths each. */
export function demoPhase(atMs: Millis, durationMs: Millis): DemoPhase {
	const fifth = Math.floor((atMs / durationMs) * 5);
	return DEMO_PHASES[fifth < 1 ? 0 : fifth < 3 ? 1 : 2];
}

/** All requests of a run, in order of time. */
export function demoTraffic(durationMs: Millis, seed: number): LoadRequest[] {
	const lengths = traceLengths();
	const requests: LoadRequest[] = [];
	for (const [index, tier] of DEMO_TIERS.entries()) {
		const random = new Random(seed * 100 + index);
		let at = 0;
		for (;;) {
			const rate = tier.rates[DEMO_PHASES.indexOf(demoPhase(at, durationMs))]!;
			at += random.exponential(1000 / rate);
			if (at >= durationMs) break;
			const [prompt, output] = lengths[Math.floor(random.next() * lengths.length)]!;
			requests.push({
				atMs: at,
				tier: tier.name,
				path: "/v1/chat/completions",
				headers: { ...tier.headers, "x-mock-output-tokens": String(output) },
				body: requestBody(prompt, output, tier.stream),
			});
		}
	}
	return requests.sort((a, b) => a.atMs - b.atMs);
}

function requestBody(prompt: Tokens, output: Tokens, stream: boolean): string {
	// Four characters to a token, as the mock LLM counts.
	const content = "word ".repeat(Math.ceil((prompt * 4) / 5)).slice(0, Math.max(1, prompt * 4 - 4));
	return JSON.stringify({
		model: "mock",
		max_tokens: output * 2,
		stream,
		messages: [{ role: "user", content }],
	});
}

/** Pairs of prompt and answer tokens; the longest are cut so that a short demo shows many requests. */
function traceLengths(): readonly (readonly [Tokens, Tokens])[] {
	const text = readFileSync(new URL("./data/azure2023-conv-excerpt.csv", import.meta.url), "utf8");
	return text
		.trim()
		.split("\n")
		.slice(1)
		.map((line) => {
			const [, prompt, output] = line.split(",");
			return [Math.min(2048, Number(prompt)), Math.max(1, Math.min(400, Number(output)))] as const;
		});
}
