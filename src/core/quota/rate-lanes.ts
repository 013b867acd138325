/**
 * Rates of organisations, teams, accounts and tokens in front of the scheduler: a request whose node is at its ceiling waits here, in the
 * order of arrival within its lane (the nodes it is charged to), and goes on to its queue when the rate allows; lanes take turns. Time is an
 * argument: whoever drives this calls `next` until it answers nothing, at the latest at `nextAt`.
 *
 * Invariant: whoever entered is charged exactly once and trued up exactly once by `finish`, whatever became of it.
 */
import type { RoutingMetadata } from "../model/routing.ts";
import type { Millis, Tokens } from "../model/units.ts";
import { nodesOf, type Quota, type QuotaNode, tokenNode } from "./quota.ts";
import {
	charge,
	mayStart,
	type RateChain,
	RateNode,
	type RateTerms,
	rateTermsOf,
	startsAt,
	trueUp,
} from "./rate-tree.ts";

export interface RateLaneSettings {
	readonly burstSeconds: number;
	/** `[quotas] max_borrow_pct`, as a fraction. */
	readonly mostBorrowPct: number;
	/** Requests that may wait here. */
	readonly maxWaiting: number;
}

export interface LaneRequest {
	readonly id: string;
	/** By estimate. */
	readonly tokens: Tokens;
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

export interface RateOfRequest {
	readonly quota: Quota;
	readonly terms: RateTerms;
	readonly view: RateView;
}

interface Lane<R> {
	readonly chain: RateChain;
	readonly waiting: Map<string, R>;
}

export class RateLanes<R extends LaneRequest> {
	readonly #settings: RateLaneSettings;
	/** By quota id; those that come with tokens among them. */
	readonly #nodes = new Map<string, RateNode>();
	#byNode = new Map<QuotaNode, { readonly quota: Quota; readonly node: RateNode }[]>();
	#lanes = new Map<string, Lane<R>>();
	#known = new WeakMap<RoutingMetadata, Lane<R> | null>();
	/** Chain and charge of everybody who went on. */
	readonly #running = new Map<string, { readonly chain: RateChain; readonly tokens: Tokens }>();
	readonly #waitingIn = new Map<string, Lane<R>>();
	/** Lanes in which somebody waits, those whose turn is longest ago first. */
	readonly #busy = new Set<Lane<R>>();
	/** Lanes that have lost a node: nothing keeps back who waits in them. */
	readonly #freed = new Set<Lane<R>>();

	constructor(settings: RateLaneSettings) {
		this.#settings = settings;
	}

