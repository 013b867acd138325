/**
 * Which load a benchmark puts on the server next, as pure decisions over what the steps before measured.
 *
 * Ramp: the rate doubles until requests queue (time to first token leaves that of the idle server behind), limits break or the completed
 * rate stops growing. Settle: between the last two rates, until the completed rate shows what the server can do. Hold: a rate just above
 * that keeps every slot busy, and what the server completes then is its capacity. Drain: nothing is sent until the
 * backlog is gone. Verify: nine tenths of the capacity, then less and less, until a step keeps within the limits.
 *
 * Invariant: no step ends after `durationMs`. Units: milliseconds, requests per second.
 */
import type { Millis } from "../core/model/units.ts";

export const STEP_PHASES = ["ramp", "settle", "hold", "drain", "verify"] as const;
export type StepPhase = (typeof STEP_PHASES)[number];

export interface StepPlan {
	readonly phase: StepPhase;
	readonly startMs: Millis;
	readonly endMs: Millis;
	/** Requests per second; 0 while draining. */
	readonly rate: number;
}

/** What is known at the moment a step ends. */
export interface StepOutcome {
	/** Came back during the step, whenever they were sent. */
	readonly completed: number;
	readonly inFlight: number;
	/** P95 of those due in the step that have begun to answer or wait still; NaN when nothing says. */
	readonly ttftP95Ms: Millis;
	/** Errors and refusals among those that came back in the step. */
	readonly failureRate: number;
	/** Some could not be sent because too many were in flight. */
	readonly overflowed: boolean;
}

export interface SearchLimits {
	readonly durationMs: Millis;
	readonly ttftP95Ms: Millis;
	readonly failureRate: number;
	/** Latency of a request on the idle server. */
	readonly idleLatencyMs: Millis;
	readonly startMs: Millis;
}

const RAMP_FACTOR = 2;
/** Part of the run that the ramp may take, and that the hold takes. */
const RAMP_PART = 0.55;
const HOLD_PART = 0.25;
const STEP_PART = 1 / 20;
/** Fewer completions than this say nothing about growth. */
const ENOUGH = 20;
/** Time to first token that no idle server needs: so many times its own, and this part of a whole answer. */
const QUEUEING_TTFT = 3;
const QUEUEING_LATENCY = 0.1;
/** Less is the jitter of timers. */
const QUEUEING_AT_LEAST_MS = 20;
const SETTLE_LOAD = 0.75;
const GROWTH = 1.15;
/** Over what is completed, so that a backlog stays until the end of the hold. */
const HOLD_OVERLOAD = 1.05;
const VERIFY_LOAD = 0.9;
const VERIFY_STEP = 0.8;

export class KneeSearch {
	readonly #limits: SearchLimits;
	readonly #stepMs: Millis;
	#last: StepPlan;
	#previousRate = 0;
	#idleTtftMs = Number.POSITIVE_INFINITY;
	/** Requests per second completed while holding. */
	#capacity = 0;
	#saturated = false;

	constructor(limits: SearchLimits) {
		this.#limits = limits;
		const { durationMs, idleLatencyMs, startMs } = limits;
		// Shorter than an answer may be: waiting for a first token shows long before answers come back.
		this.#stepMs = durationMs * STEP_PART;
		this.#last = this.#plan("ramp", startMs, this.#stepMs, Math.max(2000 / idleLatencyMs, 1000 / this.#stepMs));
	}

	get current(): StepPlan {
		return this.#last;
	}

	/** Sustained requests per second, 0 before the hold has ended. */
	get capacity(): number {
		return this.#capacity;
	}

	/** False when the run was too short to bring the server to its limit: what was measured then is only what it was asked for. */
	get saturated(): boolean {
		return this.#saturated;
	}

