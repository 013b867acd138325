/**
 * The real core on the engine model in virtual time: one loop over arrivals, engine steps and the core's own wake-ups. Nothing
 * here decides anything; it carries decisions to engines and engine events to the core, as the gateway does over HTTP.
 * With a network delay it carries them late, as HTTP does: a request then misses the step that begins when another one ends.
 *
 * Units: milliseconds, tokens. Same input, same result.
 */
import type { Millis, Tokens } from "../core/model/units.ts";
import type { CoreSettings } from "../core/schedule/core-settings.ts";
import type { Decision, Reason, Ticket } from "../core/schedule/decision.ts";
import type { FlowPath } from "../core/schedule/flow-path.ts";
import { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { type SubmitRequest, submitRequest } from "../core/schedule/submit-request.ts";
import { DelayLine } from "./delay-line.ts";
import { type EngineEventKind, EngineModel } from "./engine-model.ts";
import type { EngineProfile } from "./engine-profiles.ts";

/** One request of a simulation and what became of it. */
export interface SimulatedRequest {
	readonly arrivalMs: Millis;
	readonly queue: number;
	readonly flow: FlowPath;
	readonly promptTokens: Tokens;
	readonly outputTokens: Tokens;
	/** What the gateway expects of the output; the true length when costs are known. */
	readonly expectedOutputTokens: Tokens;
	readonly weight?: number;
	readonly timeoutMs?: Millis;
	readonly pools?: readonly number[];
	readonly mayUpgrade?: boolean;
	/** False for a response that is not streamed. Default true. */
	readonly observed?: boolean;
	/** The client sees nothing before the end. Default false. */
	readonly buffered?: boolean;
	/** Index of the rule whose depth counts it. Default none. */
	readonly rule?: number;
	/** As the core takes it; the fields above say the same. Default: made of them. */
	readonly submit?: SubmitRequest;
	/** Goes straight to the engine, past the core: for oracles. */
	readonly bypass?: boolean;
	dispatchedMs?: Millis;
	firstTokenMs?: Millis;
	finishedMs?: Millis;
	/** When it was given up, if it did not finish. */
	endedMs?: Millis;
	/** Why it did not run. */
	refused?: Reason;
	preempted?: number;
	payer?: number;
	/** It started on capacity that is not its queue's own: another bucket's, or beyond what its queue has reserved of the pool. */
	borrowed?: boolean;
	/** Pool and queue that it ran from or ended in, of the core; a core with halves may choose the other half. */
	pool?: number;
	ranFrom?: number;
}

/** What requests pass before the core, and may be held by. */
export interface BeforeCore {
	/** When somebody is to be let go or given up; `Infinity` when nobody is held. */
	nextAt(): Millis;
	/** Those whom nothing holds any longer; the others that are due are given up and told of elsewhere. */
	due(now: Millis): Iterable<SimulatedRequest>;
	/** Something changes then, although nothing waits for it: `look` is called, before anything else at that instant. */
	nextBoundary(): Millis;
	look(now: Millis, core: SchedulingCore): void;
}

/** @typeParam P what arrives, if `admit` makes the request of it */
export interface SimulationOptions<P extends { readonly arrivalMs: Millis } = SimulatedRequest> {
	readonly core: CoreSettings;
	/** One engine profile per endpoint of each pool, in the order of the pools of the settings. */
	readonly engines: readonly (readonly EngineProfile[])[];
	/** In the order of arrival. */
	readonly requests: Iterable<P>;
	/** Called when one arrives; nothing when it is refused before the core. Default: it is the request itself. */
	readonly admit?: (arriving: P, now: Millis) => SimulatedRequest | undefined;
	/** Stops here even if work is left. Default: when all is done. */
	readonly untilMs?: Millis;
	readonly before?: BeforeCore;
	/** Called as each request ends (finished or refused). */
	readonly onEnd?: (request: SimulatedRequest) => void;
	/** Called with the first token of each run of a request. */
	readonly onFirstToken?: (request: SimulatedRequest) => void;
	/** Called before anything happens at each new instant. */
	readonly onInstant?: (now: Millis, core: SchedulingCore) => void;
	/** Called every so often while there is work, as the gateway's control timer is. */
	readonly control?: {
		readonly everyMs: Millis;
		readonly call: (now: Millis, core: SchedulingCore, engines: readonly (readonly EngineModel[])[]) => void;
	};
	/** The core hears of every token, not of the first alone; slower. Default: with preemption, which looks at what is produced. */
	readonly everyToken?: boolean;
	/** Makes the core; for cores with a planted fault. */
	readonly makeCore?: (settings: CoreSettings) => SchedulingCore;
	/** Time from a preemption to its confirmation by the engine, beyond the step under way. */
	readonly cancelLagMs?: Millis;
	/** Default: none, so that a request joins the very step in which another one left. */
	readonly network?: NetworkDelay;
}

/** Between a decision and its engine, and between the end of an engine's step and the core's hearing of it. */
export interface NetworkDelay {
	readonly requestMs: Millis;
	readonly responseMs: Millis;
}

export interface SimulationResult {
	readonly endMs: Millis;
	readonly core: SchedulingCore;
	readonly engines: readonly (readonly EngineModel[])[];
	readonly preemptions: number;
}

interface Running {
	readonly request: SimulatedRequest;
	/** -1 for one that went past the core. */
	readonly ticket: Ticket;
	readonly engine: EngineModel;
	produced: Tokens;
}

const NO_DELAY: NetworkDelay = { requestMs: 0, responseMs: 0 };

export function simulate<P extends { readonly arrivalMs: Millis } = SimulatedRequest>(
	options: SimulationOptions<P>,
): SimulationResult {
	return new Simulation(options).run();
}

class Simulation<P extends { readonly arrivalMs: Millis }> {
	readonly #options: SimulationOptions<P>;
	readonly #core: SchedulingCore;
	readonly #engines: readonly (readonly EngineModel[])[];
	readonly #flat: readonly EngineModel[];
	readonly #arrivals: Iterator<P>;
	readonly #network: NetworkDelay;
	/** In the core and not yet over. */
	readonly #byTicket = new Map<Ticket, SimulatedRequest>();
	/** By the number of the run, which the engine knows; a request that was taken back runs again under another one. */
	readonly #running = new Map<number, Running>();
	readonly #runOf = new Map<Ticket, number>();
	/** Runs on their way to their engine. */
	readonly #sent = new DelayLine<"submit" | "cancel">();
	/** Events on their way back. */
	readonly #heard = new DelayLine<EngineEventKind>();
	readonly #aborts: { at: Millis; ticket: Ticket }[] = [];
	readonly #usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0 };
	#runs = 0;
	#now: Millis = 0;
	#preemptions = 0;

	constructor(options: SimulationOptions<P>) {
		this.#options = options;
		this.#core = options.makeCore?.(options.core) ?? new SchedulingCore(options.core);
		this.#engines = options.engines.map((pool) =>
			pool.map(
				(profile) =>
					new EngineModel(profile, { emitTokens: options.everyToken ?? options.core.preemption !== undefined }),
			),
		);
		this.#flat = this.#engines.flat();
		this.#arrivals = options.requests[Symbol.iterator]();
		this.#network = options.network ?? NO_DELAY;
	}

	run(): SimulationResult {
		const { before, control, onInstant, untilMs = Number.POSITIVE_INFINITY } = this.#options;
		const core = this.#core;
		let controlAt = control?.everyMs ?? Number.POSITIVE_INFINITY;
		let arrival = this.#arrivals.next();
		for (;;) {
			const next = Math.min(
				arrival.done === true ? Number.POSITIVE_INFINITY : arrival.value.arrivalMs,
				core.nextWakeAt(),
				this.#sent.nextAt,
				this.#heard.nextAt,
				this.#nextEngineAt(),
				before?.nextAt() ?? Number.POSITIVE_INFINITY,
			);
			// The control timer alone keeps nothing going.
			if (next === Number.POSITIVE_INFINITY || next > untilMs) break;
			const now = Math.max(this.#now, Math.min(next, controlAt, before?.nextBoundary() ?? next));
			this.#now = now;
			if (before !== undefined && before.nextBoundary() <= now) {
				before.look(now, core);
				this.#drain();
			}
			onInstant?.(now, core);
			for (const engine of this.#flat) {
				if (engine.nextEventAt() > now) continue;
				engine.step(now);
				this.#listen(engine);
			}
			while (this.#sent.nextAt <= now) this.#arriveAtEngine();
			while (this.#heard.nextAt <= now) {
				const { kind, run, tokens } = this.#heard.take();
				this.#hear(kind, run, tokens);
			}
			if (this.#aborts.length > 0) this.#endAborts();
			if (core.nextWakeAt() <= now) {
				core.advance(now);
				this.#drain();
			}
			if (control !== undefined && controlAt <= now) {
				controlAt = now + control.everyMs;
				control.call(now, core, this.#engines);
				this.#drain();
			}
			if (before !== undefined && before.nextAt() <= now) for (const request of before.due(now)) this.#submit(request);
			while (arrival.done !== true && arrival.value.arrivalMs <= now) {
				this.#arrive(arrival.value);
				arrival = this.#arrivals.next();
			}
		}
		return { endMs: this.#now, core, engines: this.#engines, preemptions: this.#preemptions };
	}

	#nextEngineAt(): Millis {
		let next = Number.POSITIVE_INFINITY;
		for (const engine of this.#flat) next = Math.min(next, engine.nextEventAt());
		for (const { at } of this.#aborts) next = Math.min(next, at);
		return next;
	}

	#arrive(arriving: P): void {
		const { admit } = this.#options;
		const request =
			admit === undefined ? (arriving as unknown as SimulatedRequest) : admit(arriving, arriving.arrivalMs);
		if (request === undefined) return;
		if (request.bypass === true) {
			const engine = this.#flat[0]!;
			const run = this.#runs++;
			request.dispatchedMs = this.#now;
			this.#running.set(run, { request, ticket: -1, engine, produced: 0 });
			engine.submit(run, request.promptTokens, request.outputTokens, this.#now);
			return;
		}
		this.#submit(request);
	}

	#submit(request: SimulatedRequest): void {
		const ticket = this.#core.submit(request.submit ?? submitOf(request), this.#now);
		this.#byTicket.set(ticket, request);
		this.#drain();
	}

	/** Carries out what the core has decided. */
	#drain(): void {
		const core = this.#core;
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const { kind, ticket } = decision;
			if (kind === "wait" || kind === "requeue") continue;
			const request = this.#byTicket.get(ticket);
			if (request === undefined) continue;
			request.pool = decision.pool;
			request.ranFrom = decision.queue;
			if (kind === "dispatch") {
				request.payer = decision.payer;
				request.borrowed = this.#borrows(decision);
				// The halves of a pool have one engine.
				this.#dispatch(request, ticket, this.#engines[decision.pool % this.#engines.length]![decision.endpoint]!);
			} else if (kind === "preempt") this.#preempt(request, ticket);
			else {
				request.refused = decision.reason;
				request.endedMs = this.#now;
				this.#byTicket.delete(ticket);
				this.#options.onEnd?.(request);
			}
		}
	}

	#borrows({ pool: index, queue, payer }: Readonly<Decision>): boolean {
		const pool = this.#core.pools[index]!;
		if (payer !== queue) return true;
		return pool.queues[queue]!.reservedTps !== undefined && pool.shareInFlight(queue) > pool.floor(queue);
	}

	#dispatch(request: SimulatedRequest, ticket: Ticket, engine: EngineModel): void {
		const run = this.#runs++;
		request.dispatchedMs = this.#now;
		this.#running.set(run, { request, ticket, engine, produced: 0 });
		this.#runOf.set(ticket, run);
		const { requestMs } = this.#network;
		if (requestMs > 0) this.#sent.put(this.#now + requestMs, "submit", run, 0);
		else engine.submit(run, request.promptTokens, request.outputTokens, this.#now);
	}

	#arriveAtEngine(): void {
		const { kind, run } = this.#sent.take();
		const running = this.#running.get(run);
		if (running === undefined) return;
		const { engine, request } = running;
		if (kind === "submit") {
			// One that was taken back on its way is not sent at all.
			if (this.#runOf.get(running.ticket) === run)
				engine.submit(run, request.promptTokens, request.outputTokens, this.#now);
			return;
		}
		engine.cancel(run, this.#now);
		this.#running.delete(run);
	}

	#preempt(request: SimulatedRequest, ticket: Ticket): void {
		const run = this.#runOf.get(ticket)!;
		const { engine } = this.#running.get(run)!;
		const stepEnd = engine.nextEventAt();
		const { requestMs, responseMs } = this.#network;
		this.#runOf.delete(ticket);
		if (requestMs > 0) this.#sent.put(this.#now + requestMs, "cancel", run, 0);
		else {
			engine.cancel(run, this.#now);
			this.#running.delete(run);
		}
		request.preempted = (request.preempted ?? 0) + 1;
		delete request.firstTokenMs;
		this.#preemptions++;
		const lagMs = (this.#options.cancelLagMs ?? 0) + requestMs + responseMs;
		this.#aborts.push({ at: (Number.isFinite(stepEnd) ? stepEnd : this.#now) + lagMs, ticket });
	}

	#endAborts(): void {
		for (let index = this.#aborts.length - 1; index >= 0; index--) {
			const { at, ticket } = this.#aborts[index]!;
			if (at > this.#now) continue;
			this.#aborts.splice(index, 1);
			this.#core.aborted(ticket, this.#now);
			this.#drain();
		}
	}

	/** Takes the events of the step that has just ended. */
	#listen(engine: EngineModel): void {
		const { responseMs } = this.#network;
		for (let event = engine.nextEvent(); event !== undefined; event = engine.nextEvent()) {
			if (responseMs > 0) this.#heard.put(event.at + responseMs, event.kind, event.id, event.tokens);
			else this.#hear(event.kind, event.id, event.tokens);
		}
		if (responseMs === 0) this.#drain();
	}

	#hear(kind: EngineEventKind, run: number, tokens: Tokens): void {
		const running = this.#running.get(run);
		if (running === undefined) return;
		const { request, ticket } = running;
		const isKnown = ticket >= 0;
		// Taken back; the engine has not heard of it yet.
		if (isKnown && this.#runOf.get(ticket) !== run) return;
		const { onFirstToken, onEnd } = this.#options;
		const core = this.#core;
		if (kind === "first_token") {
			request.firstTokenMs = this.#now;
			onFirstToken?.(request);
			if (isKnown && request.observed !== false) core.produced(ticket, 1, this.#now);
		} else if (kind === "token") {
			const more = tokens - 1 - running.produced;
			running.produced += more;
			if (isKnown && request.observed !== false) core.produced(ticket, more, this.#now);
		} else {
			request.finishedMs = this.#now;
			this.#running.delete(run);
			if (isKnown) {
				this.#runOf.delete(ticket);
				this.#byTicket.delete(ticket);
				this.#usage.promptTokens = request.promptTokens;
				this.#usage.completionTokens = request.outputTokens;
				core.finish(ticket, this.#usage, this.#now);
			}
			onEnd?.(request);
		}
		if (this.#network.responseMs > 0) this.#drain();
	}
}

function submitOf(request: SimulatedRequest): SubmitRequest {
	return submitRequest({
		flow: request.flow,
		queue: request.queue,
		promptTokens: request.promptTokens,
		completionTokens: request.expectedOutputTokens,
		weight: request.weight ?? 1,
		timeoutMs: request.timeoutMs ?? Number.POSITIVE_INFINITY,
		pools: request.pools ?? [0],
		mayUpgrade: request.mayUpgrade ?? false,
		observed: request.observed ?? true,
		buffered: request.buffered ?? false,
		rule: request.rule ?? -1,
	});
}
