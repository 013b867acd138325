/**
 * Rates of organisations, teams, accounts and tokens in front of the scheduler: a request whose node is at its ceiling waits here, in the
 * order of arrival within its node, and goes on to its queue when the rate allows. One timer for the next instant at which anything may go.
 *
 * Invariant: whoever entered is charged exactly once and trued up exactly once by `finish`, whatever became of it.
 */
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import { nodesOf, type Quota, type QuotaNode, tokenNode } from "../core/quota/quota.ts";
import { charge, mayStart, type RateChain, RateNode, rateTermsOf, startsAt, trueUp } from "../core/quota/rate-tree.ts";
import type { Timers } from "../ports/clock.ts";

export interface RateGateSettings {
	readonly burstSeconds: number;
	/** `[quotas] max_borrow_pct`, as a fraction. */
	readonly mostBorrowPct: number;
	/** Requests that may wait here. */
	readonly maxWaiting: number;
}

export interface RateGateDependencies {
	readonly now: () => Millis;
	readonly timers: Timers;
}

export interface RateRequest {
	readonly id: string;
	/** By estimate. */
	readonly tokens: Tokens;
	/** How long it may wait. */
	readonly timeoutMs: Millis;
	/** It may go on. */
	readonly go: (waitedMs: Millis) => void;
	/** It waited as long as it may. */
	readonly expire: (waitedMs: Millis) => void;
}

export type RateEntry = "goes" | "waits" | "full";

/** Where a rate quota stands. */
export interface RateView {
	readonly quotaId: string;
	readonly currentTps: number;
	/** Tokens since the start of the process. */
	readonly borrowed: Tokens;
	readonly waiting: number;
}

interface Lane {
	readonly chain: RateChain;
	readonly waiting: Map<string, Waiting>;
}

interface Waiting extends RateRequest {
	readonly since: Millis;
	readonly cancelTimer: () => void;
}

export class RateGate {
	#settings: RateGateSettings;
	readonly #to: RateGateDependencies;
	/** By quota id; those that come with tokens among them. */
	readonly #nodes = new Map<string, RateNode>();
	#byNode = new Map<QuotaNode, { readonly quota: Quota; readonly node: RateNode }[]>();
	#lanes = new Map<string, Lane>();
	#known = new WeakMap<RoutingMetadata, Lane | null>();
	/** Lane and charge of everybody who went on. */
	readonly #running = new Map<string, { readonly chain: RateChain; readonly tokens: Tokens }>();
	readonly #waitingIn = new Map<string, Lane>();
	/** Lanes in which somebody waits. */
	readonly #busy = new Set<Lane>();
	#cancelTimer: (() => void) | undefined;

	constructor(settings: RateGateSettings, dependencies: RateGateDependencies) {
		this.#settings = settings;
		this.#to = dependencies;
	}

