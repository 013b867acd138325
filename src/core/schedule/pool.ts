/**
 * One pool: the state machine that moves requests waiting → running → ended, and the dispatch loop.
 *
 * The loop asks the scheduler for its pick and gives it room; when the pick does not fit, dispatch stops and the room that frees
 * is held for it. Nothing here is a commitment: the pick is asked for again at every event. Passed over (never held for): paused
 * queues, those at a rate ceiling, and those the prefill window keeps back; once the window has kept one back, no worse queue
 * may slip through it. Where a scheduler ignores the order of queues, privileged ones may start ahead of their turn within the
 * headroom, charged as usual.
 */
import { Endpoint } from "../capacity/endpoint.ts";
import { PrefillWindow } from "../capacity/prefill-window.ts";
import { type RateBucket, rateBucket } from "../capacity/rate-bucket.ts";
import { Reservations } from "../capacity/reservations.ts";
import { Throughput } from "../capacity/throughput.ts";
import { InvariantError } from "../model/invariant-error.ts";
import type { AllocatorKind, QueueSettings } from "../model/policy.ts";
import { type Cost, costOf, type Millis, type Tokens } from "../model/units.ts";
import type { CapacitySettings, CoreSettings, PoolSettings } from "./core-settings.ts";
import type { Reason, Ticket } from "./decision.ts";
import type { DecisionLog } from "./decision-log.ts";
import type { FlowTree } from "./flow-tree.ts";
import { chooseVictims, firstTokens, heldTokens, victimsOfOverdraft } from "./preemption.ts";
import { QueueSet } from "./queue-set.ts";
import {
	ABORTING,
	FLAG_AHEAD,
	FLAG_ANSWERED,
	FLAG_BUFFERED,
	FLAG_EXPECTED,
	FLAG_IN_WINDOW,
	FLAG_MAY_UPGRADE,
	FLAG_OBSERVED,
	type RequestTable,
	RUNNING,
	WAITING,
} from "./request-table.ts";
import { createScheduler, type QueueView, type Scheduler } from "./scheduler.ts";
import type { StartHistory } from "./start-estimate.ts";
import type { TimingWheel } from "./timing-wheel.ts";
import { Upgrades } from "./upgrades.ts";

/** Told of what runs in a pool, where something follows it (adaptive capacity). Must not call back. */
export interface PoolObserver {
	/** `observed`: its first token will be seen. `privileged`: the headroom is for its queue. */
	dispatched(
		row: number,
		sequences: number,
		promptTokens: Tokens,
		observed: boolean,
		privileged: boolean,
		waitMs: Millis,
		now: Millis,
	): void;
	/** Its first token came, `elapsedMs` after dispatch. */
	answered(row: number, privileged: boolean, elapsedMs: Millis, now: Millis): void;
	/** More tokens came. */
	produced(row: number, now: Millis): void;
	/** It runs no more; `completionTokens` is what it produced, 0 where that is not known. */
	ended(row: number, completionTokens: Tokens, now: Millis): void;
}

/** Counters and limits of one queue. */
export interface QueueState {
	readonly settings: QueueSettings;
	readonly root: number;
	maxDepth: number;
	timeoutMs: Millis;
	paused: boolean;
	inFlight: number;
	inFlightTokens: Tokens;
	/** Estimated tokens of what waits. */
	waitingTokens: Tokens;
	tokenRate: RateBucket | undefined;
	requestRate: RateBucket | undefined;
	/** What all queues share that the capacity guard's buffer is kept from. */
	readonly bufferRate: RateBucket | undefined;
	/** Tokens per second that it is assured of. */
	reservedTps: number | undefined;
	enqueued: number;
	dispatched: number;
	timedOut: number;
	dropped: number;
	waitMsTotal: number;
}

/** Parts of the core that all pools share. */
export interface Shared {
	readonly settings: CoreSettings;
	readonly requests: RequestTable;
	readonly tree: FlowTree;
	readonly wheel: TimingWheel;
	readonly log: DecisionLog;
	readonly starts: StartHistory;
	readonly bufferRate: RateBucket | undefined;
	/** A request left its queue: counters above pools follow. */
	leftQueue(row: number): void;
	/** A waiting row needs more than an empty endpoint has: it must leave its queue. */
	cannotRun(row: number): void;
}

export class Pool implements QueueView {
	readonly index: number;
	readonly name: string;
	readonly allocator: AllocatorKind;
	readonly endpoints: readonly Endpoint[];
	readonly queues: readonly QueueState[];
	readonly active = new QueueSet();
	readonly weights: Float64Array;
	readonly window: PrefillWindow;
	readonly scheduler: Scheduler;
	readonly upgrades: Upgrades;
	readonly throughput = new Throughput();
	capacity: CapacitySettings;
	/** When a rate ceiling opens again; the dispatch loop sets it. */
	wakeAt: Millis = Number.POSITIVE_INFINITY;
	/** Why the last dispatch loop stopped. */
	blockedBy: Reason = "none";
	preemptions = 0;
	/** Tokens read and produced by runs that were taken back. */
	wastedTokens: Tokens = 0;
	#heldMs: Millis = 0;
	#heldSince: Millis = 0;
	observer: PoolObserver | undefined;
	/** The other half of the same pool, in a core with halves. */
	beside: Pool | undefined;
	/** Of a half: the request whose turn it is needs room of the other, which holds what frees for it. */
	needsBoth = false;

