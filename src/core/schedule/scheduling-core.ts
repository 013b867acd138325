/**
 * The scheduling core: events in, decisions out. One core owns all pools of a process.
 *
 * Pure: no I/O, clock, timer, promise, randomness. `now` is an argument and never decreases. After every event the caller drains
 * `next()` and arms one timer for `nextWakeAt()`. What it decides, in this order: which queue (the scheduler), which flow inside
 * it (the flow tree), whether it fits and where (endpoints). See docs/decisions/0002-capacity.md for what capacity is.
 *
 * @example
 * ```ts
 * const core = new SchedulingCore(coreSettings({ queues: priorityQueues({ levels: 5, defaultPriority: 4 }) }));
 * const ticket = core.submit(submitRequest({ flow: flowPath(["acme"]), promptTokens: 100, completionTokens: 50 }), 0);
 * for (let decision = core.next(); decision !== undefined; decision = core.next()) console.log(decision.kind); // → dispatch
 * core.finish(ticket, { promptTokens: 100, completionTokens: 42, cachedTokens: 0 }, 10);
 * ```
 */
import { rateBucket } from "../capacity/rate-bucket.ts";
import { InvariantError } from "../model/invariant-error.ts";
import type { Millis, Tokens } from "../model/units.ts";
import { Admission } from "./admission.ts";
import { type CapacitySettings, type CoreSettings, scaledCapacity } from "./core-settings.ts";
import type { Decision, Reason, Ticket } from "./decision.ts";
import { DecisionLog } from "./decision-log.ts";
import { FlowTree } from "./flow-tree.ts";
import { type HalfCapacity, halfAt, type OtherPlace, splitCapacity } from "./halves.ts";
import { type Outlook, outlook } from "./outlook.ts";
import { Pool, type QueueState, type Shared } from "./pool.ts";
import {
	ABORTING,
	FLAG_EXPECTED,
	FLAG_IN_WINDOW,
	FLAG_MAY_UPGRADE,
	RequestTable,
	RUNNING,
	WAITING,
} from "./request-table.ts";
import { type CoreSnapshot, snapshotOf } from "./snapshot.ts";
import { expectedStartMs, type StartEstimate, StartHistory, type Whereabouts } from "./start-estimate.ts";
import type { SubmitRequest } from "./submit-request.ts";
import { TimingWheel } from "./timing-wheel.ts";

/** Token counts of a request that ended. */
export interface FinalUsage {
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly cachedTokens: Tokens;
}

/** What may be changed of a queue while requests wait. Absent keeps the value. */
export interface QueueChange {
	readonly maxDepth?: number;
	readonly timeoutMs?: Millis;
	readonly weight?: number;
	readonly limitTps?: number;
	/** 0 for none. */
	readonly reservedTps?: number;
	readonly limitRps?: number;
}

export class SchedulingCore {
	readonly settings: CoreSettings;
	readonly pools: readonly Pool[];
	readonly #requests = new RequestTable();
	readonly #tree = new FlowTree(this.#requests);
	readonly #wheel = new TimingWheel(this.#requests);
	readonly #log = new DecisionLog();
	readonly #admission: Admission;
	readonly #starts = new StartHistory();
	readonly #whereabouts: Whereabouts;
	/** Per pool, what was configured: `scaleCapacity` works on top of it. */
	readonly #configured: CapacitySettings[];
	#halves: readonly HalfCapacity[] | undefined;
	#capacityFactor = 1;
	#now: Millis = 0;