	/** These rate quotas hold from now on; balances of those that stay are kept, and who waits is judged anew. */
	configure(quotas: readonly Quota[]): void {
		const now = this.#to.now();
		const { burstSeconds, mostBorrowPct } = this.#settings;
		const gone = new Set([...this.#nodes.keys()].filter((id) => !id.endsWith(TOKEN_SUFFIX)));
		this.#byNode = new Map();
		for (const quota of quotas) {
			if (quota.limitDimension !== "tps") continue;
			gone.delete(quota.id);
			const terms = rateTermsOf(quota, mostBorrowPct);
			let node = this.#nodes.get(quota.id);
			if (node === undefined) {
				node = new RateNode(quota.id, terms, burstSeconds, now);
				this.#nodes.set(quota.id, node);
			} else node.configure(terms, burstSeconds, now);
			const same = this.#byNode.get(quota.node);
			if (same === undefined) this.#byNode.set(quota.node, [{ quota, node }]);
			else same.push({ quota, node });
		}
		for (const id of gone) this.#nodes.delete(id);
		for (const node of this.#nodes.values()) node.children.clear();
		// Who waits goes on under the chain it came with, unless a node of it is gone: then nothing keeps it back.
		const lanes = this.#lanes;
		this.#lanes = new Map();
		this.#known = new WeakMap();
		for (const [key, lane] of lanes) {
			if (lane.waiting.size === 0) continue;
			const chain = lane.chain.filter((node) => this.#nodes.get(node.id) === node);
			this.#lanes.set(key, lane);
			link(chain);
			if (chain.length < lane.chain.length)
				for (const waiting of [...lane.waiting.values()]) this.#release(lane, waiting, now);
		}
		this.#wake();
	}

	/** Whether any rate holds for a request: the one question on the way of all of them. */
	concerns(metadata: RoutingMetadata): boolean {
		return this.#laneOf(metadata) !== null;
	}

	enter(metadata: RoutingMetadata, request: RateRequest): RateEntry {
		const lane = this.#laneOf(metadata);
		if (lane === null) return "goes";
		const now = this.#to.now();
		if (lane.waiting.size === 0 && mayStart(lane.chain, now)) {
			charge(lane.chain, request.tokens, now);
			this.#running.set(request.id, { chain: lane.chain, tokens: request.tokens });
			return "goes";
		}
		if (this.#waitingIn.size >= this.#settings.maxWaiting) return "full";
		const cancelTimer = Number.isFinite(request.timeoutMs)
			? this.#to.timers.after(request.timeoutMs, () => {
					this.leave(request.id);
					request.expire(this.#to.now() - now);
				})
			: () => {};
		lane.waiting.set(request.id, { ...request, since: now, cancelTimer });
		this.#waitingIn.set(request.id, lane);
		this.#busy.add(lane);
		this.#arm();
		return "waits";
	}

	/** Gone while it waited; harmless otherwise. */
	leave(id: string): void {
		const lane = this.#waitingIn.get(id);
		if (lane === undefined) return;
		this.#waitingIn.delete(id);
		lane.waiting.get(id)?.cancelTimer();
		lane.waiting.delete(id);
		if (lane.waiting.size === 0) this.#busy.delete(lane);
		this.#arm();
	}

	/** Over: what it really used, 0 when it never ran. */
	finish(id: string, tokens: Tokens): void {
		const charged = this.#running.get(id);
		if (charged === undefined) {
			this.leave(id);
			return;
		}
		this.#running.delete(id);
		trueUp(charged.chain, tokens - charged.tokens, this.#to.now());
		// Not here and now: whoever settles is in the middle of something.
		if (tokens < charged.tokens) this.#arm();
	}

	/** Requests that wait here. */
	get waiting(): number {
		return this.#waitingIn.size;
	}

	/** Requests that are charged and not trued up yet. */
	get running(): number {
		return this.#running.size;
	}

	/** When a request of this identity could go on, from now; 0 when nothing keeps it back. */
	waitMs(metadata: RoutingMetadata): Millis {
		const lane = this.#laneOf(metadata);
		const now = this.#to.now();
		return lane === null ? 0 : startsAt(lane.chain, now) - now;
	}

	view(quotaId: string): RateView | undefined {
		const node = this.#nodes.get(quotaId);
		if (node === undefined) return undefined;
		let waiting = 0;
		for (const { chain, waiting: held } of this.#lanes.values()) if (chain.includes(node)) waiting += held.size;
		return { quotaId, currentTps: node.throughput.perSecond(this.#to.now()), borrowed: node.borrowed, waiting };
	}

	/** Every rate quota, for reports; without those that come with tokens. */
	*views(): Iterable<RateView & { readonly quota: Quota }> {
		for (const entries of this.#byNode.values()) {
			for (const { quota } of entries) yield { ...this.view(quota.id)!, quota };
		}
	}

	close(): void {
		this.#cancelTimer?.();
		this.#cancelTimer = undefined;
	}

	#laneOf(metadata: RoutingMetadata): Lane | null {
		let lane = this.#known.get(metadata);
		if (lane === undefined) {
			lane = this.#find(metadata);
			this.#known.set(metadata, lane);
		}
		return lane;
	}

	#find(metadata: RoutingMetadata): Lane | null {
		const chain: RateNode[] = [];
		if (this.#byNode.size > 0) {
			for (const name of nodesOf(metadata)) {
				for (const { quota, node } of this.#byNode.get(name) ?? []) {
					if (quota.environment === undefined || quota.environment === metadata.environment) chain.push(node);
				}
			}
		}
		const { tokenId, token } = metadata;
		if (tokenId !== undefined && token?.quotaTpsLimit !== undefined) {
			chain.push(this.#tokenCeiling(tokenId, token.quotaTpsLimit));
		}
		if (chain.length === 0) return null;
		link(chain);
		const key = chain.map(({ id }) => id).join("\0");
		const known = this.#lanes.get(key);
		if (known !== undefined) return known;
		const lane: Lane = { chain, waiting: new Map() };
		this.#lanes.set(key, lane);
		return lane;
	}

	/** `quota_tps_limit` of a token. */
	#tokenCeiling(tokenId: string, limitTps: number): RateNode {
		const id = `${tokenNode(tokenId)}${TOKEN_SUFFIX}`;
		const terms = { assuredTps: 0, ceilingTps: limitTps, lend: false };
		const { burstSeconds } = this.#settings;
		let node = this.#nodes.get(id);
		if (node === undefined) {
			node = new RateNode(id, terms, burstSeconds, this.#to.now());
			this.#nodes.set(id, node);
		} else if (node.terms.ceilingTps !== limitTps) node.configure(terms, burstSeconds, this.#to.now());
		return node;
	}

	/** Lets go whoever may, one of each lane in turn. */
	#wake(): void {
		if (this.#waitingIn.size > 0) {
			const now = this.#to.now();
			for (let moved = true; moved; ) {
				moved = false;
				for (const lane of [...this.#busy]) {
					const [first] = lane.waiting.values();
					if (first === undefined || !mayStart(lane.chain, now)) continue;
					this.#release(lane, first, now);
					moved = true;
				}
			}
		}
		this.#arm();
	}

	#release(lane: Lane, waiting: Waiting, now: Millis): void {
		waiting.cancelTimer();
		lane.waiting.delete(waiting.id);
		if (lane.waiting.size === 0) this.#busy.delete(lane);
		this.#waitingIn.delete(waiting.id);
		charge(lane.chain, waiting.tokens, now);
		this.#running.set(waiting.id, { chain: lane.chain, tokens: waiting.tokens });
		waiting.go(now - waiting.since);
	}

	#arm(): void {
		this.#cancelTimer?.();
		this.#cancelTimer = undefined;
		if (this.#waitingIn.size === 0) return;
		const now = this.#to.now();
		let next = Number.POSITIVE_INFINITY;
		for (const { chain } of this.#busy) next = Math.min(next, startsAt(chain, now));
		this.#cancelTimer = this.#to.timers.after(Math.max(1, Math.ceil(next - now)), () => this.#wake());
	}
}

const TOKEN_SUFFIX = "/tps";

function link(chain: RateChain): void {
	for (let at = 1; at < chain.length; at++) chain[at - 1]!.children.add(chain[at]!);
}