	/** Whether a step keeps within the limits of latency and errors. */
	holds({ ttftP95Ms, failureRate, overflowed }: StepOutcome): boolean {
		return !overflowed && failureRate <= this.#limits.failureRate && !(ttftP95Ms > this.#limits.ttftP95Ms);
	}

	/** The step after the current one; nothing when the search is over. */
	next(outcome: StepOutcome): StepPlan | undefined {
		const step = this.#last;
		const completedRate = (outcome.completed / (step.endMs - step.startMs)) * 1000;
		const plan = this.#after(step, outcome, completedRate);
		if (plan === undefined || plan.endMs - plan.startMs < Math.min(this.#stepMs / 4, 250)) return undefined;
		this.#last = plan;
		return plan;
	}

	#after(step: StepPlan, outcome: StepOutcome, completedRate: number): StepPlan | undefined {
		const { durationMs, startMs } = this.#limits;
		const at = step.endMs;
		switch (step.phase) {
			case "ramp": {
				const stalled = outcome.completed >= ENOUGH && completedRate < this.#previousRate * GROWTH;
				const queueing = this.#queues(outcome.ttftP95Ms);
				const late = at - startMs + this.#stepMs > RAMP_PART * durationMs;
				this.#previousRate = Math.max(this.#previousRate, completedRate);
				if (this.holds(outcome) && !stalled && !queueing && !late)
					return this.#plan("ramp", at, this.#stepMs, step.rate * RAMP_FACTOR);
				const lengthMs = Math.max(this.#stepMs, Math.min(1.5 * this.#limits.idleLatencyMs, durationMs / 10));
				const tooFast = stalled || queueing || !this.holds(outcome);
				return this.#plan("settle", at, lengthMs, step.rate * (tooFast ? SETTLE_LOAD : 1));
			}
			case "settle": {
				const rate = Math.max(completedRate, this.#previousRate, 1000 / durationMs) * HOLD_OVERLOAD;
				// A second look: the last step of the ramp may have ended before its requests had to wait.
				const keepsUp = this.holds(outcome) && !this.#queues(outcome.ttftP95Ms);
				return this.#plan("hold", at, HOLD_PART * durationMs, keepsUp ? Math.max(rate, step.rate) : rate);
			}
			case "hold": {
				this.#capacity = completedRate;
				this.#saturated = this.#queues(outcome.ttftP95Ms) || !this.holds(outcome);
				if (completedRate === 0) return undefined;
				// Those in flight below the normal number are no backlog; a verify step may begin with them.
				const normal = (completedRate * this.#limits.idleLatencyMs) / 1000;
				const drainMs = (Math.max(0, outcome.inFlight - normal) / completedRate) * 1000;
				return this.#plan("drain", at, Math.max(drainMs, this.#stepMs / 4), 0);
			}
			case "drain":
				return this.#verify(at, this.#capacity * VERIFY_LOAD);
			case "verify":
				return this.holds(outcome) ? undefined : this.#verify(at, step.rate * VERIFY_STEP);
		}
	}

	#queues(ttftP95Ms: Millis): boolean {
		if (Number.isNaN(ttftP95Ms)) return false;
		this.#idleTtftMs = Math.min(this.#idleTtftMs, ttftP95Ms);
		const { idleLatencyMs } = this.#limits;
		return ttftP95Ms > QUEUEING_AT_LEAST_MS + QUEUEING_TTFT * this.#idleTtftMs + QUEUEING_LATENCY * idleLatencyMs;
	}

	/** All the time that is left when there is little, else half of it, so that a second try is possible. */
	#verify(at: Millis, rate: number): StepPlan {
		const left = this.#limits.durationMs - at;
		return this.#plan("verify", at, left > 6 * this.#stepMs ? left / 2 : left, rate);
	}

	#plan(phase: StepPhase, startMs: Millis, lengthMs: Millis, rate: number): StepPlan {
		return { phase, startMs, endMs: Math.min(startMs + lengthMs, this.#limits.durationMs), rate };
	}
}
