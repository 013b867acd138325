/**
 * How large the prefill window is: learnt prefill rate × `prefill_window`, or a fixed number.
 *
 * The rate is the lower envelope of time to first token over prompt length: the fastest prefill seen lately, since anything the
 * engine did beside it only makes a prompt slower. It decays slowly, so that an engine that got slower is noticed.
 *
 * A learnt window is larger while the engine has free room: a full batch waits for single places, an empty one (the onset of a flood) for
 * prompts to be read, and there a window that is short for the engine's step costs throughput (12 % of the first half minute on `h100-70b`).
 */
import type { Millis, Tokens } from "../model/units.ts";

const INITIAL_WINDOW: Tokens = 512;
/** Short prompts say more about step time than about prefill. */
const SHORTEST_PROMPT: Tokens = 64;
const DECAY = 0.999;
/** An empty engine gets so many windows more. */
const EXTRA_WHEN_EMPTY = 2;

export class PrefillWindow {
	#fixed: Tokens | undefined;
	#windowMs: Millis;
	#tokensPerMs = 0;

	constructor(setting: Tokens | "auto", windowMs: Millis) {
		this.#fixed = setting === "auto" ? undefined : setting;
		this.#windowMs = windowMs;
	}

	configure(setting: Tokens | "auto", windowMs: Millis): void {
		this.#fixed = setting === "auto" ? undefined : setting;
		this.#windowMs = windowMs;
	}

	get tokens(): Tokens {
		if (this.#fixed !== undefined) return this.#fixed;
		return this.#tokensPerMs === 0 ? INITIAL_WINDOW : this.#tokensPerMs * this.#windowMs;
	}

	/** The window of an endpoint of whose room a fraction `free` is not used. */
	tokensWith(free: number): Tokens {
		return this.#fixed ?? this.tokens * (1 + EXTRA_WHEN_EMPTY * free);
	}

	/** A prompt of `tokens` got its first token `elapsedMs` after dispatch. */
	learn(tokens: Tokens, elapsedMs: Millis): void {
		if (tokens < SHORTEST_PROMPT || elapsedMs <= 0) return;
		const rate = tokens / elapsedMs;
		this.#tokensPerMs = rate > this.#tokensPerMs ? rate : this.#tokensPerMs * DECAY;
	}

	/** Expected time to first token of a response whose first token nobody sees. */
	expectedMs(prompt: Tokens): Millis {
		return this.#tokensPerMs === 0 ? this.#windowMs : prompt / this.#tokensPerMs + this.#windowMs / 2;
	}
}