	readonly #shared: Shared;
	readonly #bestEffort = new QueueSet();
	readonly #privileged = new QueueSet();
	/** 1 for queues that nothing but space ever keeps back: no ceiling of their own, no prefill window. */
	readonly #ungated: Uint8Array;
	/** Whether any queue is gated: then what `ready` says of one may change without a change of the queue. */
	anyGated = false;
	/**
	 * Whether nothing is to be done when all slots are taken: nobody to preempt, no privileged queue whose rate has to be asked, no
	 * other half, nothing too large that must go elsewhere. A full pool is the state whose speed matters, and its events then end early.
	 */
	#fullIsFinal = false;
	/** Of the largest request that ever waited here. */
	#mostSequences = 0;
	#mostTokens: Tokens = 0;
	/** Endpoints that take requests. */
	#up: number;
	#reservations: Reservations | undefined;
	#tokenRate: RateBucket | undefined;
	#requestRate: RateBucket | undefined;
	/** No limit on prompt tokens on their way: nobody is counted in the window. */
	#windowOff = false;
	/** Whether any rate or reservation counts what is charged. */
	#metered = false;
	#weightTotal = 0;
	#now: Millis = 0;
	#windowHeld = false;

	constructor(index: number, settings: PoolSettings, shared: Shared) {
		this.index = index;
		this.name = settings.name;
		this.allocator = shared.settings.allocator;
		this.#shared = shared;
		this.capacity = settings.capacity;
		this.endpoints = Array.from({ length: settings.endpoints }, () => new Endpoint());
		this.#up = settings.endpoints;
		this.window = new PrefillWindow(settings.capacity.maxPrefillTokens, settings.capacity.prefillWindowMs);
		const { queues } = shared.settings;
		this.weights = Float64Array.from(queues, (queue) => queue.weight);
		this.#ungated = new Uint8Array(queues.length);
		this.queues = queues.map((queue, index) => ({
			settings: queue,
			root: shared.tree.createRoot(),
			maxDepth: queue.maxDepth,
			timeoutMs: queue.timeoutMs,
			paused: false,
			inFlight: 0,
			inFlightTokens: 0,
			waitingTokens: 0,
			tokenRate: rateBucket(queue.limitTps, settings.capacity.burstSeconds, 1, 0),
			requestRate: rateBucket(queue.limitRps, settings.capacity.burstSeconds, 1, 0),
			bufferRate: shared.settings.buffer?.keptFor.includes(index) === false ? shared.bufferRate : undefined,
			reservedTps: queue.reservedTps,
			enqueued: 0,
			dispatched: 0,
			timedOut: 0,
			dropped: 0,
			waitMsTotal: 0,
		}));
		this.upgrades = new Upgrades(queues.length);
		this.scheduler = createScheduler(shared.settings.scheduler, this, shared.settings);
		this.configure(settings.capacity, 0);
	}

	/** Two halves of one pool have the same endpoints. */
	putBeside(other: Pool): void {
		this.beside = other;
		for (const [at, endpoint] of this.endpoints.entries()) endpoint.beside = other.endpoints[at];
		this.#findGates();
	}

	get count(): number {
		return this.queues.length;
	}

	/** Whether any endpoint takes requests. */
	get isUp(): boolean {
		return this.#up > 0;
	}

	setUp(endpoint: number, up: boolean): void {
		const target = this.endpoints[endpoint]!;
		if (target.up !== up) this.#up += up ? 1 : -1;
		target.up = up;
	}

	configure(capacity: CapacitySettings, now: Millis): void {
		this.capacity = capacity;
		this.window.configure(capacity.maxPrefillTokens, capacity.prefillWindowMs);
		for (const endpoint of this.endpoints) {
			endpoint.configure(capacity.maxConcurrent, capacity.maxInflightTokens, capacity.headroom);
		}
		for (let queue = 0; queue < this.count; queue++) this.#privileged.delete(queue);
		for (const queue of capacity.headroomFor) if (queue < this.count) this.#privileged.add(queue);
		this.#tokenRate = changedRate(this.#tokenRate, capacity.maxTokensPerSec, capacity.burstSeconds, now);
		this.#requestRate = changedRate(this.#requestRate, capacity.maxRps, capacity.burstSeconds, now);
		for (const { tokenRate, requestRate } of this.queues) {
			tokenRate?.spread(capacity.burstSeconds, now);
			requestRate?.spread(capacity.burstSeconds, now);
		}
		this.#findReservations(now);
		this.#findGates();
		this.weightsChanged();
	}

	weightsChanged(): void {
		this.#weightTotal = this.weights.reduce((sum, weight) => sum + weight, 0);
	}