	constructor(settings: CoreSettings) {
		this.settings = settings;
		const admission = new Admission(settings, this.#requests, this.#tree);
		this.#admission = admission;
		const shared = {
			settings,
			requests: this.#requests,
			tree: this.#tree,
			wheel: this.#wheel,
			log: this.#log,
			starts: this.#starts,
			bufferRate: rateBucket(settings.buffer?.tokensPerSec, settings.buffer?.burstSeconds ?? 0, 1, 0),
			leftQueue: (row: number) => admission.left(row),
			cannotRun: (row: number) => this.#moveOrEvict(row),
		};
		this.#whereabouts = shared;
		this.pools = poolsOf(settings, shared);
		admission.pools = this.pools;
		this.#halves = settings.halves;
		this.#configured = settings.pools.map(({ capacity }) => capacity);
	}

	// --- events of requests

	/** Takes a request in. Its ticket's own decision (`dispatch`, `wait` or `shed`) is among those that `next` then gives. */
	submit(asked: SubmitRequest, now: Millis): Ticket {
		this.#tick(now);
		const requests = this.#requests;
		const request = this.#placed(asked);
		const pool = this.#poolFor(request);
		const queue = pool.queues[request.queue];
		if (queue === undefined) throw new InvariantError(`no queue ${request.queue}: there are ${pool.count}`);
		const row = requests.add(request, pool.index, now);
		const ticket = requests.ticketOf(row);
		const tokens = request.promptTokens + request.completionTokens;
		if (!pool.couldRun(request.sequences, tokens)) {
			this.#refuse(row, "exceeds_capacity");
			return ticket;
		}
		if (request.startWithinMs !== Number.POSITIVE_INFINITY) {
			if (this.#estimate(pool, request).p50Ms > request.startWithinMs) {
				this.#refuse(row, "deadline_unmeetable");
				return ticket;
			}
		}
		requests.setLeaf(row, this.#tree.leaf(queue.root, request.flow));
		pool.enqueue(row, false);
		queue.enqueued++;
		this.#admission.joined(row);
		if (request.timeoutMs !== Number.POSITIVE_INFINITY) this.#wheel.set(row, now + request.timeoutMs, now);
		if (!pool.awaitsRoom) this.#dispatch(pool, now);
		if (requests.state(row) === WAITING) {
			// Bounds are on waiting: one that starts at once needs no place in the queue.
			const victim = this.#admission.overflow(row, request.depthMultiplier);
			if (victim >= 0) {
				const own = victim === row;
				const victimPool = this.pools[requests.pool(victim)]!;
				this.#end(victim, own ? "shed" : "evict", own ? "queue_full" : "displaced");
				// It may have been the one that room was held for.
				this.#dispatch(victimPool, now);
				if (own || requests.state(row) !== WAITING) return ticket;
			}
			if (this.#starts.wantsSample && !queue.paused) {
				this.#starts.expect(ticket, expectedStartMs(pool, this.#whereabouts, request, now));
				requests.setFlags(row, requests.flags(row) | FLAG_EXPECTED);
			}
			const reason = queue.paused ? "paused" : pool.blockedBy === "none" ? "behind" : pool.blockedBy;
			this.#log.push("wait", ticket, pool.index, request.queue, request.queue, -1, reason, 0);
		}
		return ticket;
	}

	/** `tokens` more were produced for a running request; the first call is its first token. */
	produced(ticket: Ticket, tokens: Tokens, now: Millis): void {
		const row = this.#rowIn(ticket, "produced");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		const leavesWindow = (this.#requests.flags(row) & FLAG_IN_WINDOW) !== 0;
		const outgrew = pool.produced(row, tokens, now);
		// With several endpoints a pick can be kept back by the window of one and the space of another.
		if ((leavesWindow || outgrew) && pool.blockedBy !== "none") this.#dispatch(pool, now);
	}

	/** A running request ended upstream, well or not, having used `usage`. */
	finish(ticket: Ticket, usage: FinalUsage, now: Millis): void {
		const row = this.#rowIn(ticket, "finish");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		pool.settle(row, usage.promptTokens, usage.completionTokens, usage.cachedTokens, now);
		this.#requests.free(row);
		this.#dispatch(pool, now);
	}

	/**
	 * The client is gone. A waiting request leaves its queue; a running one is settled with what it has produced, so call this
	 * for it only when its upstream no longer works on it.
	 */
	cancel(ticket: Ticket, now: Millis): void {
		const row = this.#requests.rowOf(ticket);
		if (row < 0) throw new InvariantError(`cannot cancel ticket ${ticket}: it is over`);
		this.#tick(now);
		const requests = this.#requests;
		const pool = this.pools[requests.pool(row)]!;
		if (requests.state(row) === WAITING) pool.leave(row);
		else pool.settle(row, requests.prompt(row), requests.produced(row), requests.cached(row), now);
		requests.free(row);
		this.#dispatch(pool, now);
	}

	/** A dispatch came to nothing before its client saw anything: it goes back to the head of its flow, uncharged. */
	takeBack(ticket: Ticket, now: Millis): void {
		const row = this.#rowIn(ticket, "take back");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		this.#requeue(row, pool, "retry", now);
		this.#dispatch(pool, now);
	}

	/**
	 * A `preempt` was carried out. Without `delivered` the client saw nothing: the request waits again, or is evicted when it was
	 * taken back too often. With it, the stream was cut and is settled with what it delivered.
	 */
	aborted(ticket: Ticket, now: Millis, delivered?: FinalUsage): void {
		const row = this.#rowIn(ticket, "end the abort of");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		if (delivered === undefined) {
			this.#requests.setRequeues(row, this.#requests.requeues(row) + 1);
			this.#requeue(row, pool, "preemption", now);
		} else {
			pool.settle(row, delivered.promptTokens, delivered.completionTokens, delivered.cachedTokens, now);
			this.#requests.free(row);
		}
		this.#dispatch(pool, now);
	}

	// --- time

	/** Expires what is due and dispatches what a rate ceiling had kept back. */
	advance(now: Millis): void {
		this.#tick(now);
		for (let row = this.#wheel.expire(now); row >= 0; row = this.#wheel.expire(now)) this.#timer(row, now);
		for (const pool of this.pools) if (pool.wakeAt <= now) this.#dispatch(pool, now);
	}

	/** When `advance` next has something to do; `Infinity` when nothing is due. */
	nextWakeAt(): Millis {
		let at = this.#wheel.nextAt();
		for (const pool of this.pools) if (pool.wakeAt < at) at = pool.wakeAt;
		return at;
	}

	/** The next decision, or undefined. The object is reused. */
	next(): Decision | undefined {
		return this.#log.next();
	}

	// --- operation

	pause(pool: number, queue: number): void {
		this.#queue(pool, queue).paused = true;
		this.pools[pool]!.refreshActive(queue);
		// Room may have been held for its head.
		this.#dispatch(this.pools[pool]!, this.#now);
	}

	resume(pool: number, queue: number, now: Millis): void {
		this.#tick(now);
		this.#queue(pool, queue).paused = false;
		this.pools[pool]!.refreshActive(queue);
		this.#dispatch(this.pools[pool]!, now);
	}

	/** Evicts everything that waits in a queue; returns how many. */
	clear(pool: number, queue: number, now: Millis): number {
		this.#tick(now);
		const { root } = this.#queue(pool, queue);
		let count = 0;
		for (let row = this.#tree.peek(root); row >= 0; row = this.#tree.peek(root)) {
			this.#end(row, "evict", "queue_cleared");
			count++;
		}
		this.#dispatch(this.pools[pool]!, now);
		return count;
	}

	/** Changes a queue with requests waiting; a new timeout is for requests that come after. */
	configureQueue(pool: number, queue: number, change: QueueChange, now: Millis): void {
		this.#tick(now);
		const state = this.#queue(pool, queue);
		const target = this.pools[pool]!;
		if (change.maxDepth !== undefined) state.maxDepth = change.maxDepth;
		if (change.timeoutMs !== undefined) state.timeoutMs = change.timeoutMs;
		if (change.weight !== undefined) {
			target.weights[queue] = change.weight;
			target.weightsChanged();
		}
		target.limitQueue(state, change, now);
		this.#dispatch(target, now);
	}

	/** `maxQueueDepth` per rule index, for requests that come from now on. `moved`: the index now of each index before, -1 of a rule that is gone. */
	configureRules(depths: readonly number[], moved: readonly number[]): void {
		this.#admission.replaceRules(depths, moved);
	}

	/** Of a whole pool: in a core with halves, each then has its share of it. */
	configureCapacity(pool: number, change: Partial<CapacitySettings>, now: Millis): void {
		this.#tick(now);
		this.#configured[pool] = { ...this.#configured[pool]!, ...change };
		this.#setRoom(pool, now);
		this.#dispatchBoth(this.pools[pool]!, now);
	}

	/**
	 * Other shares of the halves, in the order of `settings.halves`. What waits follows its account into the half that is its account's now,
	 * in the order of arrival and with the same deadline; what runs goes on where it is.
	 */
	configureHalves(halves: readonly HalfCapacity[], now: Millis): void {
		if (this.#halves === undefined) throw new InvariantError("this core has no halves");
		this.#tick(now);
		this.#halves = halves;
		for (let pool = 0; pool < this.#configured.length; pool++) this.#setRoom(pool, now);
		this.#reroute();
		for (const pool of this.pools) this.#dispatch(pool, now);
	}

	/** What `configureCapacity` was told last, before any scaling. */
	configuredCapacity(pool: number): CapacitySettings {
		return this.#configured[pool]!;
	}

	/** Room and rates of all pools are this many times what is configured, now and whatever is configured later. */
	scaleCapacity(factor: number, now: Millis): void {
		this.#capacityFactor = factor;
		for (let pool = 0; pool < this.#configured.length; pool++) this.configureCapacity(pool, {}, now);
	}

	/** Of a pool with halves: for both, whichever is named. */
	endpointUp(pool: number, endpoint: number, now: Millis): void {
		this.#tick(now);
		this.#setUp(this.pools[pool]!, endpoint, true);
		// What found no healthy pool before may find this one.
		for (const other of this.pools) if (!other.isUp) this.#failOver(other, now);
		this.#dispatchBoth(this.pools[pool]!, now);
	}

	/** An endpoint no longer takes requests. When its pool has none left, waiting requests move on to their next healthy pool. */
	endpointDown(pool: number, endpoint: number, now: Millis): void {
		this.#tick(now);
		const from = this.pools[pool]!;
		this.#setUp(from, endpoint, false);
		if (from.isUp) return;
		this.#failOver(from, now);
		if (from.beside !== undefined) this.#failOver(from.beside, now);
	}

	// --- looking in

	/** What belongs to each half now; absent without halves. */
	get halves(): readonly HalfCapacity[] | undefined {
		return this.#halves;
	}

	/** Requests that wait, in all pools. */
	get waitingCount(): number {
		return this.#admission.waiting;
	}

	/** Body bytes of what waits, in all pools. */
	get waitingBytes(): number {
		return this.#admission.waitingBytes;
	}

	/** Requests that wait under a rule, by its index. */
	waitingUnder(rule: number): number {
		return this.#admission.waitingUnder(rule);
	}

	/** Requests alive: waiting and running. */
	get requestCount(): number {
		return this.#requests.used;
	}

	/** Nodes of the flow tree: grows with flows that wait, run or owe, not with flows ever seen. */
	get flowNodeCount(): number {
		return this.#tree.nodeCount;
	}

	/** Exact count of heap moves so far, for tests of growth. */
	get heapMoves(): number {
		return this.#tree.heapMoves;
	}

	/** What it sees now, as plain data. */
	snapshot(): CoreSnapshot {
		return snapshotOf(this.pools, this.#requests, this.#tree, this.waitingCount, this.#now);
	}

	isWaiting(ticket: Ticket): boolean {
		const row = this.#requests.rowOf(ticket);
		return row >= 0 && this.#requests.state(row) === WAITING;
	}

	/** When a request that joins now would start, from now. Rough; costs nothing unless asked. */
	estimateStart(asked: SubmitRequest): StartEstimate {
		const request = this.#placed(asked);
		return this.#estimate(this.#poolFor(request), request);
	}

	/** What would become of a request submitted now; nothing is changed. */
	outlook(asked: SubmitRequest, now: Millis): Outlook {
		const request = this.#placed(asked);
		const pool = this.#poolFor(request);
		return outlook(pool, request, this.#estimate(pool, request).p50Ms, now);
	}

	// --- inside

	#estimate(pool: Pool, request: SubmitRequest): StartEstimate {
		return this.#starts.estimate(expectedStartMs(pool, this.#whereabouts, request, this.#now));
	}

	#tick(now: Millis): void {
		if (now < this.#now) throw new InvariantError(`time went back from ${this.#now} to ${now}`);
		this.#now = now;
	}

	#rowIn(ticket: Ticket, action: string): number {
		const row = this.#requests.rowOf(ticket);
		const state = row < 0 ? -1 : this.#requests.state(row);
		if (state !== RUNNING && state !== ABORTING) {
			throw new InvariantError(`cannot ${action} ticket ${ticket}: it is ${state === WAITING ? "waiting" : "over"}`);
		}
		return row;
	}

	#queue(pool: number, queue: number): QueueState {
		const state = this.pools[pool]?.queues[queue];
		if (state === undefined) throw new InvariantError(`no queue ${queue} in pool ${pool}`);
		return state;
	}

	/** The first healthy pool that could ever run it; the first at all when none is healthy. */
	#poolFor(request: SubmitRequest): Pool {
		const tokens = request.promptTokens + request.completionTokens;
		for (const index of request.pools) {
			const pool = this.pools[index]!;
			if (pool.isUp && pool.couldRun(request.sequences, tokens)) return pool;
		}
		return this.pools[request.pools[0]!]!;
	}

	/** As it was submitted, or in the other half when only that one could ever run it. */
	#placed(request: SubmitRequest): SubmitRequest {
		const { other, sequences } = request;
		if (other === undefined) return request;
		const tokens = request.promptTokens + request.completionTokens;
		const could = (index: number) => this.pools[index]!.couldRun(sequences, tokens);
		if (request.pools.some(could) || !other.pools.some(could)) return request;
		return {
			...request,
			pools: other.pools,
			queue: other.queue,
			mayUpgrade: other.mayUpgrade,
			other: { ...other, pools: request.pools, queue: request.queue, mayUpgrade: request.mayUpgrade },
		};
	}

	/** Ends a request that never got a leaf. */
	#refuse(row: number, reason: Reason): void {
		const requests = this.#requests;
		const queue = requests.queue(row);
		this.pools[requests.pool(row)]!.queues[queue]!.dropped++;
		this.#log.push("shed", requests.ticketOf(row), requests.pool(row), queue, queue, -1, reason, 0);
		requests.free(row);
	}

	/** Ends a waiting request. */
	#end(row: number, kind: "shed" | "evict", reason: Reason): void {
		const requests = this.#requests;
		const pool = this.pools[requests.pool(row)]!;
		const queue = requests.queue(row);
		pool.leave(row);
		if (reason === "queue_timeout") pool.queues[queue]!.timedOut++;
		else pool.queues[queue]!.dropped++;
		const waitMs = this.#now - requests.arrival(row);
		this.#log.push(kind, requests.ticketOf(row), pool.index, queue, queue, -1, reason, waitMs);
		requests.free(row);
	}

