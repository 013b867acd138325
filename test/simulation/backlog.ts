/**
 * Clients that always have more to send, on a plain multi-server: the set-up of the fairness bounds. A server works off one unit of
 * cost per millisecond, so service is cost. What a client says of its cost beforehand and what it then uses may differ.
 */
import { priorityQueues } from "../../src/core/allocate/priority-allocator.ts";
import type { SchedulerKind } from "../../src/core/model/policy.ts";
import { type CoreSettings, coreSettings, DEFAULT_CAPACITY } from "../../src/core/schedule/core-settings.ts";
import { flowPath } from "../../src/core/schedule/flow-path.ts";
import { SchedulingCore } from "../../src/core/schedule/scheduling-core.ts";
import { submitRequest } from "../../src/core/schedule/submit-request.ts";

export interface Client {
	readonly flow: string;
	readonly queue: number;
	/** Weight inside its queue. */
	readonly weight?: number;
	/** Cost of its n-th request. */
	readonly cost: (n: number) => number;
	/** What is expected of it; the true cost when absent. */
	readonly estimate?: (n: number) => number;
	/** It sends from here on, and stops sending there. */
	readonly fromMs?: number;
	readonly untilMs?: number;
}

export interface Served {
	readonly client: number;
	readonly cost: number;
	readonly startMs: number;
}

export interface BacklogOptions {
	readonly scheduler: SchedulerKind;
	readonly clients: readonly Client[];
	/** Weights of the queues, best first; there are as many queues. */
	readonly queueWeights: readonly number[];
	readonly servers?: number;
	readonly quantum?: number;
	readonly dispatches: number;
	/** Called after every event. */
	readonly onEvent?: (core: SchedulingCore) => void;
	readonly makeCore?: (settings: CoreSettings) => SchedulingCore;
}

/** The dispatches in order. */
export function serveBacklogged(options: BacklogOptions): Served[] {
	const { clients, queueWeights, servers = 1 } = options;
	const [level] = priorityQueues({ levels: 2, defaultPriority: 0 });
	const queues = queueWeights.map((weight) => ({ ...level!, weight, maxDepth: 1e6 }));
	const settings = coreSettings({
		scheduler: options.scheduler,
		queues,
		strictLevels: [],
		quantum: options.quantum ?? 4096,
		cost: { promptWeight: 1, completionWeight: 1, cachedWeight: 1 },
		pools: [
			{
				name: "main",
				endpoints: 1,
				capacity: {
					...DEFAULT_CAPACITY,
					maxConcurrent: servers,
					headroom: 0,
					maxPrefillTokens: Number.POSITIVE_INFINITY,
				},
			},
		],
	});
	const core = (options.makeCore ?? ((given) => new SchedulingCore(given)))(settings);
	const sent = clients.map(() => 0);
	const ownerOf = new Map<number, { client: number; cost: number }>();
	const ends: { at: number; ticket: number }[] = [];
	const served: Served[] = [];
	let now = 0;
	const waiting = clients.map(() => 0);
	const top = () => {
		for (const [index, client] of clients.entries()) {
			if (now < (client.fromMs ?? 0) || now >= (client.untilMs ?? Number.POSITIVE_INFINITY)) continue;
			while (waiting[index]! < servers + 2) {
				const n = sent[index]!++;
				const cost = client.cost(n);
				const expected = client.estimate?.(n) ?? cost;
				waiting[index]!++;
				const ticket = core.submit(
					submitRequest({
						flow: flowPath([client.flow]),
						queue: client.queue,
						weight: client.weight ?? 1,
						promptTokens: 0,
						completionTokens: expected,
					}),
					now,
				);
				ownerOf.set(ticket, { client: index, cost });
				drain();
			}
		}
	};
	const drain = () => {
		for (let decision = core.next(); decision !== undefined; decision = core.next()) {
			if (decision.kind !== "dispatch") continue;
			const { client, cost } = ownerOf.get(decision.ticket)!;
			waiting[client]!--;
			served.push({ client, cost, startMs: now });
			ends.push({ at: now + cost, ticket: decision.ticket });
		}
	};
	// Everybody is backlogged before anything is judged: the first dispatches are the caller's to skip.
	top();
	while (served.length < options.dispatches) {
		if (ends.length === 0) {
			now = Math.min(...clients.map((client) => client.fromMs ?? 0).filter((from) => from > now));
			top();
			continue;
		}
		ends.sort((a, b) => b.at - a.at);
		const { at, ticket } = ends.pop()!;
		now = at;
		const { cost } = ownerOf.get(ticket)!;
		core.finish(ticket, { promptTokens: 0, completionTokens: cost, cachedTokens: 0 }, now);
		drain();
		top();
		options.onEvent?.(core);
	}
	return served;
}

/** Service per client as a fraction of all, from an instant on. */
export function shares(served: readonly Served[], clients: number, fromMs = 0): number[] {
	const sums = new Array<number>(clients).fill(0);
	for (const { client, cost, startMs } of served) if (startMs >= fromMs) sums[client]! += cost;
	const total = sums.reduce((a, b) => a + b, 0);
	return sums.map((sum) => sum / total);
}

/** Largest difference of weighted service between two clients over any interval of dispatches. */
export function worstDifference(served: readonly Served[], weights: readonly number[], a: number, b: number): number {
	let difference = 0;
	let highest = 0;
	let lowest = 0;
	for (const { client, cost } of served) {
		if (client === a) difference += cost / weights[a]!;
		else if (client === b) difference -= cost / weights[b]!;
		highest = Math.max(highest, difference);
		lowest = Math.min(lowest, difference);
	}
	return highest - lowest;
}
