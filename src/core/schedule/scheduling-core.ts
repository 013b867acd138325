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
import { type Outlook, outlook } from "./outlook.ts";
import { Pool, type QueueState } from "./pool.ts";
import { ABORTING, FLAG_IN_WINDOW, RequestTable, RUNNING, WAITING } from "./request-table.ts";
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
			bufferRate: rateBucket(settings.buffer?.tokensPerSec, settings.buffer?.burstSeconds ?? 0, 1, 0),
			leftQueue: (row: number) => admission.left(row),
			cannotRun: (row: number) => this.#moveOrEvict(row),
		};
		this.#whereabouts = shared;
		this.pools = settings.pools.map((pool, index) => new Pool(index, pool, shared));
		admission.pools = this.pools;
		this.#configured = settings.pools.map(({ capacity }) => capacity);
	}

	// --- events of requests

	/** Takes a request in. Its ticket's own decision (`dispatch`, `wait` or `shed`) is among those that `next` then gives. */
	submit(request: SubmitRequest, now: Millis): Ticket {
		this.#tick(now);
		const requests = this.#requests;
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
		pool.dispatchAll(now);
		if (requests.state(row) === WAITING) {
			// Bounds are on waiting: one that starts at once needs no place in the queue.
			const victim = this.#admission.overflow(row, request.depthMultiplier);
			if (victim >= 0) {
				const own = victim === row;
				const victimPool = this.pools[requests.pool(victim)]!;
				this.#end(victim, own ? "shed" : "evict", own ? "queue_full" : "displaced");
				// It may have been the one that room was held for.
				victimPool.dispatchAll(now);
				if (own || requests.state(row) !== WAITING) return ticket;
			}
			if (this.#starts.wantsSample && !queue.paused) {
				this.#starts.expect(ticket, expectedStartMs(pool, this.#whereabouts, request, now));
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
		pool.produced(row, tokens, now);
		// With several endpoints a pick can be kept back by the window of one and the space of another.
		if (leavesWindow && pool.blockedBy !== "none") pool.dispatchAll(now);
	}

	/** A running request ended upstream, well or not, having used `usage`. */
	finish(ticket: Ticket, usage: FinalUsage, now: Millis): void {
		const row = this.#rowIn(ticket, "finish");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		pool.settle(row, usage.promptTokens, usage.completionTokens, usage.cachedTokens, now);
		this.#requests.free(row);
		pool.dispatchAll(now);
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
		this.#starts.forget(ticket);
		if (requests.state(row) === WAITING) pool.leave(row);
		else pool.settle(row, requests.prompt(row), requests.produced(row), requests.cached(row), now);
		requests.free(row);
		pool.dispatchAll(now);
	}

	/** A dispatch came to nothing before its client saw anything: it goes back to the head of its flow, uncharged. */
	takeBack(ticket: Ticket, now: Millis): void {
		const row = this.#rowIn(ticket, "take back");
		this.#tick(now);
		const pool = this.pools[this.#requests.pool(row)]!;
		this.#requeue(row, pool, "retry", now);
		pool.dispatchAll(now);
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
		pool.dispatchAll(now);
	}

	// --- time

	/** Expires what is due and dispatches what a rate ceiling had kept back. */
	advance(now: Millis): void {
		this.#tick(now);
		for (let row = this.#wheel.expire(now); row >= 0; row = this.#wheel.expire(now)) this.#timer(row, now);
		for (const pool of this.pools) if (pool.wakeAt <= now) pool.dispatchAll(now);
	}

	/** When `advance` next has something to do; `Infinity` when nothing is due. */
	nextWakeAt(): Millis {
		let at = this.#wheel.nextAt();
		for (const pool of this.pools) if (pool.wakeAt < at) at = pool.wakeAt;
		return at;
	}

	/** The next decision, or undefined. The object is reused. */
	next(): Decision | undefined {
		const decision = this.#log.next();
		if (decision !== undefined && this.#starts.size > 0) this.#learnStart(decision);
		return decision;
	}

	// --- operation

	pause(pool: number, queue: number): void {
		this.#queue(pool, queue).paused = true;
		this.pools[pool]!.refreshActive(queue);
		// Room may have been held for its head.
		this.pools[pool]!.dispatchAll(this.#now);
	}

	resume(pool: number, queue: number, now: Millis): void {
		this.#tick(now);
		this.#queue(pool, queue).paused = false;
		this.pools[pool]!.refreshActive(queue);
		this.pools[pool]!.dispatchAll(now);
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
		this.pools[pool]!.dispatchAll(now);
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
		target.dispatchAll(now);
	}

	/** `maxQueueDepth` per rule index, for requests that come from now on. */
	configureRules(depths: readonly number[]): void {
		this.#admission.replaceRules(depths);
	}

	configureCapacity(pool: number, change: Partial<CapacitySettings>, now: Millis): void {
		this.#tick(now);
		const configured = { ...this.#configured[pool]!, ...change };
		this.#configured[pool] = configured;
		const target = this.pools[pool]!;
		target.configure(scaledCapacity(configured, this.#capacityFactor), now);
		target.dispatchAll(now);
	}

	/** What `configureCapacity` was told last, before any scaling. */
	configuredCapacity(pool: number): CapacitySettings {
		return this.#configured[pool]!;
	}

	/** Room and rates of all pools are this many times what is configured, now and whatever is configured later. */
	scaleCapacity(factor: number, now: Millis): void {
		this.#capacityFactor = factor;
		for (const pool of this.pools) this.configureCapacity(pool.index, {}, now);
	}

	endpointUp(pool: number, endpoint: number, now: Millis): void {
		this.#tick(now);
		this.pools[pool]!.endpoints[endpoint]!.up = true;
		// What found no healthy pool before may find this one.
		for (const other of this.pools) if (!other.isUp) this.#failOver(other, now);
		this.pools[pool]!.dispatchAll(now);
	}

	/** An endpoint no longer takes requests. When its pool has none left, waiting requests move on to their next healthy pool. */
	endpointDown(pool: number, endpoint: number, now: Millis): void {
		this.#tick(now);
		const from = this.pools[pool]!;
		from.endpoints[endpoint]!.up = false;
		if (!from.isUp) this.#failOver(from, now);
	}

	// --- looking in

	/** Requests that wait, in all pools. */
	get waitingCount(): number {
		return this.#admission.waiting;
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
	estimateStart(request: SubmitRequest): StartEstimate {
		return this.#estimate(this.#poolFor(request), request);
	}

	/** What would become of a request submitted now; nothing is changed. */
	outlook(request: SubmitRequest, now: Millis): Outlook {
		const pool = this.#poolFor(request);
		return outlook(pool, request, this.#estimate(pool, request).p50Ms, now);
	}

	// --- inside

	#estimate(pool: Pool, request: SubmitRequest): StartEstimate {
		return this.#starts.estimate(expectedStartMs(pool, this.#whereabouts, request, this.#now));
	}

	#learnStart({ kind, ticket, waitMs }: Decision): void {
		if (kind === "dispatch") this.#starts.started(ticket, waitMs);
		else if (kind !== "wait") this.#starts.forget(ticket);
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
		pool.dispatchAll(now);
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
		for (const pool of targets) pool.dispatchAll(now);
	}

	#failOverRow(row: number, from: Pool): void {
		const target = this.#alternativeFor(row, from);
		if (target === undefined) return;
		this.#move(row, from, target);
		target.dispatchAll(this.#now);
	}

	/** Another healthy pool that could run a waiting row. */
	#alternativeFor(row: number, from: Pool): Pool | undefined {
		const requests = this.#requests;
		const tokens = requests.charge(row);
		const pools = requests.alternatives.get(row);
		const index = pools?.find((at) => {
			const pool = this.pools[at]!;
			return pool !== from && pool.isUp && pool.couldRun(requests.sequences(row), tokens);
		});
		return index === undefined ? undefined : this.pools[index];
	}

	/** Capacity shrank below what a waiting row needs: held for ever, it would block all behind it. */
	#moveOrEvict(row: number): void {
		const from = this.pools[this.#requests.pool(row)]!;
		if (this.#alternativeFor(row, from) === undefined) this.#end(row, "evict", "exceeds_capacity");
		else this.#failOverRow(row, from);
	}

	#move(row: number, from: Pool, to: Pool): void {
		const requests = this.#requests;
		const queue = requests.queue(row);
		const dueAt = requests.timerSlot(row) >= 0 ? requests.dueAt(row) : Number.POSITIVE_INFINITY;
		const path = this.#tree.pathOf(requests.leaf(row));
		from.leave(row);
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
			"failover",
			this.#now - requests.arrival(row),
		);
	}
}
