/**
 * Space of one endpoint (one replica of a pool): what is in flight, and what still fits.
 *
 * Sequences and tokens are space: never exceeded at dispatch. `headroom*` of it is closed to ordinary requests and open to
 * privileged ones (queues in `headroom_for`). The prefill window limits prompt tokens of ordinary requests that still wait for
 * their first token: an engine prefills first come, first served, so they stand in front of a privileged prompt.
 */
import type { Tokens } from "../model/units.ts";

export class Endpoint {
	up = true;
	sequencesMax = 0;
	tokensMax: Tokens = 0;
	headroomSequences = 0;
	headroomTokens: Tokens = 0;

	sequences = 0;
	tokens: Tokens = 0;
	/** Of both, what privileged requests took ahead of their turn. */
	aheadSequences = 0;
	aheadTokens: Tokens = 0;
	/** Prompt tokens of ordinary requests without a first token. */
	prefillTokens: Tokens = 0;
	/** Space of preempted requests whose abort is not confirmed. */
	freeingSequences = 0;
	freeingTokens: Tokens = 0;
	/** First row of the list of running requests, -1 when none. */
	runningHead = -1;

	configure(sequencesMax: number, tokensMax: Tokens, headroom: number): void {
		this.sequencesMax = sequencesMax;
		this.tokensMax = tokensMax;
		this.headroomSequences = headroomOf(sequencesMax, headroom);
		this.headroomTokens = Number.isFinite(tokensMax) ? Math.ceil(tokensMax * headroom) : 0;
	}

	/** Room for a privileged request in its turn. */
	fitsPrivileged(sequences: number, tokens: Tokens): boolean {
		return this.sequences + sequences <= this.sequencesMax && this.tokens + tokens <= this.tokensMax;
	}

	/** Room for an ordinary request, the prefill window aside; alone on its endpoint it may use everything. */
	fitsOrdinary(sequences: number, tokens: Tokens): boolean {
		if (this.sequences === 0) return sequences <= this.sequencesMax && tokens <= this.tokensMax;
		return (
			this.sequences - this.aheadSequences + sequences <= this.sequencesMax - this.headroomSequences &&
			this.tokens - this.aheadTokens + tokens <= this.tokensMax - this.headroomTokens &&
			this.fitsPrivileged(sequences, tokens)
		);
	}

	/** Room for a privileged request ahead of its turn: no more than the headroom in all. */
	fitsAhead(sequences: number, tokens: Tokens): boolean {
		return (
			this.aheadSequences + sequences <= this.headroomSequences &&
			(!Number.isFinite(this.tokensMax) || this.aheadTokens + tokens <= this.headroomTokens) &&
			this.fitsPrivileged(sequences, tokens)
		);
	}

	/** Whether the prefill window lets `prompt` tokens more on their way; alone in it any prompt may go. */
	windowOpen(prompt: Tokens, window: Tokens): boolean {
		return this.prefillTokens === 0 || this.prefillTokens + prompt <= window;
	}
}

/** Slots of headroom: the fraction rounded up, where there are 8 slots or more. */
function headroomOf(slots: number, fraction: number): number {
	if (!Number.isFinite(slots)) return 0;
	return slots >= 8 ? Math.ceil(slots * fraction) : Math.floor(slots * fraction);
}
