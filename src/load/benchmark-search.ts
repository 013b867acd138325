/**
 * Which load a benchmark puts on the server next, as pure decisions over what the steps before measured.
 *
 * Ramp: the rate doubles until waits for the first token leave those of the calm server behind, limits break or the completed rate
 * stops growing. Settle: at three quarters of that rate, to tell a queue from a habit. An engine that reads prompts between blocks of
 * answers lets every request wait a little, at any load; what waits then stays as it is, and the ramp goes on. Under overload it grows.
 * Hold: a rate steered so that a backlog stays keeps the server busy, and what it completes then is its capacity. Drain: nothing is sent
 * until the backlog is gone. Verify: nine tenths of the capacity, then less and less, until a step keeps within the limits.
 *
 * Invariant: no step ends after `durationMs`. Units: milliseconds, requests per second.
 */
import type { Millis } from "../core/model/units.ts";

export const STEP_PHASES = ["ramp", "settle", "hold", "drain", "verify", "replay"] as const;
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
	/** Streams without a first token, now. */
	readonly waiting: number;
	/** By how much more of them waited, on average, in the step's second half than in its first, as a part of those sent in half the step; NaN without streams. */
	readonly waitingGrowth: number;
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
	/** Part of the requests that stream: only their waiting is seen. */
	readonly streamingRatio: number;
}

/** Decides the load of a run, step by step. */
export interface LoadPlan {
	readonly current: StepPlan;
	/** Whether the server was brought to its limit. */
	readonly saturated: boolean;
	/**
	 * Requests per second to send at this moment.
	 *
	 * @param waiting streams without a first token
	 * @param completedRate requests per second that came back since the step began; 0 as long as that says nothing
	 */
	rateNow(waiting: number, completedRate: number): number;
	/** The step after the current one; nothing when the run is over. */
	next(outcome: StepOutcome): StepPlan | undefined;
}

/** One rate from beginning to end. */
export class Replay implements LoadPlan {
	readonly current: StepPlan;
	readonly saturated = false;

	constructor(rate: number, durationMs: Millis) {
		this.current = { phase: "replay", startMs: 0, endMs: durationMs, rate };
	}

	rateNow(): number {
		return this.current.rate;
	}

	next(): undefined {
		return undefined;
	}
}

const RAMP_FACTOR = 2;
/** Part of the run that the ramp may take, and that the hold takes. */
const RAMP_PART = 0.55;
const HOLD_PART = 0.25;
const STEP_PART = 1 / 20;
/** Fewer completions than this say nothing about growth. */
const ENOUGH = 20;
/** Time to first token that no calm server needs: so many times its own, and this part of a whole answer. */
const QUEUEING_TTFT = 3;
const QUEUEING_LATENCY = 0.1;
/** Less is the jitter of timers. */
const QUEUEING_AT_LEAST_MS = 20;
/** Under a load of ρ, `1 − 1/ρ` of what is sent stays waiting. */
const QUEUEING_GROWTH = 0.12;
const SETTLE_LOAD = 0.75;
const GROWTH = 1.15;
/** Backlog to keep while holding, as a part of what the server completes in that time. */
const BACKLOG_PART = 0.05;
/** Rate over what is completed when nothing waits, by how much less per backlog, and at least. */
const PRESSURE = { empty: 1.6, perBacklog: 0.5, least: 0.85 } as const;
/** Where the backlog cannot be seen. */
const BLIND_PRESSURE = 1.1;
const VERIFY_LOAD = 0.9;
const VERIFY_STEP = 0.8;

export class KneeSearch implements LoadPlan {
	readonly #limits: SearchLimits;
	readonly #stepMs: Millis;
	#last: StepPlan;
	#previousRate = 0;
	/** P95 of the time to first token while nothing queued. */
	#calmTtftMs = Number.POSITIVE_INFINITY;
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

	/** The plan's rate, but while holding as much as keeps a backlog. */
	rateNow(waiting: number, completedRate: number): number {
		const { phase, rate } = this.#last;
		if (phase !== "hold") return rate;
		const base = Math.max(rate, completedRate);
		const { streamingRatio } = this.#limits;
		if (streamingRatio === 0) return base * BLIND_PRESSURE;
		const backlogs = waiting / streamingRatio / this.#backlog(base);
		return base * Math.max(PRESSURE.least, PRESSURE.empty - PRESSURE.perBacklog * backlogs);
	}

