/**
 * Plays a history of events against a scheduling core and checks, after each of them, what must hold under every allocator and
 * scheduler: each ticket ends exactly once, first in first out inside a flow, space never exceeded at dispatch, no deadline
 * missed, no idle room while everything that waits would fit, and nothing left over when all is done.
 *
 * The book-keeping here is deliberately simple (maps and lists) and shares no code with the core. Times in milliseconds.
 */

import fc from "fast-check";
import type { Decision, Ticket } from "../../src/core/schedule/decision.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import type { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";

/** One event; numbers are reduced modulo what is there, so that any sequence of commands is a history. */
export interface Command {
	readonly kind: CommandKind;
	readonly a: number;
	readonly b: number;
	readonly c: number;
}

export const COMMAND_KINDS = [
	"submit",
	"produced",
	"finish",
	"cancel",
	"takeBack",
	"advance",
	"pause",
	"resume",
	"clear",
	"configureQueue",
	"configureCapacity",
	"endpointDown",
	"endpointUp",
	"aborted",
] as const;
export type CommandKind = (typeof COMMAND_KINDS)[number];

const WEIGHTS: Partial<Record<CommandKind, number>> = { submit: 14, finish: 8, produced: 4, advance: 3, cancel: 2 };

const number = fc.nat(10_000);

/** Histories of 10 to 150 events, two fifths of them submissions. */
export const COMMANDS: fc.Arbitrary<Command[]> = fc.array(
	fc.record({
		kind: fc.oneof(...COMMAND_KINDS.map((kind) => ({ weight: WEIGHTS[kind] ?? 1, arbitrary: fc.constant(kind) }))),
		a: number,
		b: number,
		c: number,
	}),
	{ minLength: 10, maxLength: 150, size: "max" },
);

type State = "waiting" | "running" | "aborting" | "ended";

interface Known {
	readonly ticket: Ticket;
	readonly queue: number;
	readonly flow: string;
	readonly prompt: number;
	readonly completion: number;
	readonly sequences: number;
	readonly observed: boolean;
	readonly arrival: number;
	/** Longest wait, extended by the time it ran. */
	timeoutMs: number;
	state: State;
	pool: number;
	endpoint: number;
	produced: number;
	dispatchedAt: number;
}

export class Violation extends Error {
	override readonly name = "Violation";
}

function must(holds: boolean, message: () => string): void {
	if (!holds) throw new Violation(message());
}

export interface HistoryOptions {
	/** Judge work conservation (headroom 0, no prefill window, no rates). */
	readonly workConserving: boolean;
	/** Judge that no worse queue is served while a better one waits (strict, no rates). */
	readonly strictOrder: boolean;
	/** What really comes out, as a factor of the estimate: [0] always the estimate, else drawn by the command. */
	readonly outputFactors: readonly number[];
}

const FLOWS = 7;

export class History {
	now = 0;
	readonly #core: SchedulingCore;
	readonly #options: HistoryOptions;
	readonly #known = new Map<Ticket, Known>();
	/** Waiting tickets of a flow in order, by pool, queue and flow. */
	readonly #lines = new Map<string, Ticket[]>();
	readonly #paused = new Set<string>();
	readonly #down = new Set<string>();
	submitted = 0;
	ended = 0;
	dispatched = 0;

	constructor(core: SchedulingCore, options: HistoryOptions) {
		this.#core = core;
		this.#options = options;
	}