	/** Whether a request could ever run here; in a half, also one that neither half alone has the room for, but both together. */
	couldRun(sequences: number, tokens: Tokens): boolean {
		if (this.#isWithin(sequences, tokens)) return true;
		const { beside, capacity } = this;
		if (beside === undefined || capacity.maxConcurrent === 0 || beside.#isWithin(sequences, tokens)) return false;
		return (
			sequences <= capacity.maxConcurrent + beside.capacity.maxConcurrent &&
			tokens <= capacity.maxInflightTokens + beside.capacity.maxInflightTokens
		);
	}

	#isWithin(sequences: number, tokens: Tokens): boolean {
		return sequences <= this.capacity.maxConcurrent && tokens <= this.capacity.maxInflightTokens;
	}

	/** Changes the ceilings of a queue; absent keeps them. */
	limitQueue(
		state: QueueState,
		change: { limitTps?: number | undefined; limitRps?: number | undefined; reservedTps?: number | undefined },
		now: Millis,
	): void {
		const { burstSeconds } = this.capacity;
		const { limitTps, limitRps, reservedTps } = change;
		if (reservedTps !== undefined) {
			state.reservedTps = reservedTps;
			this.#findReservations(now);
		}
		if (limitTps !== undefined) state.tokenRate = changedRate(state.tokenRate, limitTps, burstSeconds, now);
		if (limitRps !== undefined) state.requestRate = changedRate(state.requestRate, limitRps, burstSeconds, now);
		this.#findGates();
	}

	#findReservations(now: Millis): void {
		const reserved = this.queues.map(({ reservedTps, settings }) => ({
			reservedTps,
			lendable: settings.lendable !== false,
		}));
		const { maxTokensPerSec, burstSeconds } = this.capacity;
		const reservations = new Reservations(reserved, maxTokensPerSec, burstSeconds, now, this.#reservations);
		this.#reservations = reservations.isEmpty ? undefined : reservations;
	}

	#findGates(): void {
		const windowOff = this.window.tokens === Number.POSITIVE_INFINITY;
		this.#windowOff = windowOff;
		let privilegedGated = false;
		this.#metered =
			this.#tokenRate !== undefined || this.#requestRate !== undefined || this.#reservations !== undefined;
		for (const [queue, { tokenRate, requestRate, bufferRate }] of this.queues.entries()) {
			const privileged = this.#privileged.has(queue);
			const hasRate = tokenRate !== undefined || requestRate !== undefined || bufferRate !== undefined;
			if (hasRate) this.#metered = true;
			const ungated = (windowOff || privileged) && !hasRate;
			this.#ungated[queue] = ungated ? 1 : 0;
			if (privileged && !ungated) privilegedGated = true;
		}
		this.anyGated = this.#ungated.includes(0);
		this.#fullIsFinal =
			!privilegedGated &&
			this.#shared.settings.preemption === undefined &&
			this.beside === undefined &&
			this.#isWithin(this.#mostSequences, this.#mostTokens);
	}

	/** Whether a queue's own ceilings have room at `now`. */
	rateOpen(queue: number, now: Millis): boolean {
		this.#now = now;
		return this.hasRate(queue);
	}