	/** Whether a step keeps within the limits of latency and errors. */
	holds({ ttftP95Ms, failureRate, overflowed }: StepOutcome): boolean {
		return !overflowed && failureRate <= this.#limits.failureRate && !(ttftP95Ms > this.#limits.ttftP95Ms);
	}

	next(outcome: StepOutcome): StepPlan | undefined {
		const step = this.#last;
		const completedRate = (outcome.completed / (step.endMs - step.startMs)) * 1000;
		const plan = this.#after(step, outcome, completedRate);
		if (plan === undefined || plan.endMs - plan.startMs < Math.min(this.#stepMs / 4, 250)) return undefined;
		this.#last = plan;
		return plan;
	}

	#after(step: StepPlan, outcome: StepOutcome, completedRate: number): StepPlan | undefined {
		const { durationMs, startMs, idleLatencyMs } = this.#limits;
		const at = step.endMs;
		const late = at - startMs + this.#stepMs > RAMP_PART * durationMs;
		switch (step.phase) {
			case "ramp": {
				const stalled = outcome.completed >= ENOUGH && completedRate < this.#previousRate * GROWTH;
				this.#previousRate = Math.max(this.#previousRate, completedRate);
				const suspicious = stalled || this.#waitsLong(outcome) || !this.holds(outcome);
				if (!suspicious && !late) return this.#plan("ramp", at, this.#stepMs, step.rate * RAMP_FACTOR);
				const lengthMs = Math.max(this.#stepMs, Math.min(1.5 * idleLatencyMs, durationMs / 10));
				return this.#plan("settle", at, lengthMs, step.rate * (suspicious ? SETTLE_LOAD : 1));
			}
			case "settle": {
				const grew = completedRate > this.#previousRate * GROWTH;
				this.#previousRate = Math.max(this.#previousRate, completedRate);
				const overloaded = Number.isNaN(outcome.waitingGrowth)
					? !grew && outcome.completed >= ENOUGH
					: outcome.waitingGrowth > QUEUEING_GROWTH;
				if (!overloaded && this.holds(outcome) && !late) {
					if (outcome.ttftP95Ms >= 0) this.#calmTtftMs = outcome.ttftP95Ms;
					return this.#plan("ramp", at, this.#stepMs, (step.rate / SETTLE_LOAD) * RAMP_FACTOR);
				}
				return this.#plan("hold", at, HOLD_PART * durationMs, Math.max(this.#previousRate, 1000 / durationMs));
			}
			case "hold": {
				this.#capacity = completedRate;
				this.#saturated = !this.holds(outcome) || this.#keptBusy(step, outcome, completedRate);
				if (completedRate === 0) return undefined;
				// Those in flight below the normal number are no backlog; a verify step may begin with them.
				const normal = (completedRate * idleLatencyMs) / 1000;
				const drainMs = (Math.max(0, outcome.inFlight - normal) / completedRate) * 1000;
				return this.#plan("drain", at, Math.max(drainMs, this.#stepMs / 4), 0);
			}
			case "drain":
				return this.#verify(at, this.#capacity * VERIFY_LOAD);
			case "replay":
				return undefined;
			case "verify":
				return this.holds(outcome) ? undefined : this.#verify(at, step.rate * VERIFY_STEP);
		}
	}

	#waitsLong({ ttftP95Ms }: StepOutcome): boolean {
		if (Number.isNaN(ttftP95Ms)) return false;
		this.#calmTtftMs = Math.min(this.#calmTtftMs, ttftP95Ms);
		const { idleLatencyMs } = this.#limits;
		return ttftP95Ms > QUEUEING_AT_LEAST_MS + QUEUEING_TTFT * this.#calmTtftMs + QUEUEING_LATENCY * idleLatencyMs;
	}

	/** Whether the hold was more than the server could do: a backlog is left, or, where none is seen, it did not follow the pressure. */
	#keptBusy(step: StepPlan, { waiting }: StepOutcome, completedRate: number): boolean {
		const { streamingRatio } = this.#limits;
		if (streamingRatio === 0) return completedRate < step.rate * (1 + (BLIND_PRESSURE - 1) / 2);
		return waiting > (this.#backlog(completedRate) * streamingRatio) / 2;
	}

	/** Requests, beyond those that a calm server lets wait as well. */
	#backlog(rate: number): number {
		const calmMs = Number.isFinite(this.#calmTtftMs) ? this.#calmTtftMs : 0;
		const wantedMs = BACKLOG_PART * HOLD_PART * this.#limits.durationMs;
		return Math.max(4, (rate * (wantedMs + 2 * calmMs)) / 1000);
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
