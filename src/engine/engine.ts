/**
 * The shell around the scheduling core: sole owner of its timer, and of the listeners that decisions go to. Decisions become calls of
 * one listener per request; there is no promise per event.
 *
 * Invariant: every submitted request ends exactly once, by `ended` (it never ran) or by `finish`, `cancel` (it did or might have).
 */
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { CoreSettings } from "../core/schedule/core-settings.ts";
import type { DecisionKind, Reason, Ticket } from "../core/schedule/decision.ts";
import { type FinalUsage, SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { SubmitRequest } from "../core/schedule/submit-request.ts";
import { TicketListeners } from "./ticket-listeners.ts";

/** What happens to one request. Calls may come from within `submit`. */
export interface RequestListener {
	/** For records of what was decided. */
	readonly requestId?: string;
	readonly arrival?: Arrival | undefined;
	/** It waits in this queue, at first or from now on. */
	waits?(pool: number, queue: number): void;
	/** Send it to this endpoint now. */
	/** False: it is over, nothing will be sent. */
	dispatched(pool: number, queue: number, endpoint: number, payer: number, waitMs: Millis): boolean;
	/** It will not run; the ticket is over. */
	ended(reason: Reason, waitMs: Millis): void;
	/** Abort it upstream, then call `aborted`. */
	preempted(): void;
}

/** Where the engine's clock and timer come from; tests give virtual ones. */
export interface EngineClock {
	now(): Millis;
	/** Calls back at or after `at`, or never when cancelled. */
	wakeAt(at: Millis, call: () => void): { cancel(): void };
}

/** Told of every decision after it was carried out. For counters only. */
export type DecisionObserver = (
	kind: DecisionKind,
	queue: number,
	reason: Reason,
	waitMs: Millis,
	payer: number,
	pool: number,
	endpoint: number,
	listener: RequestListener | undefined,
) => void;

const NOTHING: FinalUsage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };

export class Engine {
	readonly core: SchedulingCore;
	readonly #clock: EngineClock;
	readonly #observe: DecisionObserver;
	readonly #listeners = new TicketListeners<RequestListener>();
	#timer: { cancel(): void } | undefined;
	#timerAt: Millis = Number.POSITIVE_INFINITY;
	#draining = false;

	constructor(settings: CoreSettings, clock: EngineClock, observe: DecisionObserver = () => {}) {
		this.core = new SchedulingCore(settings);
		this.#clock = clock;
		this.#observe = observe;
	}

	/** Requests alive. */
	get size(): number {
		return this.#listeners.size;
	}

	/** Whether a ticket is not over. */
	has(ticket: Ticket): boolean {
		return this.#listeners.get(ticket) !== undefined;
	}

	submit(request: SubmitRequest, listener: RequestListener): Ticket {
		const ticket = this.core.submit(request, this.#clock.now());
		this.#listeners.set(ticket, listener);
		this.#drain();
		return ticket;
	}

	produced(ticket: Ticket, tokens: Tokens): void {
		this.core.produced(ticket, tokens, this.#clock.now());
		this.#drain();
	}

	finish(ticket: Ticket, usage: FinalUsage): void {
		this.core.finish(ticket, usage, this.#clock.now());
		this.#listeners.delete(ticket);
		this.#drain();
	}

	/** The client left while waiting. */
	cancel(ticket: Ticket): void {
		this.core.cancel(ticket, this.#clock.now());
		this.#listeners.delete(ticket);
		this.#drain();
	}

	/** The dispatch came to nothing before the client saw anything. */
	takeBack(ticket: Ticket): void {
		this.core.takeBack(ticket, this.#clock.now());
		this.#drain();
	}

	aborted(ticket: Ticket, delivered?: FinalUsage): void {
		this.core.aborted(ticket, this.#clock.now(), delivered);
		if (delivered !== undefined) this.#listeners.delete(ticket);
		this.#drain();
	}

	/** Runs a change of the core (pause, limits, endpoints) and carries out what it causes. */
	change<T>(action: (core: SchedulingCore, now: Millis) => T): T {
		const result = action(this.core, this.#clock.now());
		this.#drain();
		return result;
	}

	close(): void {
		this.#timer?.cancel();
		this.#timer = undefined;
	}

	#drain(): void {
		// A listener may come back in (a dispatch that fails at once): the outer loop carries on with what that caused.
		if (this.#draining) return;
		this.#draining = true;
		try {
			for (let decision = this.core.next(); decision !== undefined; decision = this.core.next()) {
				const { kind, ticket, pool, queue, payer, endpoint, reason, waitMs } = decision;
				const listener = this.#listeners.get(ticket);
				if (kind === "shed" || kind === "evict") this.#listeners.delete(ticket);
				this.#observe(kind, queue, reason, waitMs, payer, pool, endpoint, listener);
				if (listener === undefined) continue;
				if (kind === "dispatch") {
					const isSent = listener.dispatched(pool, queue, endpoint, payer, waitMs);
					if (!isSent && this.has(ticket)) this.finish(ticket, NOTHING);
				} else if (kind === "shed" || kind === "evict") listener.ended(reason, waitMs);
				else if (kind === "preempt") listener.preempted();
				else listener.waits?.(pool, queue);
			}
		} finally {
			this.#draining = false;
		}
		this.#arm();
	}

	#arm(): void {
		const at = this.core.nextWakeAt();
		if (at === this.#timerAt && this.#timer !== undefined) return;
		// A timer that is early only looks again: not worth setting anew for each cancelled deadline.
		if (this.#timer !== undefined && this.#timerAt <= at) return;
		this.#timer?.cancel();
		this.#timer = undefined;
		this.#timerAt = at;
		if (at === Number.POSITIVE_INFINITY) return;
		this.#timer = this.#clock.wakeAt(at, () => {
			this.#timer = undefined;
			this.#timerAt = Number.POSITIVE_INFINITY;
			this.core.advance(this.#clock.now());
			this.#drain();
		});
	}
}