	play(command: Command): void {
		const { kind, a, b, c } = command;
		const core = this.#core;
		this.now += (c % 5) * 3.5;
		switch (kind) {
			case "submit":
				this.#submit(a, b, c);
				break;
			case "produced":
				this.#with("running", a, (known) => {
					const tokens = 1 + (b % 40);
					known.produced += tokens;
					core.produced(known.ticket, tokens, this.now);
				});
				break;
			case "finish":
				this.#with("running", a, (known) => this.#finish(known, b));
				break;
			case "cancel":
				this.#with(b % 2 === 0 ? "waiting" : "running", a, (known) => {
					if (known.state === "waiting") this.#leaveLine(known);
					this.#end(known);
					core.cancel(known.ticket, this.now);
				});
				break;
			case "takeBack":
				this.#with("running", a, (known) => core.takeBack(known.ticket, this.now));
				break;
			case "advance":
				this.now += (a % 400) * 1.25;
				this.#advance();
				break;
			case "pause":
				this.#paused.add(`${a % core.pools.length}/${b % core.settings.queues.length}`);
				core.pause(a % core.pools.length, b % core.settings.queues.length);
				break;
			case "resume":
				this.#paused.delete(`${a % core.pools.length}/${b % core.settings.queues.length}`);
				core.resume(a % core.pools.length, b % core.settings.queues.length, this.now);
				break;
			case "clear":
				core.clear(a % core.pools.length, b % core.settings.queues.length, this.now);
				break;
			case "configureQueue":
				core.configureQueue(
					a % core.pools.length,
					b % core.settings.queues.length,
					c % 3 === 0 ? { maxDepth: c % 9 } : c % 3 === 1 ? { weight: 0.25 + (c % 40) } : { timeoutMs: 50 + c },
					this.now,
				);
				break;
			case "configureCapacity":
				core.configureCapacity(
					a % core.pools.length,
					b % 2 === 0 ? { maxConcurrent: 1 + (c % 10) } : { maxInflightTokens: 200 + (c % 2000) },
					this.now,
				);
				break;
			case "endpointDown":
				this.#setUp(a, b, false);
				break;
			case "endpointUp":
				this.#setUp(a, b, true);
				break;
			case "aborted":
				this.#with("aborting", a, (known) => {
					if (b % 3 !== 0) return core.aborted(known.ticket, this.now);
					this.#end(known);
					core.aborted(known.ticket, this.now, {
						promptTokens: known.prompt,
						completionTokens: known.produced,
						cachedTokens: 0,
					});
				});
				break;
		}
		this.#drainDecisions();
		this.#checkIdleRoom();
	}

	/** Lets everything end, then looks for leftovers. */
	finishAll(): void {
		const core = this.#core;
		for (let pool = 0; pool < core.pools.length; pool++) {
			core.configureCapacity(
				pool,
				{ ...core.settings.pools[pool]!.capacity, maxConcurrent: 16, maxInflightTokens: 1e6 },
				this.now,
			);
			this.#drainDecisions();
			for (let at = 0; at < core.pools[pool]!.endpoints.length; at++) {
				this.#setUp(pool, at, true);
				this.#drainDecisions();
			}
			for (let queue = 0; queue < core.settings.queues.length; queue++) {
				this.#paused.delete(`${pool}/${queue}`);
				core.resume(pool, queue, this.now);
				this.#drainDecisions();
			}
		}
		for (let round = 0; core.requestCount > 0; round++) {
			must(round < 20_000, () => `does not drain: ${core.requestCount} requests left, ${core.waitingCount} waiting`);
			const before = this.ended;
			for (const known of [...this.#known.values()]) {
				if (known.state === "running") this.#finish(known, round);
				else if (known.state === "aborting") core.aborted(known.ticket, this.now);
				this.#drainDecisions();
			}
			const runs = [...this.#known.values()].some((known) => known.state === "running");
			if (runs || this.ended > before) continue;
			const wakeAt = core.nextWakeAt();
			must(wakeAt < Number.POSITIVE_INFINITY, () => `${core.requestCount} requests wait for nothing`);
			this.now = Math.max(this.now, wakeAt);
			this.#advance();
			this.#drainDecisions();
		}
		this.#checkNothingLeft();
	}

	#submit(a: number, b: number, c: number): void {
		const core = this.#core;
		const pools = core.pools.length === 1 ? [0] : c % 3 === 0 ? [1, 0] : c % 3 === 1 ? [0, 1] : [c % 2];
		const queue = a % core.settings.queues.length;
		const flow = `o${b % 3}/f${b % FLOWS}`;
		const request = submitRequest({
			pools,
			queue,
			flow: flowPath(flow.split("/")),
			promptTokens: 1 + (a % 97) * (c % 11 === 0 ? 10 : 1),
			completionTokens: b % 61,
			cachedTokens: 0,
			sequences: c % 13 === 0 ? 2 : 1,
			weight: 1 + (b % FLOWS),
			timeoutMs: c % 4 === 0 ? 100 + (c % 700) : Number.POSITIVE_INFINITY,
			mayUpgrade: a % 2 === 0,
			observed: b % 5 !== 0,
			buffered: b % 4 === 0,
			rule: a % 9 === 0 && core.settings.ruleDepths.length > 0 ? 0 : -1,
			bodyBytes: c,
		});
		this.submitted++;
		const ticket = core.submit(request, this.now);
		const already = this.#known.get(ticket);
		must(already === undefined || already.state === "ended", () => `ticket ${ticket} given out twice`);
		const healthy = pools.find((pool) => this.#couldRun(pool, request.sequences, request.promptTokens + (b % 61)));
		const known: Known = {
			ticket,
			queue,
			flow,
			prompt: request.promptTokens,
			completion: request.completionTokens,
			sequences: request.sequences,
			observed: request.observed,
			arrival: this.now,
			timeoutMs: request.timeoutMs,
			state: "waiting",
			pool: healthy ?? pools[0]!,
			endpoint: -1,
			produced: 0,
			dispatchedAt: 0,
		};
		this.#known.set(ticket, known);
		this.#line(known).push(ticket);
	}

	#couldRun(pool: number, sequences: number, tokens: number): boolean {
		const { capacity, endpoints } = this.#core.pools[pool]!;
		const up = endpoints.some((_, at) => !this.#down.has(`${pool}/${at}`));
		return up && sequences <= capacity.maxConcurrent && tokens <= capacity.maxInflightTokens;
	}

	#finish(known: Known, draw: number): void {
		const { outputFactors } = this.#options;
		const factor = outputFactors[draw % outputFactors.length]!;
		const completionTokens = Math.max(known.produced, Math.round(known.completion * factor));
		this.#end(known);
		this.#core.finish(known.ticket, { promptTokens: known.prompt, completionTokens, cachedTokens: 0 }, this.now);
	}

	#advance(): void {
		this.#core.advance(this.now);
		this.#drainDecisions();
		for (const known of this.#known.values()) {
			if (known.state !== "waiting") continue;
			const deadline = Math.max(known.arrival + known.timeoutMs, known.dispatchedAt + 1);
			must(
				Math.ceil(deadline * (1 + 1e-6)) >= this.now,
				() => `ticket ${known.ticket} waits past its deadline ${deadline} at ${this.now}`,
			);
		}
	}

	#setUp(a: number, b: number, up: boolean): void {
		const core = this.#core;
		const pool = a % core.pools.length;
		const endpoint = b % core.pools[pool]!.endpoints.length;
		if (up) this.#down.delete(`${pool}/${endpoint}`);
		else this.#down.add(`${pool}/${endpoint}`);
		if (up) core.endpointUp(pool, endpoint, this.now);
		else core.endpointDown(pool, endpoint, this.now);
	}

	#with(state: State, pick: number, act: (known: Known) => void): void {
		const candidates = [...this.#known.values()].filter((known) => known.state === state);
		if (candidates.length > 0) act(candidates[pick % candidates.length]!);
	}

	#drainDecisions(): void {
		for (let decision = this.#core.next(); decision !== undefined; decision = this.#core.next()) this.#take(decision);
	}

	#take(decision: Decision): void {
		const { kind, ticket, reason, pool } = decision;
		const known = this.#known.get(ticket);
		if (known === undefined) throw new Violation(`${kind} of unknown ticket ${ticket}`);
		const of = () => `${kind} (${reason}) of ticket ${ticket}, which is ${known.state}`;
		switch (kind) {
			case "dispatch":
				must(known.state === "waiting", of);
				must(known.pool === pool, () => `${of()}: it waits in pool ${known.pool}, not ${pool}`);
				this.#checkDispatch(known, decision.endpoint);
				this.#leaveLine(known);
				known.state = "running";
				known.endpoint = decision.endpoint;
				known.produced = 0;
				known.dispatchedAt = this.now;
				this.dispatched++;
				break;
			case "wait":
				must(known.state === "waiting", of);
				break;
			case "shed":
			case "evict":
				must(known.state === "waiting", of);
				if (reason === "queue_timeout") {
					must(this.now >= known.arrival + known.timeoutMs * (1 - 1e-6), () => `${of()} before its deadline`);
				}
				this.#leaveLine(known);
				this.#end(known);
				break;
			case "preempt":
				must(known.state === "running", of);
				known.state = "aborting";
				break;
			case "requeue":
				if (reason === "failover") {
					must(known.state === "waiting", of);
					this.#leaveLine(known);
					known.pool = pool;
					this.#line(known).push(ticket);
				} else {
					must(known.state === "running" || known.state === "aborting", of);
					known.state = "waiting";
					known.timeoutMs += this.now - known.dispatchedAt;
					known.dispatchedAt = this.now;
					known.produced = 0;
					this.#line(known).unshift(ticket);
				}
				break;
		}
	}

	#checkDispatch(known: Known, endpoint: number): void {
		const where = `${known.pool}/${endpoint}`;
		must(!this.#down.has(where), () => `ticket ${known.ticket} dispatched to endpoint ${where}, which is down`);
		must(!this.#paused.has(`${known.pool}/${known.queue}`), () => `ticket ${known.ticket} left a paused queue`);
		must(this.#line(known)[0] === known.ticket, () => `ticket ${known.ticket} overtook its own flow`);
		must(
			this.#fits(known, endpoint) || this.#fitsHeld(known, endpoint),
			() => `ticket ${known.ticket} exceeds the space of endpoint ${where}`,
		);
		if (!this.#options.strictOrder) return;
		for (const other of this.#known.values()) {
			const better = other.state === "waiting" && other.pool === known.pool && other.queue < known.queue;
			must(
				!better || this.#paused.has(`${other.pool}/${other.queue}`) || this.#unsettled(other),
				() => `queue ${known.queue} served before waiting queue ${other.queue}`,
			);
		}
	}

	/** Submitted in this very event: its own decision is still among those to come. */
	#unsettled(known: Known): boolean {
		return known.arrival === this.now || known.dispatchedAt === this.now;
	}

	#inUse(pool: number, endpoint: number): { sequences: number; tokens: number; held: number } {
		let sequences = 0;
		let tokens = 0;
		let held = 0;
		for (const other of this.#known.values()) {
			if ((other.state !== "running" && other.state !== "aborting") || other.pool !== pool) continue;
			if (other.endpoint !== endpoint) continue;
			sequences += other.sequences;
			const charge = other.prompt + Math.max(other.completion, other.produced);
			tokens += charge;
			held += other.observed ? other.prompt + other.produced : charge;
		}
		return { sequences, tokens, held };
	}

	#fits(known: Known, endpoint: number): boolean {
		const { capacity } = this.#core.pools[known.pool]!;
		const { sequences, tokens } = this.#inUse(known.pool, endpoint);
		return (
			sequences + known.sequences <= capacity.maxConcurrent &&
			tokens + known.prompt + known.completion <= capacity.maxInflightTokens
		);
	}

	/** One that may preempt needs room only for what the others hold and for its own prompt, if its progress is seen. */
	#fitsHeld(known: Known, endpoint: number): boolean {
		const { preemption } = this.#core.settings;
		if (preemption === undefined || known.queue > preemption.preemptorMax) return false;
		const { capacity } = this.#core.pools[known.pool]!;
		const { sequences, held } = this.#inUse(known.pool, endpoint);
		const first = known.prompt + (known.observed ? 0 : known.completion);
		return sequences + known.sequences <= capacity.maxConcurrent && held + first <= capacity.maxInflightTokens;
	}

	/** Whatever the pick is, it does not fit: so it cannot be that all that waits would fit. */
	#checkIdleRoom(): void {
		if (!this.#options.workConserving) return;
		this.#core.pools.forEach((pool, index) => {
			const waiting = [...this.#known.values()].filter(
				(known) => known.state === "waiting" && known.pool === index && !this.#paused.has(`${index}/${known.queue}`),
			);
			if (waiting.length === 0) return;
			const ups = pool.endpoints.map((_, at) => at).filter((at) => !this.#down.has(`${index}/${at}`));
			if (ups.length === 0) return;
			const blocked = waiting.some((known) => !ups.some((at) => this.#fits(known, at)));
			must(blocked, () => `pool ${index} is idle although each of ${waiting.length} waiting requests fits`);
		});
	}

	#checkNothingLeft(): void {
		const core = this.#core;
		must(this.ended === this.submitted, () => `${this.submitted} submitted, ${this.ended} ended`);
		must(core.waitingCount === 0, () => `${core.waitingCount} count as waiting`);
		for (const pool of core.pools) {
			for (const endpoint of pool.endpoints) {
				const left = [
					endpoint.sequences,
					endpoint.tokens,
					endpoint.heldTokens,
					endpoint.aheadSequences,
					endpoint.aheadTokens,
					endpoint.prefillTokens,
					endpoint.freeingSequences,
					endpoint.freeingTokens,
					endpoint.rows.length,
				];
				must(
					left.every((count) => count === 0),
					() => `endpoint of ${pool.name} keeps ${left}`,
				);
			}
			pool.queues.forEach((queue, index) => {
				const left = [queue.inFlight, queue.inFlightTokens, queue.waitingTokens, pool.upgradedIn(index)];
				must(
					left.every((count) => count === 0),
					() => `queue ${index} of ${pool.name} keeps ${left}`,
				);
			});
		}
		this.#checkFlowsForgotten();
	}

	/** Idle flows are swept by later submissions: a single other flow must find the rest gone. */
	#checkFlowsForgotten(): void {
		const core = this.#core;
		/** The probe's own two nodes are left for the next submission to sweep. */
		const least = core.pools.length * core.settings.queues.length + 2;
		for (let probe = 0; core.flowNodeCount > least; probe++) {
			must(probe < 200, () => `${core.flowNodeCount - least} nodes of idle flows are never dropped`);
			const ticket = core.submit(
				submitRequest({ flow: flowPath(["probe", "probe"]), promptTokens: 1, completionTokens: 1 }),
				this.now,
			);
			while (core.isWaiting(ticket)) {
				this.now = Math.max(this.now, core.nextWakeAt());
				core.advance(this.now);
			}
			core.finish(ticket, { promptTokens: 1, completionTokens: 1, cachedTokens: 0 }, this.now);
			while (core.next() !== undefined);
		}
	}

	#line(known: Known): Ticket[] {
		const key = `${known.pool}/${known.queue}/${known.flow}`;
		const line = this.#lines.get(key) ?? [];
		this.#lines.set(key, line);
		return line;
	}

	#leaveLine(known: Known): void {
		const line = this.#line(known);
		const at = line.indexOf(known.ticket);
		must(at >= 0, () => `ticket ${known.ticket} is in no line`);
		line.splice(at, 1);
	}

	#end(known: Known): void {
		must(known.state !== "ended", () => `ticket ${known.ticket} ended twice`);
		known.state = "ended";
		this.ended++;
	}
}
