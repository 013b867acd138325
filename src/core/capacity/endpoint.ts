/**
 * Space of one endpoint (one replica of a pool): what is in flight, and what still fits.
 *
 * Sequences and tokens are space: never exceeded at dispatch. `headroom*` of it is closed to ordinary requests and open to
 * privileged ones (queues in `headroom_for`). The prefill window limits prompt tokens of ordinary requests that still wait for
 * their first token: an engine prefills first come, first served, so they stand in front of a privileged prompt.
 *
 * Requests that may preempt fit where the tokens *held* leave room, though others were promised more: what those will need is taken
 * back when they need it.
 */
import type { Millis, Tokens } from "../model/units.ts";
import type { PrefillWindow } from "./prefill-window.ts";

/** What each running sequence may produce while another one is read. */
const GROWTH_TOKENS: Tokens = 8;

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
	/** Of `tokens`, what is held already: read and produced, or all that was charged where nobody sees the progress. */
	heldTokens: Tokens = 0;
	/** What preempted requests hold whose abort is not confirmed. */
	freeingSequences = 0;
	freeingTokens: Tokens = 0;
	/** Rows of the requests that run here, in no order, and since when each does. */
	readonly rows: number[] = [];
	readonly #since: Millis[] = [];
	/** The same replica as the other half of its pool has it: both together stay within the room of both. */
	beside: Endpoint | undefined;

	configure(sequencesMax: number, tokensMax: Tokens, headroom: number): void {
		this.sequencesMax = sequencesMax;
		this.tokensMax = tokensMax;
		this.headroomSequences = headroomOf(sequencesMax, headroom);
		this.headroomTokens = Number.isFinite(tokensMax) ? Math.ceil(tokensMax * headroom) : 0;
	}

	/** A request starts here; returns its place in `rows`. */
	started(row: number, now: Millis): number {
		this.#since.push(now);
		return this.rows.push(row) - 1;
	}

	/** The request at `place` no longer runs here; returns the row that has its place now, -1 when none. */
	ended(place: number): number {
		const row = this.rows.pop()!;
		const since = this.#since.pop()!;
		if (place === this.rows.length) return -1;
		this.rows[place] = row;
		this.#since[place] = since;
		return row;
	}

	/** When the request at `place` started. */
	sinceAt(place: number): Millis {
		return this.#since[place]!;
	}

	/** Room for a privileged request in its turn. */
	fitsPrivileged(sequences: number, tokens: Tokens): boolean {
		const fits = this.sequences + sequences <= this.sequencesMax && this.tokens + tokens <= this.tokensMax;
		if (this.beside === undefined) return fits;
		return (fits || this.sequences === 0) && this.#fitsWhole(this.beside, sequences, tokens);
	}

	/**
	 * While shares change, a half may still have in flight what is the other's by now; and what is larger than both halves runs alone in
	 * its own, with room of the other.
	 */
	#fitsWhole(beside: Endpoint, sequences: number, tokens: Tokens): boolean {
		return (
			this.sequences + beside.sequences + sequences <= this.sequencesMax + beside.sequencesMax &&
			this.tokens + beside.tokens + tokens <= this.tokensMax + beside.tokensMax
		);
	}

	/** Slots for a request that may preempt; its tokens are looked at by `lackingTokens`. */
	fitsHeld(sequences: number, privileged: boolean): boolean {
		if (this.beside !== undefined) return false;
		const closed = privileged ? 0 : this.headroomSequences - this.aheadSequences;
		return this.sequences + sequences <= this.sequencesMax - Math.max(0, closed);
	}

	/** Tokens missing for a request that may preempt, which needs room only for what is held: negative when it fits. */
	lackingTokens(tokens: Tokens): Tokens {
		// Two halves of a pool borrow from each other by charges.
		const used = this.beside === undefined ? this.heldTokens + this.sequences * GROWTH_TOKENS : this.tokens;
		return used + tokens - this.tokensMax;
	}

	/** Tokens missing because what is held has outgrown the endpoint; negative while it has not. */
	get overdrawnTokens(): Tokens {
		return this.tokens <= this.tokensMax ? -1 : this.heldTokens + this.sequences - this.freeingTokens - this.tokensMax;
	}

	/** Room for an ordinary request, the prefill window aside; alone on its endpoint it may use everything. */
	fitsOrdinary(sequences: number, tokens: Tokens): boolean {
		if (this.sequences === 0) return this.fitsPrivileged(sequences, tokens);
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
	windowOpen(prompt: Tokens, window: PrefillWindow): boolean {
		return this.prefillTokens === 0 || this.prefillTokens + prompt <= window.tokensWith(this.#freeRoom);
	}

	/** Fraction of its room that is not used, in the dimension that is fuller; 0 where no bound is known. */
	get #freeRoom(): number {
		const { sequences, sequencesMax, tokens, tokensMax } = this;
		if (sequencesMax === Number.POSITIVE_INFINITY && tokensMax === Number.POSITIVE_INFINITY) return 0;
		return Math.max(0, 1 - Math.max(sequences / Math.max(1, sequencesMax), tokens / Math.max(1, tokensMax)));
	}
}

/** Slots of headroom: the fraction rounded up, where there are 8 slots or more. */
function headroomOf(slots: number, fraction: number): number {
	if (!Number.isFinite(slots)) return 0;
	return slots >= 8 ? Math.ceil(slots * fraction) : Math.floor(slots * fraction);
}