	/** Whether a request in its turn could start at `now`: `none`, or what it would wait for. */
	lackFor(queue: number, sequences: number, prompt: Tokens, tokens: Tokens, now: Millis): Reason {
		if (!this.isUp) return "unavailable";
		const { tokenRate, requestRate, bufferRate } = this.queues[queue]!;
		for (const rate of [this.#tokenRate, this.#requestRate, tokenRate, requestRate, bufferRate]) {
			if (rate?.isReady(now) === false) return "rate";
		}
		let fits = false;
		for (const endpoint of this.endpoints) {
			if (!endpoint.up) continue;
			if (this.#mayPreempt(queue) && endpoint.fitsHeld(sequences, this.#privileged.has(queue))) {
				if (endpoint.lackingTokens(prompt) <= 0) return "none";
			}
			if (this.#privileged.has(queue)) {
				if (endpoint.fitsPrivileged(sequences, tokens)) return "none";
			} else if (endpoint.fitsOrdinary(sequences, tokens)) {
				if (endpoint.windowOpen(prompt, this.window)) return "none";
				fits = true;
			}
		}
		return fits ? "window" : "space";
	}

	/** Whether a queue may use the headroom. */
	isPrivileged(queue: number): boolean {
		return this.#privileged.has(queue);
	}

	// --- the scheduler's view of the queues

	get isIdle(): boolean {
		if (this.active.next(0) >= 0) return false;
		for (const endpoint of this.endpoints) if (endpoint.sequences > 0) return false;
		return true;
	}

	waiting(queue: number): number {
		return this.#shared.tree.waiting(this.queues[queue]!.root);
	}

	ready(queue: number): boolean {
		return this.#ungated[queue] === 1 || (this.hasRate(queue) && this.open(queue));
	}

	hasRate(queue: number): boolean {
		const { tokenRate, requestRate, bufferRate } = this.queues[queue]!;
		return this.#rateReady(tokenRate) && this.#rateReady(requestRate) && this.#rateReady(bufferRate);
	}

	open(queue: number): boolean {
		if (this.#privileged.has(queue)) return true;
		if (this.#windowHeld) return false;
		const prompt = this.#shared.requests.prompt(this.#head(queue));
		for (const endpoint of this.endpoints) if (endpoint.up && endpoint.windowOpen(prompt, this.window)) return true;
		this.#windowHeld = true;
		return false;
	}

	headCost(queue: number): Cost {
		return this.#costOf(this.#head(queue));
	}

	headMayUpgrade(queue: number): boolean {
		return (this.#shared.requests.flags(this.#head(queue)) & FLAG_MAY_UPGRADE) !== 0;
	}

	shareInFlight(queue: number): number {
		const state = this.queues[queue]!;
		const endpoints = this.endpoints.length;
		return Math.max(
			state.inFlight / (this.capacity.maxConcurrent * endpoints),
			state.inFlightTokens / (this.capacity.maxInflightTokens * endpoints),
		);
	}

	floor(queue: number): number {
		const { reservedTps } = this.queues[queue]!;
		if (reservedTps !== undefined && Number.isFinite(this.capacity.maxTokensPerSec)) {
			return reservedTps / this.capacity.maxTokensPerSec;
		}
		return this.weights[queue]! / this.#weightTotal;
	}

	upgradedIn(lender: number): number {
		return this.upgrades.count(lender);
	}

	reclaim(lender: number): boolean {
		const { settings, requests, wheel } = this.#shared;
		if (!settings.upgrades.softPreemption) return false;
		const isUpgraded = (ticket: Ticket) => this.isUpgraded(ticket, lender);
		while (this.upgradedIn(lender) > 0) {
			const ticket = this.upgrades.takeOldest(lender, isUpgraded);
			if (ticket < 0) return false;
			const row = requests.rowOf(ticket);
			// The timer of a request in the window is not that of its upgrade.
			if ((requests.flags(row) & FLAG_IN_WINDOW) === 0) wheel.cancel(row);
			this.recharge(row, this.#now);
			if (this.hasRate(lender)) return true;
		}
		return false;
	}

	/** Whether a ticket runs on a lender's capacity. */
	isUpgraded(ticket: Ticket, lender: number): boolean {
		const { requests } = this.#shared;
		const row = requests.rowOf(ticket);
		if (row < 0 || requests.state(row) === WAITING || requests.pool(row) !== this.index) return false;
		return requests.payer(row) === lender && requests.queue(row) !== lender;
	}

	/** Since when a row runs. */
	since(row: number): Millis {
		return this.#endpointOf(row).sinceAt(this.#shared.requests.next(row));
	}

	// --- movements of one request

	/** A row begins to wait, at the tail of its flow or (taken back) at its head. */
	enqueue(row: number, first: boolean): void {
		const { requests, tree } = this.#shared;
		requests.setState(row, WAITING);
		const queue = requests.queue(row);
		const tokens = requests.charge(row);
		if (tokens > this.#mostTokens) this.#mostTokens = tokens;
		if (requests.sequences(row) > this.#mostSequences) this.#mostSequences = requests.sequences(row);
		this.queues[queue]!.waitingTokens += tokens;
		if (first) tree.enqueueFirst(requests.leaf(row), row);
		else tree.enqueue(requests.leaf(row), row);
		if (this.waiting(queue) === 1) this.refreshActive(queue);
	}

	/** Takes a waiting row out of its queue without serving it. */
	leave(row: number): void {
		const { requests, tree, wheel, starts } = this.#shared;
		if ((requests.flags(row) & FLAG_EXPECTED) !== 0) {
			requests.setFlags(row, requests.flags(row) & ~FLAG_EXPECTED);
			starts.forget(requests.ticketOf(row));
		}
		wheel.cancel(row);
		tree.remove(requests.leaf(row), row);
		this.queues[requests.queue(row)]!.waitingTokens -= requests.charge(row);
		this.refreshActive(requests.queue(row));
		this.#shared.leftQueue(row);
	}

	/**
	 * Tokens came for a running row; beyond its estimate they are charged as they come. True when its end may have been waited for
	 * instead of taking others back, and did not come.
	 */
	produced(row: number, tokens: Tokens, now: Millis): boolean {
		const { requests } = this.#shared;
		if ((requests.flags(row) & FLAG_ANSWERED) === 0) {
			requests.setFlags(row, requests.flags(row) | FLAG_ANSWERED);
			const elapsedMs = now - this.since(row);
			this.window.learn(requests.prompt(row), elapsedMs);
			this.observer?.answered(row, this.#privileged.has(requests.queue(row)), elapsedMs, now);
			this.leaveWindow(row, now);
		} else {
			this.observer?.produced(row, now);
		}
		const before = requests.charge(row);
		const produced = requests.produced(row) + tokens;
		requests.setProduced(row, produced);
		const more = requests.charge(row) - before;
		const endpoint = this.#endpointOf(row);
		const held = (requests.flags(row) & FLAG_OBSERVED) !== 0 ? tokens : more;
		endpoint.heldTokens += held;
		if (requests.state(row) === ABORTING) endpoint.freeingTokens += held;
		if (more > 0) {
			endpoint.tokens += more;
			if ((requests.flags(row) & FLAG_AHEAD) !== 0) endpoint.aheadTokens += more;
			this.queues[requests.queue(row)]!.inFlightTokens += more;
			const cost = more * this.#shared.settings.cost.completionWeight;
			this.#shared.tree.adjust(requests.leaf(row), cost, requests.weight(row));
			this.scheduler.charge(requests.queue(row), cost, false);
			this.#meter(requests.payer(row), more, 0, now);
		}
		const { preemption } = this.#shared.settings;
		if (preemption !== undefined && endpoint.overdrawnTokens > 0)
			this.#takeBackAll(victimsOfOverdraft(endpoint, requests, preemption, now), preemption.preemptorMax);
		return more > 0 && preemption !== undefined;
	}

	/** A running row ended upstream: gives its space back and charges the difference to what was used. */
	settle(row: number, prompt: Tokens, completion: Tokens, cached: Tokens, now: Millis): void {
		const { requests, settings, tree } = this.#shared;
		const chargedTokens = requests.charge(row);
		const chargedCost = this.#chargedCost(row, chargedTokens);
		this.observer?.ended(row, completion, now);
		this.#giveBack(row, chargedTokens, now);
		const cost = costOf(settings.cost, prompt, completion, cached) - chargedCost;
		tree.release(requests.leaf(row), cost, requests.weight(row));
		if (cost !== 0) this.scheduler.charge(requests.queue(row), cost, false);
		this.#meter(requests.payer(row), prompt + completion - chargedTokens, 0, now);
		this.throughput.record(prompt + completion, now);
	}

	/** A running row goes back to wait at the head of its flow; nothing of its run is charged. */
	takeBack(row: number, now: Millis): void {
		const { requests, tree } = this.#shared;
		const chargedTokens = requests.charge(row);
		const chargedCost = this.#chargedCost(row, chargedTokens);
		this.observer?.ended(row, 0, now);
		if (requests.state(row) === ABORTING) this.wastedTokens += requests.prompt(row) + requests.produced(row);
		this.#giveBack(row, chargedTokens, now);
		tree.adjust(requests.leaf(row), -chargedCost, requests.weight(row));
		this.scheduler.charge(requests.queue(row), -chargedCost, false);
		this.#meter(requests.payer(row), -chargedTokens, -1, now);
		requests.setProduced(row, 0);
		requests.setFlags(row, requests.flags(row) & (FLAG_MAY_UPGRADE | FLAG_OBSERVED | FLAG_BUFFERED));
		requests.setEndpoint(row, -1);
		requests.setPayer(row, requests.queue(row));
		// Waits again before its run is released: a flow with nothing waiting or running could be dropped.
		this.enqueue(row, true);
		tree.release(requests.leaf(row), 0, 1);
	}

	/** Upgraded rows that ran too long, or that the lender's own traffic needs gone, go on at their own bucket's cost. */
	recharge(row: number, now: Millis): void {
		const { requests } = this.#shared;
		const lender = this.queues[requests.payer(row)]!;
		const own = this.queues[requests.queue(row)]!;
		const unspent = Math.max(0, requests.completion(row) - requests.produced(row));
		lender.tokenRate?.debit(-unspent, now);
		own.tokenRate?.debit(unspent, now);
		lender.bufferRate?.debit(-unspent, now);
		own.bufferRate?.debit(unspent, now);
		this.#reservations?.charge(requests.payer(row), -unspent, now);
		this.#reservations?.charge(requests.queue(row), unspent, now);
		lender.requestRate?.debit(-1, now);
		own.requestRate?.debit(1, now);
		this.upgrades.remove(requests.payer(row));
		requests.setPayer(row, requests.queue(row));
	}

	/** Its first token came, or would have: the timer it leaves behind is that of its upgrade. */
	leaveWindow(row: number, now: Millis): void {
		const { requests, wheel, settings } = this.#shared;
		if ((requests.flags(row) & FLAG_IN_WINDOW) === 0) return;
		requests.setFlags(row, requests.flags(row) & ~FLAG_IN_WINDOW);
		this.#endpointOf(row).prefillTokens -= requests.prompt(row);
		wheel.cancel(row);
		if (requests.payer(row) !== requests.queue(row)) {
			wheel.set(row, Math.max(now + 1, this.since(row) + settings.upgrades.maxTimeMs), now);
		}
	}

	refreshActive(queue: number): void {
		const state = this.queues[queue]!;
		const set = state.settings.bestEffort === true ? this.#bestEffort : this.active;
		if (this.waiting(queue) > 0 && !state.paused) set.add(queue);
		else set.delete(queue);
	}

	// --- the dispatch loop

	/** Milliseconds in which the request whose turn it was did not fit, until `now`. */
	heldMs(now: Millis): Millis {
		return this.blockedBy === "space" ? this.#heldMs + now - this.#heldSince : this.#heldMs;
	}

	/** Room is held and no slot is free: a request that joins can neither start nor let another start. */
	get awaitsRoom(): boolean {
		return this.blockedBy === "space" && this.#fullIsFinal && this.#isFull();
	}

	dispatchAll(now: Millis): void {
		if (this.blockedBy === "space") this.#heldMs += now - this.#heldSince;
		this.#now = now;
		this.wakeAt = Number.POSITIVE_INFINITY;
		this.#windowHeld = false;
		this.needsBoth = false;
		if (this.beside?.needsBoth === true) {
			this.blockedBy = "space";
			this.#heldSince = now;
			return;
		}
		for (;;) {
			if (!this.isUp) {
				this.blockedBy = "unavailable";
				return;
			}
			if (!this.#rateReady(this.#tokenRate) || !this.#rateReady(this.#requestRate)) {
				this.blockedBy = "rate";
				return;
			}
			// Whoever would be picked has to wait, so nobody is.
			if (this.#fullIsFinal && !this.anyGated && this.#isFull()) {
				this.#hold(this.active.isEmpty && this.#bestEffort.isEmpty ? "none" : "space", now);
				return;
			}
			let queue = this.#reservations === undefined ? -1 : this.#pickReserved(this.#reservations);
			let payer = queue;
			if (queue < 0) {
				queue = this.scheduler.pick();
				payer = this.scheduler.payer ?? queue;
			}
			if (queue < 0) {
				queue = this.#pickBestEffort();
				payer = queue;
				if (queue < 0) {
					this.blockedBy = this.#windowHeld ? "window" : this.wakeAt < Number.POSITIVE_INFINITY ? "rate" : "none";
					return;
				}
			}
			// Looking at the head here also brings it near before its turn comes.
			if (this.#fullIsFinal && this.#isFull() && this.#headCouldRun(queue)) {
				this.#hold("space", now);
				return;
			}
			const row = this.#head(queue);
			const { requests } = this.#shared;
			const sequences = requests.sequences(row);
			const tokens = requests.charge(row);
			let endpoint = this.#endpointFor(row, queue, sequences, tokens);
			if (endpoint < 0 && this.#mayPreempt(queue)) endpoint = this.#leastHeldEndpoint(row, queue);
			if (endpoint >= 0) {
				this.#dispatch(row, queue, payer, endpoint, sequences, tokens, false);
			} else if (!this.couldRun(sequences, tokens)) {
				this.#shared.cannotRun(row);
			} else if (this.#privileged.has(queue) || !this.scheduler.ignoresOrder || !this.#dispatchAhead()) {
				this.needsBoth = this.beside !== undefined && this.#needsBoth(row);
				this.#hold("space", now);
				this.#preemptFor(row, queue);
				return;
			}
		}
	}

	/** Larger than this half, which has nothing else in its way somewhere. */
	#needsBoth(row: number): boolean {
		const { requests } = this.#shared;
		if (this.#isWithin(requests.sequences(row), requests.charge(row))) return false;
		return this.endpoints.some(({ up, sequences }) => up && sequences === 0);
	}

	#hold(reason: "space" | "none", now: Millis): void {
		this.blockedBy = reason;
		this.#heldSince = now;
	}

	/** No endpoint has a slot: whatever is picked has to wait. */
	#isFull(): boolean {
		const { endpoints } = this;
		for (let at = 0; at < endpoints.length; at++) {
			const endpoint = endpoints[at]!;
			if (endpoint.up && endpoint.sequences < endpoint.sequencesMax) return false;
		}
		return true;
	}

	#pickReserved(reservations: Reservations): number {
		return reservations.pick((queue) => this.active.has(queue) && this.ready(queue), this.#now);
	}

	/** Whether an endpoint has room beyond what other queues are assured of and do not lend. */
	#leavesKept(endpoint: Endpoint, kept: number, sequences: number, tokens: Tokens): boolean {
		const { sequencesMax, tokensMax } = endpoint;
		const keptTokens = Number.isFinite(tokensMax) ? Math.floor(kept * tokensMax) : 0;
		return (
			endpoint.sequences + sequences <= sequencesMax - Math.floor(kept * sequencesMax) &&
			endpoint.tokens + tokens <= tokensMax - keptTokens
		);
	}

	#pickBestEffort(): number {
		for (let queue = this.#bestEffort.next(0); queue >= 0; queue = this.#bestEffort.next(queue + 1)) {
			if (this.open(queue)) return queue;
		}
		return -1;
	}

	/** Starts the best privileged request that fits in the headroom, ahead of its turn. */
	#dispatchAhead(): boolean {
		const { requests } = this.#shared;
		const { active } = this;
		const privileged = this.#privileged;
		for (let queue = active.nextCommon(privileged, 0); queue >= 0; queue = active.nextCommon(privileged, queue + 1)) {
			if (!this.ready(queue)) continue;
			const row = this.#head(queue);
			const sequences = requests.sequences(row);
			const tokens = requests.charge(row);
			for (let at = 0; at < this.endpoints.length; at++) {
				const endpoint = this.endpoints[at]!;
				if (endpoint.up && endpoint.fitsAhead(sequences, tokens)) {
					this.#dispatch(row, queue, queue, at, sequences, tokens, true);
					return true;
				}
			}
		}
		return false;
	}

	/**
	 * The least loaded endpoint with room, or -1. All load is known exactly here, so looking at every endpoint beats two random
	 * ones; a preferred endpoint (affinity) wins while its load is within 1.3 of the least.
	 */
	#endpointFor(row: number, queue: number, sequences: number, tokens: Tokens): number {
		const { endpoints } = this;
		const kept = this.#reservations?.keptFrom(queue, (other) => this.shareInFlight(other)) ?? 0;
		if (endpoints.length === 1) return this.#hasRoom(endpoints[0]!, row, queue, sequences, tokens, kept) ? 0 : -1;
		const preferred = this.#shared.requests.endpoint(row);
		let best = -1;
		let preferredFits = false;
		for (let at = 0; at < endpoints.length; at++) {
			const endpoint = endpoints[at]!;
			if (!this.#hasRoom(endpoint, row, queue, sequences, tokens, kept)) continue;
			if (at === preferred) preferredFits = true;
			if (best < 0 || endpoint.tokens < endpoints[best]!.tokens) best = at;
		}
		if (preferredFits && endpoints[preferred]!.tokens <= 1.3 * endpoints[best]!.tokens) return preferred;
		return best;
	}

	#mayPreempt(queue: number): boolean {
		const { preemption } = this.#shared.settings;
		return preemption !== undefined && queue <= preemption.preemptorMax;
	}

	/** The endpoint with the most room beyond what is held there, for a request that may preempt; -1 where it does not fit. */
	#leastHeldEndpoint(row: number, queue: number): number {
		const { requests } = this.#shared;
		if (!this.#headCouldRun(queue)) return -1;
		if ((this.#reservations?.keptFrom(queue, (other) => this.shareInFlight(other)) ?? 0) > 0) return -1;
		const privileged = this.#privileged.has(queue);
		let best = -1;
		let least = 0;
		for (let at = 0; at < this.endpoints.length; at++) {
			const endpoint = this.endpoints[at]!;
			if (!endpoint.up || !endpoint.fitsHeld(requests.sequences(row), privileged)) continue;
			if (!privileged && !endpoint.windowOpen(requests.prompt(row), this.window)) continue;
			const lacking = endpoint.lackingTokens(firstTokens(requests, row));
			if (lacking > least || (best >= 0 && lacking === least)) continue;
			best = at;
			least = lacking;
		}
		return best;
	}

	#hasRoom(endpoint: Endpoint, row: number, queue: number, sequences: number, tokens: Tokens, kept: number): boolean {
		if (!endpoint.up) return false;
		if (kept > 0 && !this.#leavesKept(endpoint, kept, sequences, tokens)) {
			// Larger than this half: it takes the room of both.
			if (this.beside === undefined || this.#isWithin(sequences, tokens)) return false;
		}
		if (this.#privileged.has(queue)) return endpoint.fitsPrivileged(sequences, tokens);
		if (!endpoint.fitsOrdinary(sequences, tokens)) return false;
		return this.#windowOff || endpoint.windowOpen(this.#shared.requests.prompt(row), this.window);
	}

	#dispatch(
		row: number,
		queue: number,
		payer: number,
		at: number,
		sequences: number,
		tokens: Tokens,
		ahead: boolean,
	): void {
		const { requests, tree, wheel, log, settings } = this.#shared;
		const now = this.#now;
		const endpoint = this.endpoints[at]!;
		const state = this.queues[queue]!;
		const cost = this.#costOf(row);
		const waitMs = now - requests.arrival(row);
		const privileged = this.#privileged.has(queue);
		const before = requests.flags(row);
		if ((before & FLAG_EXPECTED) !== 0) this.#shared.starts.started(requests.ticketOf(row), waitMs);
		const inWindow = !this.#windowOff && (!privileged || !this.scheduler.ignoresOrder);
		requests.setFlags(row, (before & ~FLAG_EXPECTED) | (ahead ? FLAG_AHEAD : 0) | (inWindow ? FLAG_IN_WINDOW : 0));
		requests.setState(row, RUNNING);
		requests.setEndpoint(row, at);
		requests.setPayer(row, payer);
		wheel.cancel(row);
		tree.dispatch(requests.leaf(row), row, cost, requests.weight(row));
		requests.setNext(row, endpoint.started(row, now));
		this.#shared.leftQueue(row);
		endpoint.sequences += sequences;
		endpoint.tokens += tokens;
		endpoint.heldTokens += firstTokens(requests, row);
		if (ahead) {
			endpoint.aheadSequences += sequences;
			endpoint.aheadTokens += tokens;
		}
		state.waitingTokens -= tokens;
		state.inFlight += sequences;
		state.inFlightTokens += tokens;
		state.dispatched++;
		state.waitMsTotal += waitMs;
		const observed = (before & FLAG_OBSERVED) !== 0;
		if (this.observer !== undefined) {
			const prompt = requests.prompt(row) - requests.cached(row);
			this.observer.dispatched(row, sequences, prompt, observed, privileged, waitMs, now);
		}
		if (inWindow) endpoint.prefillTokens += requests.prompt(row);
		if (payer !== queue) {
			this.upgrades.add(payer, requests.ticketOf(row), queue);
			this.upgrades.compact(payer, (ticket) => this.isUpgraded(ticket, payer));
		}
		if (inWindow && !observed) wheel.set(row, now + this.window.expectedMs(requests.prompt(row)), now);
		else if (payer !== queue) wheel.set(row, now + settings.upgrades.maxTimeMs, now);
		this.#meter(payer, tokens, 1, now);
		if (this.waiting(queue) === 0) this.refreshActive(queue);
		this.scheduler.charge(queue, cost, true);
		log.push("dispatch", requests.ticketOf(row), this.index, queue, payer, at, "none", waitMs);
	}

	#preemptFor(row: number, queue: number): void {
		const { settings, requests } = this.#shared;
		const preemption = settings.preemption;
		if (preemption === undefined || !this.#mayPreempt(queue)) return;
		this.#takeBackAll(chooseVictims(this.endpoints, requests, preemption, row, this.#now), queue);
	}

	#takeBackAll(victims: readonly number[], queue: number): void {
		const { requests, log } = this.#shared;
		for (const victim of victims) {
			requests.setState(victim, ABORTING);
			const endpoint = this.#endpointOf(victim);
			endpoint.freeingSequences += requests.sequences(victim);
			endpoint.freeingTokens += heldTokens(requests, victim);
			this.preemptions++;
			log.push(
				"preempt",
				requests.ticketOf(victim),
				this.index,
				requests.queue(victim),
				queue,
				requests.endpoint(victim),
				"preemption",
				0,
			);
		}
	}

	// --- arithmetic

	#head(queue: number): number {
		const row = this.#shared.tree.peek(this.queues[queue]!.root);
		if (row < 0) throw new InvariantError(`queue ${queue} is active and empty`);
		return row;
	}

	#headCouldRun(queue: number): boolean {
		const { requests } = this.#shared;
		const row = this.#head(queue);
		return this.couldRun(requests.sequences(row), requests.charge(row));
	}

	#costOf(row: number): Cost {
		const { requests, settings } = this.#shared;
		return costOf(settings.cost, requests.prompt(row), requests.completion(row), requests.cached(row));
	}

	/** What a running row has been charged so far. */
	#chargedCost(row: number, chargedTokens: Tokens): Cost {
		const { requests, settings } = this.#shared;
		const prompt = requests.prompt(row);
		return costOf(settings.cost, prompt, chargedTokens - prompt, requests.cached(row));
	}

