/**
 * Bounds on waiting: depth of queues and rules, `max_waiting` over all pools, and whom a full one gives up.
 */
import { costOf } from "../model/units.ts";
import { Backlog } from "./backlog.ts";
import type { CoreSettings } from "./core-settings.ts";
import type { Ticket } from "./decision.ts";
import type { FlowTree } from "./flow-tree.ts";
import type { Pool } from "./pool.ts";
import { type RequestTable, WAITING } from "./request-table.ts";

export class Admission {
	pools: readonly Pool[] = [];
	waiting = 0;
	waitingBytes = 0;
	readonly #settings: CoreSettings;
	readonly #requests: RequestTable;
	readonly #tree: FlowTree;
	#ruleDepths: readonly number[];
	#ruleWaiting: Int32Array;
	/** Backlogs of queues (by pool and queue) and rules that are crowded. */
	readonly #queueBacklogs = new Map<number, Backlog>();
	readonly #ruleBacklogs = new Map<number, Backlog>();

	constructor(settings: CoreSettings, requests: RequestTable, tree: FlowTree) {
		this.#settings = settings;
		this.#requests = requests;
		this.#tree = tree;
		this.#ruleDepths = settings.ruleDepths;
		this.#ruleWaiting = new Int32Array(settings.ruleDepths.length);
	}

	/** Other rules are in force. `moved`: where each rule before stands now; what waits under one that is gone is no longer counted. */
	replaceRules(depths: readonly number[], moved: readonly number[]): void {
		const requests = this.#requests;
		const waiting = new Int32Array(depths.length);
		for (const [rule, count] of this.#ruleWaiting.entries()) {
			const now = moved[rule] ?? -1;
			if (now >= 0) waiting[now] = waiting[now]! + count;
		}
		this.#ruleDepths = depths;
		this.#ruleWaiting = waiting;
		this.#ruleBacklogs.clear();
		for (let row = 0; row < requests.size; row++) requests.setRule(row, moved[requests.rule(row)] ?? -1);
	}

	/**
	 * Whom to give up because a new request waits beyond a bound: a row (possibly its own), or -1 when there is room. `depthMultiplier` scales
	 * the depths of its queue and rule for it.
	 */
	overflow(row: number, depthMultiplier = 1): number {
		const requests = this.#requests;
		const pool = this.pools[requests.pool(row)]!;
		const queue = requests.queue(row);
		const rule = requests.rule(row);
		if (
			rule >= 0 &&
			this.#ruleWaiting[rule]! > (this.#ruleDepths[rule] ?? Number.POSITIVE_INFINITY) * depthMultiplier
		) {
			return this.#heaviest(this.#ruleBacklog(rule));
		}
		if (pool.waiting(queue) > pool.queues[queue]!.maxDepth * depthMultiplier)
			return this.#heaviest(this.#queueBacklog(pool, queue));
		const full = this.waiting > this.#settings.maxWaiting || this.waitingBytes > this.#settings.maxWaitingBytes;
		return full ? this.#worstWaiting(pool, queue) : -1;
	}

	/** Requests that wait under a rule. */
	waitingUnder(rule: number): number {
		return this.#ruleWaiting[rule] ?? 0;
	}

	/** A request no longer waits. */
	left(row: number): void {
		const requests = this.#requests;
		this.waiting--;
		this.waitingBytes -= requests.bodyBytes(row);
		const rule = requests.rule(row);
		if (rule >= 0 && rule < this.#ruleWaiting.length) {
			this.#ruleWaiting[rule] = this.#ruleWaiting[rule]! - 1;
			const backlog = this.#ruleBacklogs.get(rule);
			if (backlog !== undefined) {
				backlog.remove(requests.leaf(row), this.#costOf(row));
				if (this.#ruleWaiting[rule]! < this.#ruleDepths[rule]! / 2) this.#ruleBacklogs.delete(rule);
			}
		}
		if (this.#queueBacklogs.size === 0) return;
		const key = this.#keyOf(row);
		const backlog = this.#queueBacklogs.get(key);
		if (backlog === undefined) return;
		backlog.remove(requests.leaf(row), this.#costOf(row));
		const pool = this.pools[requests.pool(row)]!;
		const queue = requests.queue(row);
		const crowd = Math.min(pool.queues[queue]!.maxDepth, this.#settings.maxWaiting);
		if (pool.waiting(queue) < crowd / 2) this.#queueBacklogs.delete(key);
	}

	/** A request waits, new or again. */
	joined(row: number): void {
		const requests = this.#requests;
		this.waiting++;
		this.waitingBytes += requests.bodyBytes(row);
		const rule = requests.rule(row);
		if (rule >= 0 && rule < this.#ruleWaiting.length) {
			this.#ruleWaiting[rule] = this.#ruleWaiting[rule]! + 1;
			this.#ruleBacklogs.get(rule)?.add(requests.ticketOf(row), requests.leaf(row), this.#costOf(row));
		}
		if (this.#queueBacklogs.size > 0) {
			this.#queueBacklogs.get(this.#keyOf(row))?.add(requests.ticketOf(row), requests.leaf(row), this.#costOf(row));
		}
	}

	/** The worst non-empty queue of any pool, if it is worse than the newcomer's, else the newcomer's own. */
	#worstWaiting(pool: Pool, queue: number): number {
		let worstPool = pool;
		let worst = queue;
		for (const other of this.pools) {
			// Halves differ in how many queues they have: what counts is how far down a queue is among its own.
			for (let at = other.count - 1; (at + 1) * worstPool.count > (worst + 1) * other.count; at--) {
				if (other.waiting(at) > 0) {
					worst = at;
					worstPool = other;
				}
			}
		}
		return this.#heaviest(this.#queueBacklog(worstPool, worst));
	}

	#heaviest(backlog: Backlog): number {
		return this.#requests.rowOf(backlog.heaviestYoungest());
	}

	#queueBacklog(pool: Pool, queue: number): Backlog {
		const key = pool.index * 128 + queue;
		const known = this.#queueBacklogs.get(key);
		if (known !== undefined) return known;
		const requests = this.#requests;
		const backlog = this.#build((row) => requests.pool(row) === pool.index && requests.queue(row) === queue);
		this.#queueBacklogs.set(key, backlog);
		return backlog;
	}

	#ruleBacklog(rule: number): Backlog {
		const known = this.#ruleBacklogs.get(rule);
		if (known !== undefined) return known;
		const backlog = this.#build((row) => this.#requests.rule(row) === rule);
		this.#ruleBacklogs.set(rule, backlog);
		return backlog;
	}

	#build(belongs: (row: number) => boolean): Backlog {
		const requests = this.#requests;
		const backlog = new Backlog(
			(node) => this.#tree.parentOf(node),
			(ticket: Ticket, leaf: number) => {
				const row = requests.rowOf(ticket);
				return row >= 0 && requests.state(row) === WAITING && requests.leaf(row) === leaf;
			},
		);
		const rows: number[] = [];
		for (let row = 0; row < requests.size; row++) if (requests.state(row) === WAITING && belongs(row)) rows.push(row);
		rows.sort((a, b) => requests.arrival(a) - requests.arrival(b));
		for (const row of rows) backlog.add(requests.ticketOf(row), requests.leaf(row), this.#costOf(row));
		return backlog;
	}

	#keyOf(row: number): number {
		return this.#requests.pool(row) * 128 + this.#requests.queue(row);
	}

	#costOf(row: number): number {
		const requests = this.#requests;
		return costOf(this.#settings.cost, requests.prompt(row), requests.completion(row), requests.cached(row));
	}
}
