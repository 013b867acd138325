/**
 * The state of a core at an instant as plain data: for reading what it sees, and for comparing two cores. It is a copy: nothing in it
 * changes with the core, and JSON keeps all of it (no limit is left out). Requests come in the order of their tickets' rows, flows are
 * named by their keys. O(requests); no part of any decision.
 */
import type { Millis, Tokens } from "../model/units.ts";
import type { Ticket } from "./decision.ts";
import { keysOf } from "./flow-path.ts";
import type { FlowTree } from "./flow-tree.ts";
import type { Pool } from "./pool.ts";
import { ABORTING, FREE, type RequestTable, RUNNING, WAITING } from "./request-table.ts";

export interface RequestSnapshot {
	readonly ticket: Ticket;
	readonly state: "waiting" | "running" | "aborting";
	readonly pool: number;
	readonly queue: number;
	/** Keys of its flow, outermost first. */
	readonly flow: readonly string[];
	readonly arrival: Millis;
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	readonly producedTokens: Tokens;
	/** Of one that runs: where, and on which queue's capacity. */
	readonly endpoint?: number;
	readonly payer?: number;
	/** How often it was taken back after a preemption. */
	readonly requeues: number;
}

export interface QueueSnapshot {
	readonly label: string;
	readonly paused: boolean;
	readonly weight: number;
	readonly waiting: number;
	readonly waitingTokens: Tokens;
	/** Sequences. */
	readonly inFlight: number;
	readonly inFlightTokens: Tokens;
	/** Others' requests that run on its capacity. */
	readonly upgraded: number;
	/** Totals since the start. */
	readonly enqueued: number;
	readonly dispatched: number;
	readonly timedOut: number;
	readonly dropped: number;
}

export interface EndpointSnapshot {
	readonly up: boolean;
	readonly sequences: number;
	readonly tokens: Tokens;
	readonly prefillTokens: Tokens;
	readonly aheadSequences: number;
	readonly freeingSequences: number;
}

export interface PoolSnapshot {
	readonly name: string;
	/** Why its last round of dispatches stopped. */
	readonly blockedBy: string;
	readonly preemptions: number;
	readonly queues: readonly QueueSnapshot[];
	readonly endpoints: readonly EndpointSnapshot[];
}

export interface CoreSnapshot {
	readonly now: Millis;
	readonly waiting: number;
	readonly requests: readonly RequestSnapshot[];
	readonly pools: readonly PoolSnapshot[];
	/** Nodes of flows that wait, run or owe. */
	readonly flowNodes: number;
}

const STATES = { [WAITING]: "waiting", [RUNNING]: "running", [ABORTING]: "aborting" } as const;

export function snapshotOf(
	pools: readonly Pool[],
	requests: RequestTable,
	tree: FlowTree,
	waiting: number,
	now: Millis,
): CoreSnapshot {
	const alive: RequestSnapshot[] = [];
	for (let row = 0; row < requests.size; row++) {
		const state = requests.state(row);
		if (state === FREE) continue;
		alive.push({
			ticket: requests.ticketOf(row),
			state: STATES[state as keyof typeof STATES],
			pool: requests.pool(row),
			queue: requests.queue(row),
			flow: keysOf(tree.pathOf(requests.leaf(row))),
			arrival: requests.arrival(row),
			promptTokens: requests.prompt(row),
			completionTokens: requests.completion(row),
			producedTokens: requests.produced(row),
			...(state === WAITING ? {} : { endpoint: requests.endpoint(row), payer: requests.payer(row) }),
			requeues: requests.requeues(row),
		});
	}
	return { now, waiting, requests: alive, pools: pools.map(poolSnapshot), flowNodes: tree.nodeCount };
}

function poolSnapshot(pool: Pool): PoolSnapshot {
	return {
		name: pool.name,
		blockedBy: pool.blockedBy,
		preemptions: pool.preemptions,
		queues: pool.queues.map((queue, index) => ({
			label: queue.settings.label,
			paused: queue.paused,
			weight: pool.weights[index]!,
			waiting: pool.waiting(index),
			waitingTokens: queue.waitingTokens,
			inFlight: queue.inFlight,
			inFlightTokens: queue.inFlightTokens,
			upgraded: pool.upgradedIn(index),
			enqueued: queue.enqueued,
			dispatched: queue.dispatched,
			timedOut: queue.timedOut,
			dropped: queue.dropped,
		})),
		endpoints: pool.endpoints.map((endpoint) => ({
			up: endpoint.up,
			sequences: endpoint.sequences,
			tokens: endpoint.tokens,
			prefillTokens: endpoint.prefillTokens,
			aheadSequences: endpoint.aheadSequences,
			freeingSequences: endpoint.freeingSequences,
		})),
	};
}