	#requeue(row: number, pool: Pool, reason: Reason, now: Millis): void {
		const requests = this.#requests;
		const queue = requests.queue(row);
		requests.setTimeout(row, requests.timeout(row) + (now - pool.since(row)));
		pool.takeBack(row, now);
		this.#admission.joined(row);
		if (requests.timeout(row) !== Number.POSITIVE_INFINITY) {
			this.#wheel.set(row, Math.max(requests.arrival(row) + requests.timeout(row), now + 1), now);
		}
		this.#log.push(
			"requeue",
			requests.ticketOf(row),
			pool.index,
			queue,
			queue,
			-1,
			reason,
			now - requests.arrival(row),
		);
		if (!pool.isUp) this.#failOverRow(row, pool);
	}

	#timer(row: number, now: Millis): void {
		const requests = this.#requests;
		const pool = this.pools[requests.pool(row)]!;
		if (requests.state(row) === WAITING) {
			this.#end(row, "evict", "queue_timeout");
		} else if ((requests.flags(row) & FLAG_IN_WINDOW) !== 0) {
			pool.leaveWindow(row, now);
		} else if (requests.payer(row) !== requests.queue(row)) {
			pool.recharge(row, now);
		}
		this.#dispatch(pool, now);
	}

	#failOver(from: Pool, now: Millis): void {
		const requests = this.#requests;
		const targets = new Set<Pool>();
		for (const row of requests.alternatives.keys()) {
			if (requests.state(row) !== WAITING || requests.pool(row) !== from.index) continue;
			const target = this.#alternativeFor(row, from);
			if (target === undefined) continue;
			this.#move(row, from, target);
			targets.add(target);
		}
		for (const pool of targets) this.#dispatch(pool, now);
	}

	#failOverRow(row: number, from: Pool): void {
		const target = this.#alternativeFor(row, from);
		if (target === undefined) return;
		this.#move(row, from, target);
		target.dispatchAll(this.#now);
	}

	/** Another healthy pool that could run a waiting row. */
	#alternativeFor(row: number, from: Pool): Pool | undefined {
		return this.#healthyOf(row, this.#requests.alternatives.get(row)?.pools, from);
	}

	#healthyOf(row: number, pools: readonly number[] | undefined, from: Pool): Pool | undefined {
		const requests = this.#requests;
		const tokens = requests.charge(row);
		const index = pools?.find((at) => {
			const pool = this.pools[at]!;
			return pool !== from && pool.isUp && pool.couldRun(requests.sequences(row), tokens);
		});
		return index === undefined ? undefined : this.pools[index];
	}

	// --- halves

	/** In a pool, and in its other half if that waits for room, or need not hold it any more. */
	#dispatch(pool: Pool, now: Millis): void {
		pool.dispatchAll(now);
		const { beside } = pool;
		if (beside === undefined) return;
		if (beside.blockedBy === "space") beside.dispatchAll(now);
		if (pool.blockedBy === "space" && !beside.needsBoth) pool.dispatchAll(now);
	}

	/** All of it may have changed, not only its room. */
	#dispatchBoth(pool: Pool, now: Millis): void {
		this.#dispatch(pool, now);
		if (pool.beside !== undefined) this.#dispatch(pool.beside, now);
	}

	#setUp(pool: Pool, endpoint: number, up: boolean): void {
		pool.setUp(endpoint, up);
		pool.beside?.setUp(endpoint, up);
	}

	/** Both halves at once: between the two, one would see room that the other still has. */
	#setRoom(pool: number, now: Millis): void {
		const whole = scaledCapacity(this.#configured[pool]!, this.#capacityFactor);
		if (this.#halves === undefined) {
			this.pools[pool]!.configure(whole, now);
			return;
		}
		for (const [half, capacity] of splitCapacity(whole, this.#halves).entries())
			this.pools[half * this.#configured.length + pool]!.configure(capacity, now);
	}

	/** Moves what waits to the half of its account. */
	#reroute(): void {
		const requests = this.#requests;
		const moving: number[] = [];
		for (const [row, { other }] of requests.alternatives) {
			if (other === undefined || requests.state(row) !== WAITING) continue;
			const half = Math.floor(requests.pool(row) / this.#configured.length);
			if (halfAt(other.point, this.#halves!) !== half) moving.push(row);
		}
		moving.sort((a, b) => requests.arrival(a) - requests.arrival(b));
		for (const row of moving) this.#cross(row);
	}

	/** Into the other half, if that could run it; whether it could. */
	#cross(row: number): boolean {
		const requests = this.#requests;
		const { pools, other } = requests.alternatives.get(row) ?? {};
		if (pools === undefined || other === undefined) return false;
		const from = this.pools[requests.pool(row)]!;
		const could = (at: number) => this.pools[at]!.couldRun(requests.sequences(row), requests.charge(row));
		const to = this.#healthyOf(row, other.pools, from) ?? this.pools[other.pools.find(could) ?? -1];
		if (to === undefined) return false;
		const queue = requests.queue(row);
		const mayUpgrade = (requests.flags(row) & FLAG_MAY_UPGRADE) !== 0;
		this.#move(row, from, to, other);
		requests.alternatives.set(row, { pools: other.pools, other: { point: other.point, pools, queue, mayUpgrade } });
		return true;
	}

	/** Capacity shrank below what a waiting row needs: held for ever, it would block all behind it. */
	#moveOrEvict(row: number): void {
		const from = this.pools[this.#requests.pool(row)]!;
		if (this.#alternativeFor(row, from) !== undefined) this.#failOverRow(row, from);
		else if (this.#cross(row)) this.pools[this.#requests.pool(row)]!.dispatchAll(this.#now);
		else this.#end(row, "evict", "exceeds_capacity");
	}

	/** @param place in the other half; absent when it stays in its own */
	#move(row: number, from: Pool, to: Pool, place?: OtherPlace): void {
		const requests = this.#requests;
		const dueAt = requests.timerSlot(row) >= 0 ? requests.dueAt(row) : Number.POSITIVE_INFINITY;
		const path = this.#tree.pathOf(requests.leaf(row));
		from.leave(row);
		if (place !== undefined) {
			requests.setQueue(row, place.queue);
			const flags = requests.flags(row) & ~FLAG_MAY_UPGRADE;
			requests.setFlags(row, place.mayUpgrade ? flags | FLAG_MAY_UPGRADE : flags);
		}
		const queue = requests.queue(row);
		requests.setPool(row, to.index);
		requests.setEndpoint(row, -1);
		requests.setLeaf(row, this.#tree.leaf(to.queues[queue]!.root, path));
		to.enqueue(row, false);
		this.#admission.joined(row);
		if (dueAt !== Number.POSITIVE_INFINITY) this.#wheel.set(row, dueAt, this.#now);
		this.#log.push(
			"requeue",
			requests.ticketOf(row),
			to.index,
			queue,
			queue,
			-1,
			place === undefined ? "failover" : "rerouted",
			this.#now - requests.arrival(row),
		);
	}
}

/** The pools of the settings; with halves, those of the first half and then those of the second. */
function poolsOf(settings: CoreSettings, shared: Shared): readonly Pool[] {
	const { halves } = settings;
	if (halves === undefined) return settings.pools.map((pool, index) => new Pool(index, pool, shared));
	const pools = halves.flatMap(({ allocator, queues }, half) =>
		settings.pools.map(({ name, endpoints, capacity }, at) => {
			const own = { name: `${name}:${allocator}`, endpoints, capacity: splitCapacity(capacity, halves)[half]! };
			const parts = { ...shared, settings: { ...settings, allocator, queues } };
			return new Pool(half * settings.pools.length + at, own, parts);
		}),
	);
	for (const [at, pool] of pools.entries()) pool.putBeside(pools[(at + settings.pools.length) % pools.length]!);
	return pools;
}
