/**
 * What was decided lately, and how requests ended: a ring of events, oldest overwritten, and a way to wait for the next one. For people who ask
 * why; nothing is decided by it.
 *
 * An event holds on to nothing of its request but names, so that the collector meets it once and small: a ring of requests themselves
 * cost a fifth of the gateway's time. Memory is bounded by the number of events kept, a few hundred bytes each. Sequence
 * numbers rise by one and start at 1 with the process.
 */
import type { EpochMillis, Millis, Tokens } from "../core/model/units.ts";
import type { DecisionKind, Reason } from "../core/schedule/decision.ts";

export interface DecisionEvent {
	readonly sequence: number;
	readonly at: EpochMillis;
	readonly requestId: string;
	/** A decision of the scheduler, or the end of the request. */
	readonly event: DecisionKind | "end";
	/** Absent when the request ended before it was given a queue. */
	readonly pool?: string;
	/** `P1`, `B3`. */
	readonly queue?: string;
	/** Queue whose capacity pays, when it is another one. */
	readonly payer?: string;
	/** Of a dispatch: which replica of the pool. */
	readonly endpoint?: number;
	/** Why it waits, was refused, was taken back. */
	readonly reason?: Reason;
	/** Requests in its queue when it began to wait, itself included. */
	readonly position?: number;
	/** All its waits together, until this event. */
	readonly waitMs: Millis;
	readonly accountId?: string;
	readonly tier?: string;
	readonly environment?: string;
	readonly model?: string;
	/** Of an end, as are all below. */
	readonly outcome?: string;
	readonly code?: string;
	readonly durationMs?: Millis;
	readonly ttftMs?: Millis;
	readonly promptTokens?: Tokens;
	readonly completionTokens?: Tokens;
	/** The rule that routed it, and how its queue was found. */
	readonly rule?: string;
	readonly via?: string;
	/** Time windows that changed something for it. */
	readonly windows?: readonly string[];
	readonly estimatedTokens?: Tokens;
	readonly tokenId?: string;
	readonly routedBy?: string;
	readonly weight?: number;
	readonly stream?: boolean;
}

/** What is not known may be `undefined`: one shape for all costs less than leaving fields out. */
export type NewEvent = {
	readonly [K in Exclude<keyof DecisionEvent, "sequence">]?: DecisionEvent[K] | undefined;
} & Pick<DecisionEvent, "at" | "requestId" | "event" | "waitMs">;

/** Without the fields that are `undefined`. */
function present(event: NewEvent): Omit<DecisionEvent, "sequence"> {
	return Object.fromEntries(Object.entries(event).filter(([, value]) => value !== undefined)) as typeof event &
		Omit<DecisionEvent, "sequence">;
}

export class RecentDecisions {
	readonly #ring: (NewEvent | undefined)[];
	#next = 1;
	readonly #waiters = new Set<() => void>();

	constructor(limit: number) {
		this.#ring = new Array<NewEvent | undefined>(limit).fill(undefined);
	}

	/** Sequence of the newest event, 0 when there was none. */
	get latest(): number {
		return this.#next - 1;
	}

	add(event: NewEvent): void {
		this.#ring[this.#next++ % this.#ring.length] = event;
		this.#wake();
	}

	/** Those with a higher sequence that are still kept, oldest first. */
	*after(sequence: number): Generator<DecisionEvent> {
		const oldest = Math.max(sequence + 1, this.#next - this.#ring.length, 1);
		for (let at = oldest; at < this.#next; at++)
			yield { sequence: at, ...present(this.#ring[at % this.#ring.length]!) };
	}

	/** Of one request, oldest first. */
	of(requestId: string): readonly DecisionEvent[] {
		return [...this.after(0)].filter((event) => event.requestId === requestId);
	}

	/** Resolves at the next event, when `giveUp` is called back, or at the end of the process. */
	next(giveUp: (call: () => void) => void): Promise<void> {
		return new Promise((resolve) => {
			const wake = () => {
				this.#waiters.delete(wake);
				resolve();
			};
			this.#waiters.add(wake);
			giveUp(wake);
		});
	}

	/** Lets go of whoever waits. */
	close(): void {
		this.#wake();
	}

	#wake(): void {
		if (this.#waiters.size === 0) return;
		for (const wake of [...this.#waiters]) wake();
	}
}
