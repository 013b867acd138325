/**
 * The real core on the engine model in virtual time: one loop over arrivals, engine steps and the core's own wake-ups. Nothing
 * here decides anything; it carries decisions to engines and engine events to the core, as the gateway does over HTTP.
 *
 * Units: milliseconds, tokens. Same input, same result.
 */
import type { Millis, Tokens } from "../core/model/units.ts";
import type { CoreSettings } from "../core/schedule/core-settings.ts";
import type { Reason, Ticket } from "../core/schedule/decision.ts";
import type { FlowPath } from "../core/schedule/flow-path.ts";
import { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { submitRequest } from "../core/schedule/submit-request.ts";
import { EngineModel } from "./engine-model.ts";
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
}

/** @typeParam P what arrives, if `admit` makes the request of it */
export interface SimulationOptions<P extends { readonly arrivalMs: Millis } = SimulatedRequest> {
	readonly core: CoreSettings;
	/** One engine profile per endpoint of each pool, in the order of `core.pools`. */
	readonly engines: readonly (readonly EngineProfile[])[];
	/** In the order of arrival. */
	readonly requests: Iterable<P>;
	/** Called when one arrives; nothing when it is refused before the core. Default: it is the request itself. */
	readonly admit?: (arriving: P, now: Millis) => SimulatedRequest | undefined;
	/** Stops here even if work is left. Default: when all is done. */
	readonly untilMs?: Millis;
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
	/** The core hears of every token, not of the first alone; slower. Default false. */
	readonly everyToken?: boolean;
	/** Makes the core; for cores with a planted fault. */
	readonly makeCore?: (settings: CoreSettings) => SchedulingCore;
	/** Time from a preemption to its confirmation by the engine, beyond the step under way. */
	readonly cancelLagMs?: Millis;
}

export interface SimulationResult {
	readonly endMs: Millis;
	readonly core: SchedulingCore;
	readonly engines: readonly (readonly EngineModel[])[];
	readonly preemptions: number;
}

interface Running {
	readonly request: SimulatedRequest;
	readonly ticket: Ticket;
	produced: Tokens;
}

export function simulate<P extends { readonly arrivalMs: Millis } = SimulatedRequest>(
	options: SimulationOptions<P>,
): SimulationResult {
	const core = options.makeCore?.(options.core) ?? new SchedulingCore(options.core);
	const engines = options.engines.map((pool) =>
		pool.map((profile) => new EngineModel(profile, { emitTokens: options.everyToken ?? false })),
	);
	const flat = engines.flat();
	const arrivals = options.requests[Symbol.iterator]();
	const byTicket = new Map<Ticket, SimulatedRequest>();
	const running = new Map<number, Running>();
	const runOf = new Map<Ticket, number>();
	const aborts: { at: Millis; ticket: Ticket }[] = [];
	const until = options.untilMs ?? Number.POSITIVE_INFINITY;
	let nextRun = 0;
	let now = 0;
	let preemptions = 0;
	let arrival = arrivals.next();
	const { control } = options;
	let controlAt = control?.everyMs ?? Number.POSITIVE_INFINITY;

	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			const request = byTicket.get(decision.ticket);
			if (request === undefined) continue;
			switch (decision.kind) {
				case "dispatch": {
					request.dispatchedMs = now;
					request.payer = decision.payer;
					const run = nextRun++;
					running.set(run, { request, ticket: decision.ticket, produced: 0 });
					runOf.set(decision.ticket, run);
					engines[decision.pool]![decision.endpoint]!.submit(run, request.promptTokens, request.outputTokens, now);
					break;
				}
				case "shed":
				case "evict":
					request.refused = decision.reason;
					request.endedMs = now;
					byTicket.delete(decision.ticket);
					options.onEnd?.(request);
					break;
				case "preempt": {
					const engine = engines[decision.pool]![decision.endpoint]!;
					const run = runOf.get(decision.ticket)!;
					const stepEnd = engine.nextEventAt();
					engine.cancel(run, now);
					running.delete(run);
					runOf.delete(decision.ticket);
					request.preempted = (request.preempted ?? 0) + 1;
					delete request.firstTokenMs;
					preemptions++;
					const at = (Number.isFinite(stepEnd) ? stepEnd : now) + (options.cancelLagMs ?? 0);
					aborts.push({ at, ticket: decision.ticket });
					break;
				}
			}
		}
	};

	const engineEvents = (engine: EngineModel) => {
		for (let event = engine.nextEvent(); event !== undefined; event = engine.nextEvent()) {
			const entry = running.get(event.id);
			if (entry === undefined) continue;
			const { request, ticket } = entry;
			if (event.kind === "first_token") {
				request.firstTokenMs = event.at;
				options.onFirstToken?.(request);
				if (ticket >= 0 && request.observed !== false) core.produced(ticket, 1, now);
			} else if (event.kind === "token") {
				const more = event.tokens - 1 - entry.produced;
				entry.produced += more;
				if (ticket >= 0 && request.observed !== false) core.produced(ticket, more, now);
			} else if (event.kind === "finished") {
				request.finishedMs = event.at;
				running.delete(event.id);
				if (ticket >= 0) {
					runOf.delete(ticket);
					byTicket.delete(ticket);
					core.finish(
						ticket,
						{ promptTokens: request.promptTokens, completionTokens: request.outputTokens, cachedTokens: 0 },
						now,
					);
				}
				options.onEnd?.(request);
			}
		}
		drain();
	};

	for (;;) {
		let next = arrival.done === true ? Number.POSITIVE_INFINITY : arrival.value.arrivalMs;
		for (const engine of flat) next = Math.min(next, engine.nextEventAt());
		next = Math.min(next, core.nextWakeAt());
		for (const abort of aborts) next = Math.min(next, abort.at);
		// The control timer alone keeps nothing going.
		if (next === Number.POSITIVE_INFINITY || next > until) break;
		now = Math.max(now, Math.min(next, controlAt));
		options.onInstant?.(now, core);
		for (const engine of flat) {
			if (engine.nextEventAt() <= now) {
				engine.step(now);
				engineEvents(engine);
			}
		}
		for (let at = aborts.length - 1; at >= 0; at--) {
			if (aborts[at]!.at > now) continue;
			const [abort] = aborts.splice(at, 1);
			core.aborted(abort!.ticket, now);
			drain();
		}
		if (core.nextWakeAt() <= now) {
			core.advance(now);
			drain();
		}
		if (control !== undefined && controlAt <= now) {
			controlAt = now + control.everyMs;
			control.call(now, core, engines);
			drain();
		}
		while (arrival.done !== true && arrival.value.arrivalMs <= now) {
			const request =
				options.admit === undefined
					? (arrival.value as unknown as SimulatedRequest)
					: options.admit(arrival.value, arrival.value.arrivalMs);
			if (request === undefined) {
				arrival = arrivals.next();
				continue;
			}
			if (request.bypass === true) {
				request.dispatchedMs = now;
				running.set(nextRun, { request, ticket: -1, produced: 0 });
				flat[0]!.submit(nextRun++, request.promptTokens, request.outputTokens, now);
			} else {
				const ticket = core.submit(
					submitRequest({
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
					}),
					now,
				);
				byTicket.set(ticket, request);
				drain();
			}
			arrival = arrivals.next();
		}
	}
	return { endMs: now, core, engines, preemptions };
}