	/** Debits all rates that a payer's tokens and requests count in. */
	#meter(payer: number, tokens: Tokens, requests: number, now: Millis): void {
		if (!this.#metered) return;
		const paying = this.queues[payer]!;
		if (tokens !== 0) {
			paying.tokenRate?.debit(tokens, now);
			paying.bufferRate?.debit(tokens, now);
			this.#reservations?.charge(payer, tokens, now);
			this.#tokenRate?.debit(tokens, now);
		}
		if (requests !== 0) {
			paying.requestRate?.debit(requests, now);
			this.#requestRate?.debit(requests, now);
		}
	}

	#giveBack(row: number, tokens: Tokens, now: Millis): void {
		const { requests, wheel } = this.#shared;
		const flags = requests.flags(row);
		if ((flags & FLAG_IN_WINDOW) !== 0) this.leaveWindow(row, now);
		wheel.cancel(row);
		const endpoint = this.#endpointOf(row);
		const sequences = requests.sequences(row);
		endpoint.sequences -= sequences;
		endpoint.tokens -= tokens;
		const held = heldTokens(requests, row);
		endpoint.heldTokens -= held;
		if ((flags & FLAG_AHEAD) !== 0) {
			endpoint.aheadSequences -= sequences;
			endpoint.aheadTokens -= tokens;
		}
		if (requests.state(row) === ABORTING) {
			endpoint.freeingSequences -= sequences;
			endpoint.freeingTokens -= held;
		}
		const moved = endpoint.ended(requests.next(row));
		if (moved >= 0) requests.setNext(moved, requests.next(row));
		const queue = requests.queue(row);
		const state = this.queues[queue]!;
		state.inFlight -= sequences;
		state.inFlightTokens -= tokens;
		const payer = requests.payer(row);
		if (payer !== queue) this.upgrades.remove(payer);
	}

	#endpointOf(row: number): Endpoint {
		return this.endpoints[this.#shared.requests.endpoint(row)]!;
	}

	#rateReady(bucket: RateBucket | undefined): boolean {
		if (bucket === undefined || bucket.isReady(this.#now)) return true;
		const at = bucket.readyAt(this.#now);
		if (at < this.wakeAt) this.wakeAt = at;
		return false;
	}
}

/** A ceiling after a change: what was consumed before still counts. */
function changedRate(
	bucket: RateBucket | undefined,
	ratePerSec: number,
	burstSeconds: number,
	now: Millis,
): RateBucket | undefined {
	const changed = rateBucket(ratePerSec, burstSeconds, 1, now);
	if (bucket === undefined || changed === undefined) return changed;
	bucket.configure(ratePerSec, Math.max(1, ratePerSec * burstSeconds), now);
	return bucket;
}
