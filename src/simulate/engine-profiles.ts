/**
 * The four frozen engine profiles: how fast a GPU with a model steps, and how much fits on it.
 *
 * Source: `a10g-7b-vtc` was fitted to the published FCFS runs of VTC (Sheng et al., OSDI 2024) on an A10G; `a10g-7b` has the same
 * costs under chunked prefill; the other two are typical of their hardware. Frozen: every published figure of this project
 * depends on them, so a change needs a decision record. Units: milliseconds and tokens.
 */
import type { Millis, Tokens } from "../core/model/units.ts";

/**
 * Which requests the engine lets into its batch.
 * - `current_use`: prompt and output so far fit now (vLLM); later overflow preempts the youngest sequence, which is recomputed.
 * - `reserved_total`: prompt and whole output fit, so that nothing is ever preempted.
 * - `peak_future`: the batch's highest future use stays below the pool (LightLLM, S-LoRA, hence VTC); prefill is a step of its own.
 */
export type AdmissionRule = "current_use" | "reserved_total" | "peak_future";

export interface EngineProfile {
	readonly name: string;
	/** Sequences running at most. */
	readonly slots: number;
	/** Size of the key-value pool. */
	readonly kvTokens: Tokens;
	readonly admission: AdmissionRule;
	/** Prompt tokens prefilled in one step at most (with `peak_future`: in one admission). */
	readonly chunkTokens: Tokens;
	/** Decode steps between two admissions; only `peak_future` looks at it. */
	readonly stepsPerAdmission: number;
	/** Fixed time of a step. */
	readonly stepBaseMs: Millis;
	/** Time per decoding sequence in a step. */
	readonly stepMsPerSequence: Millis;
	/** Time per token of context that decoding attends to in a step. */
	readonly stepMsPerContextToken: Millis;
	/** Time per prefilled token. */
	readonly prefillMsPerToken: Millis;
	/** Fixed time of a prefill that blocks decoding; only `peak_future` has one. */
	readonly prefillBaseMs: Millis;
}

const A10G_COSTS = {
	kvTokens: 10_000,
	stepBaseMs: 20.7,
	stepMsPerSequence: 0.342,
	stepMsPerContextToken: 1.93e-3,
	prefillMsPerToken: 65.3e-3,
} as const;

export const ENGINE_PROFILES = {
	"a10g-7b": {
		name: "a10g-7b",
		...A10G_COSTS,
		slots: 64,
		admission: "current_use",
		chunkTokens: 512,
		stepsPerAdmission: 1,
		prefillBaseMs: 0,
	},
	"a100-8b": {
		name: "a100-8b",
		slots: 128,
		kvTokens: 200_000,
		admission: "current_use",
		chunkTokens: 2048,
		stepsPerAdmission: 1,
		stepBaseMs: 12,
		stepMsPerSequence: 0.1,
		stepMsPerContextToken: 0.05e-3,
		prefillMsPerToken: 30e-3,
		prefillBaseMs: 0,
	},
	"h100-70b": {
		name: "h100-70b",
		slots: 256,
		kvTokens: 400_000,
		admission: "current_use",
		chunkTokens: 2048,
		stepsPerAdmission: 1,
		stepBaseMs: 25,
		stepMsPerSequence: 0.08,
		stepMsPerContextToken: 0.03e-3,
		prefillMsPerToken: 60e-3,
		prefillBaseMs: 0,
	},
	"a10g-7b-vtc": {
		name: "a10g-7b-vtc",
		...A10G_COSTS,
		/** The published server set no limit below what the pool allows. */
		slots: 1000,
		admission: "peak_future",
		chunkTokens: 1666,
		stepsPerAdmission: 10,
		prefillBaseMs: 41.2,
	},
} as const satisfies Record<string, EngineProfile>;

export type EngineProfileName = keyof typeof ENGINE_PROFILES;

export const ENGINE_PROFILE_NAMES = Object.keys(ENGINE_PROFILES) as readonly EngineProfileName[];

/** The profile of that name, or undefined. */
export function findEngineProfile(name: string): EngineProfile | undefined {
	return Object.hasOwn(ENGINE_PROFILES, name) ? ENGINE_PROFILES[name as EngineProfileName] : undefined;
}
