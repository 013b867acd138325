/**
 * Who routes by headers, for the audit log: one entry per peer and minute (design 02 §1), whatever the traffic. Bounded: peers beyond
 * `MAX_PEERS` in a minute, and routes beyond `MAX_ROUTES` of a peer, are counted under one name. A log that takes nothing costs no
 * count: it is added to the next minute.
 */
import type { AuditEvent } from "../ports/audit-log.ts";
import type { Timers } from "../ports/clock.ts";
import type { RoutingHeaders } from "../protocol/request-headers.ts";

const INTERVAL_MS = 60_000;
const MAX_PEERS = 1000;
const MAX_ROUTES = 50;
const OTHERS = "others";

interface PeerCount {
	requests: number;
	refused: number;
	readonly routes: Map<string, number>;
}

export interface HeaderAuditDependencies {
	readonly record: (event: AuditEvent) => Promise<void>;
	readonly timers: Timers;
	readonly onError: (error: unknown) => void;
}

export class HeaderAudit {
	readonly #dependencies: HeaderAuditDependencies;
	#peers = new Map<string, PeerCount>();
	#cancel: (() => void) | undefined;

	constructor(dependencies: HeaderAuditDependencies) {
		this.#dependencies = dependencies;
	}

	routed(peer: string, { source, environment, workload, priority }: RoutingHeaders): void {
		const count = this.#count(peer);
		count.requests++;
		const named = { source, environment, workload, priority };
		const route = Object.entries(named).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
		add(count.routes, route.join(" "), 1, MAX_ROUTES);
	}

	/** Headers of a peer that is not trusted. */
	refused(peer: string): void {
		this.#count(peer).refused++;
	}

	/** Writes what was counted. Never rejects. */
	async flush(): Promise<void> {
		this.#cancel?.();
		this.#cancel = undefined;
		const waiting = [...this.#peers];
		this.#peers = new Map();
		try {
			for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
				const [peer, { requests, refused, routes }] = next;
				await this.#dependencies.record({
					actor: "system",
					action: "header_routing.summary",
					subject: peer,
					after: { requests, refused, routes: Object.fromEntries(routes) },
				});
				waiting.shift();
			}
		} catch (error) {
			// one failure is enough to know: a log that waits for a lock would do so for every peer
			this.#dependencies.onError(error);
			for (const [peer, count] of waiting) this.#merge(peer, count);
		}
	}

	#count(peer: string): PeerCount {
		this.#cancel ??= this.#dependencies.timers.after(INTERVAL_MS, () => {
			this.#cancel = undefined;
			void this.flush();
		});
		const name = this.#peers.has(peer) || this.#peers.size < MAX_PEERS ? peer : OTHERS;
		let count = this.#peers.get(name);
		if (count === undefined) {
			count = { requests: 0, refused: 0, routes: new Map() };
			this.#peers.set(name, count);
		}
		return count;
	}

	#merge(peer: string, { requests, refused, routes }: PeerCount): void {
		const count = this.#count(peer);
		count.requests += requests;
		count.refused += refused;
		for (const [route, number] of routes) add(count.routes, route, number, MAX_ROUTES);
	}
}

function add(counts: Map<string, number>, name: string, number: number, most: number): void {
	const key = counts.has(name) || counts.size < most ? name : OTHERS;
	counts.set(key, (counts.get(key) ?? 0) + number);
}