	/** These rate quotas hold from now on; balances of those that stay are kept, and who waits is judged anew. */
	configure(quotas: readonly Quota[], now: Millis): void {
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
		// Who waits goes on under the chain it came with, unless a node of it is gone.
		const lanes = this.#lanes;
		this.#lanes = new Map();
		this.#known = new WeakMap();
		for (const [key, lane] of lanes) {
			if (lane.waiting.size === 0) continue;
			const chain = lane.chain.filter((node) => this.#nodes.get(node.id) === node);
			this.#lanes.set(key, lane);
			link(chain);
			if (chain.length < lane.chain.length) this.#freed.add(lane);
		}
	}

	/** Whether any rate holds for a request: the one question on the way of all of them. */
	concerns(metadata: RoutingMetadata, now: Millis): boolean {
		return this.#laneOf(metadata, now) !== null;
	}

	enter(metadata: RoutingMetadata, request: R, now: Millis): RateEntry {
		const lane = this.#laneOf(metadata, now);
		if (lane === null) return "goes";
		if (lane.waiting.size === 0 && mayStart(lane.chain, now)) {
			charge(lane.chain, request.tokens, now);
			this.#running.set(request.id, { chain: lane.chain, tokens: request.tokens });
			return "goes";
		}
		if (this.#waitingIn.size >= this.#settings.maxWaiting) return "full";
		lane.waiting.set(request.id, request);
		this.#waitingIn.set(request.id, lane);
		this.#busy.add(lane);
		return "waits";
	}

	/** Somebody who may go now, charged; undefined when nobody may. */
	next(now: Millis): R | undefined {
		for (const lane of this.#busy) {
			if (!this.#freed.has(lane) && !mayStart(lane.chain, now)) continue;
			const [first] = lane.waiting.values();
			this.#take(first!.id, lane);
			if (lane.waiting.size > 0) {
				this.#busy.delete(lane);
				this.#busy.add(lane);
			}
			charge(lane.chain, first!.tokens, now);
			this.#running.set(first!.id, { chain: lane.chain, tokens: first!.tokens });
			return first;
		}
		return undefined;
	}

	/** The next instant at which anybody may go; `Infinity` when nobody waits. */
	nextAt(now: Millis): Millis {
		let next = Number.POSITIVE_INFINITY;
		for (const lane of this.#busy) next = Math.min(next, this.#freed.has(lane) ? now : startsAt(lane.chain, now));
		return next;
	}

	/** Gone while it waited: answers it; harmless otherwise. */
	leave(id: string): R | undefined {
		const lane = this.#waitingIn.get(id);
		const request = lane?.waiting.get(id);
		if (lane !== undefined) this.#take(id, lane);
		return request;
	}

	/** Over: what it really used, 0 when it never ran. */
	finish(id: string, tokens: Tokens, now: Millis): void {
		const charged = this.#running.get(id);
		if (charged === undefined) return;
		this.#running.delete(id);
		trueUp(charged.chain, tokens - charged.tokens, now);
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
	waitMs(metadata: RoutingMetadata, now: Millis): Millis {
		const lane = this.#laneOf(metadata, now);
		return lane === null ? 0 : startsAt(lane.chain, now) - now;
	}

	/** The rate quotas of a request and where they stand, outermost first. */
	termsOf(metadata: RoutingMetadata, now: Millis): readonly RateOfRequest[] {
		return this.#entriesOf(metadata).map(({ quota, node }) => ({
			quota,
			terms: node.terms,
			view: this.view(quota.id, now)!,
		}));
	}

	view(quotaId: string, now: Millis): RateView | undefined {
		const node = this.#nodes.get(quotaId);
		if (node === undefined) return undefined;
		let waiting = 0;
		for (const { chain, waiting: held } of this.#lanes.values()) if (chain.includes(node)) waiting += held.size;
		return { quotaId, currentTps: node.throughput.perSecond(now), borrowed: node.borrowed, waiting };
	}

	/** Every rate quota, for reports; without those that come with tokens. */
	*views(now: Millis): Iterable<RateView & { readonly quota: Quota }> {
		for (const entries of this.#byNode.values()) {
			for (const { quota } of entries) yield { ...this.view(quota.id, now)!, quota };
		}
	}

	#take(id: string, lane: Lane<R>): void {
		lane.waiting.delete(id);
		this.#waitingIn.delete(id);
		if (lane.waiting.size > 0) return;
		this.#busy.delete(lane);
		this.#freed.delete(lane);
	}

	#laneOf(metadata: RoutingMetadata, now: Millis): Lane<R> | null {
		let lane = this.#known.get(metadata);
		if (lane === undefined) {
			lane = this.#find(metadata, now);
			this.#known.set(metadata, lane);
		}
		return lane;
	}

	#entriesOf(metadata: RoutingMetadata) {
		if (this.#byNode.size === 0) return [];
		return nodesOf(metadata).flatMap((name) =>
			(this.#byNode.get(name) ?? []).filter(
				({ quota: { environment } }) => environment === undefined || environment === metadata.environment,
			),
		);
	}

	#find(metadata: RoutingMetadata, now: Millis): Lane<R> | null {
		const chain: RateNode[] = this.#entriesOf(metadata).map(({ node }) => node);
		const { tokenId, token } = metadata;
		if (tokenId !== undefined && token?.quotaTpsLimit !== undefined) {
			chain.push(this.#tokenCeiling(tokenId, token.quotaTpsLimit, now));
		}
		if (chain.length === 0) return null;
		link(chain);
		const key = chain.map(({ id }) => id).join("\0");
		const known = this.#lanes.get(key);
		if (known !== undefined) return known;
		const lane: Lane<R> = { chain, waiting: new Map() };
		this.#lanes.set(key, lane);
		return lane;
	}

	/** `quota_tps_limit` of a token. */
	#tokenCeiling(tokenId: string, limitTps: number, now: Millis): RateNode {
		const id = `${tokenNode(tokenId)}${TOKEN_SUFFIX}`;
		const terms = { assuredTps: 0, ceilingTps: limitTps, lend: false };
		const { burstSeconds } = this.#settings;
		let node = this.#nodes.get(id);
		if (node === undefined) {
			node = new RateNode(id, terms, burstSeconds, now);
			this.#nodes.set(id, node);
		} else if (node.terms.ceilingTps !== limitTps) node.configure(terms, burstSeconds, now);
		return node;
	}
}

const TOKEN_SUFFIX = "/tps";

function link(chain: RateChain): void {
	for (let at = 1; at < chain.length; at++) chain[at - 1]!.children.add(chain[at]!);
}
