/**
 * The five workload profiles of the benchmark: how long prompts and answers are, how many stream, how many bring tools.
 *
 * Lengths follow `min + (max − min) · X` with X ~ Beta(1, (max − mean) / (mean − min)): the one-parameter shape that has exactly the
 * stated range and mean, falling like an exponential when the mean is near the minimum. Same seed, same requests.
 */
import type { Tokens } from "../core/model/units.ts";
import { Random } from "../simulate/random.ts";

export interface LengthRange {
	readonly min: Tokens;
	readonly max: Tokens;
	readonly mean: Tokens;
}

export interface WorkloadProfile {
	readonly name: string;
	readonly prompt: LengthRange;
	readonly completion: LengthRange;
	readonly streamingRatio: number;
	readonly toolCallRatio: number;
}

export interface WorkloadRequest {
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly streaming: boolean;
	readonly tools: boolean;
}

const range = (min: Tokens, max: Tokens, mean: Tokens): LengthRange => ({ min, max, mean });

export const WORKLOAD_PROFILES = {
	minimal: {
		name: "minimal",
		prompt: range(10, 50, 25),
		completion: range(10, 100, 40),
		streamingRatio: 0.5,
		toolCallRatio: 0,
	},
	realistic: {
		name: "realistic",
		prompt: range(20, 500, 150),
		completion: range(50, 2000, 300),
		streamingRatio: 0.7,
		toolCallRatio: 0.15,
	},
	heavy: {
		name: "heavy",
		prompt: range(1000, 8000, 4000),
		completion: range(500, 4000, 1500),
		streamingRatio: 0.9,
		toolCallRatio: 0.05,
	},
	code: {
		name: "code",
		prompt: range(100, 2000, 600),
		completion: range(200, 3000, 800),
		streamingRatio: 0.95,
		toolCallRatio: 0,
	},
	long_context: {
		name: "long_context",
		prompt: range(8000, 100_000, 30_000),
		completion: range(100, 1000, 400),
		streamingRatio: 0.9,
		toolCallRatio: 0,
	},
} as const satisfies Record<string, WorkloadProfile>;

export type WorkloadProfileName = keyof typeof WORKLOAD_PROFILES;

export const WORKLOAD_PROFILE_NAMES = Object.keys(WORKLOAD_PROFILES) as readonly WorkloadProfileName[];

export function findWorkloadProfile(name: string): WorkloadProfile | undefined {
	return Object.hasOwn(WORKLOAD_PROFILES, name) ? WORKLOAD_PROFILES[name as WorkloadProfileName] : undefined;
}

/** An endless stream of requests, each drawn by itself. */
export function* workload(profile: WorkloadProfile, seed: number): Generator<WorkloadRequest, never> {
	const random = new Random(seed);
	while (true) {
		yield {
			promptTokens: drawLength(profile.prompt, random),
			completionTokens: drawLength(profile.completion, random),
			streaming: random.chance(profile.streamingRatio),
			tools: random.chance(profile.toolCallRatio),
		};
	}
}

/**
 * The same for measuring: of each `STRATA` requests in a row, one has a length in each `1/STRATA` of the distribution, prompts and answers
 * each in an order of their own. A window of some hundred requests so has the mix's proportion of long to short, which drawn one by one would move
 * what it measures by several percent.
 */
export function* balancedWorkload(profile: WorkloadProfile, seed: number): Generator<WorkloadRequest, never> {
	const random = new Random(seed);
	while (true) {
		const prompts = shuffled(random);
		const completions = shuffled(random);
		for (let index = 0; index < STRATA; index++) {
			yield {
				promptTokens: lengthAt(profile.prompt, (prompts[index]! + random.next()) / STRATA),
				completionTokens: lengthAt(profile.completion, (completions[index]! + random.next()) / STRATA),
				streaming: random.chance(profile.streamingRatio),
				tools: random.chance(profile.toolCallRatio),
			};
		}
	}
}

const STRATA = 32;

function shuffled(random: Random): readonly number[] {
	const order = Array.from({ length: STRATA }, (_, index) => index);
	for (let left = STRATA - 1; left > 0; left--) {
		const other = random.integer(0, left);
		[order[left], order[other]] = [order[other]!, order[left]!];
	}
	return order;
}

export function drawLength(range: LengthRange, random: Random): Tokens {
	return lengthAt(range, random.next());
}

/** @param part of all lengths that are shorter */
function lengthAt({ min, max, mean }: LengthRange, part: number): Tokens {
	const shape = (max - mean) / (mean - min);
	return Math.round(min + (max - min) * (1 - (1 - part) ** (1 / shape)));
}
