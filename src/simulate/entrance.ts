/**
 * What a simulated request passes between its admission and its queue, in the order and with the parts of the gateway: budgets, rate quotas, the
 * capacity guard's hold; and the time windows that change all of it. Virtual time; whoever drives this looks at `nextAt`, and at
 * `nextBoundary`, which keeps nothing going by itself.
 */
import type { GatewayConfig } from "../config/gateway-config.ts";
import { pricesOf } from "../config/prices.ts";
import type { TimeWindow } from "../core/allocate/time-window.ts";
import type { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import { GuardHold, HOLD_LOOK_MS } from "../core/capacity/guard-hold.ts";
import type { Arrival, Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { ZoneOffset } from "../core/model/civil-time.ts";
import type { QueueSettings } from "../core/model/policy.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { EpochMillis, Millis, Tokens } from "../core/model/units.ts";
import type { Quota, QuotaAmounts } from "../core/quota/quota.ts";
import { type LaneRequest, RateLanes } from "../core/quota/rate-lanes.ts";
import { rateTermsOf } from "../core/quota/rate-tree.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import { type BudgetReport, type Reservation, SimulatedBudgets } from "./budgets.ts";
import { SimulatedCalendar, type WindowReport } from "./calendar.ts";

/** Whose request an account's is. */
export interface SimulatedAccount {
	readonly id: string;
	readonly accountType: "internal" | "external";
	readonly accountTier?: string;
	readonly organisation?: string;
	readonly team?: string;
}

/** What a gateway keeps in its store beside the rules. */
export interface SimulatedPolicy {
	readonly accounts: readonly SimulatedAccount[];
	readonly windows: readonly TimeWindow[];
	readonly quotas: readonly Quota[];
}

export interface EntranceSettings {
	readonly policy: SimulatedPolicy;
	readonly config: GatewayConfig;
	readonly guard: CapacityGuard;
	readonly lifecycle: Lifecycle;
	/** Of each half, where there are two. */
	readonly queues: readonly (readonly QueueSettings[])[];
	/** The wall clock when virtual time is 0. */
	readonly startAt: EpochMillis;
	readonly offset: ZoneOffset;
}

/** Where a request was kept before its queue. */
export const HELD_BY = ["rate_quota", "capacity_guard"] as const;
export type HeldBy = (typeof HELD_BY)[number];

export type Entry = "goes" | "held" | "quota_exceeded" | "queue_full";

export interface Passing {
	readonly arrival: Arrival;
	/** By what it was held. */
	readonly held: HeldBy[];
}

export interface Left<R> {
	readonly request: R;
	/** How long it was held, just now. */
	readonly heldMs: Millis;
	/** It waited as long as it may; otherwise it goes to its queue. */
	readonly timedOut: boolean;
}

export interface RateReport {
	readonly quota_id: string;
	readonly node: string;
	readonly environment: string | null;
	readonly assured_tps: number;
	readonly ceiling_tps: number | null;
	/** Requests that waited for it before their queue. */
	readonly held: number;
	readonly borrowed_tokens: Tokens;
}

export interface GuardReport {
	readonly max_tps: number | null;
	readonly closed: number;
	readonly closed_ms: Millis;
	readonly spans_ms: readonly (readonly [Millis, Millis])[];
	readonly refused: number;
	readonly held: number;
}

/** What the promises of the configuration and policy did. */
export interface PromiseReport {
	readonly starts_at: string;
	readonly windows: readonly WindowReport[];
	/** Absent where the guard does not act. */
	readonly guard?: GuardReport;
	readonly budgets: readonly BudgetReport[];
	readonly rates: readonly RateReport[];
}

interface Waiting<R> extends LaneRequest {
	readonly request: R;
	readonly since: Millis;
	readonly expiresAt: Millis;
}

interface Holding {
	readonly id: string;
	readonly budgets: Reservation;
	readonly isRated: boolean;
}

const KEPT_IDENTITIES = 100_000;

export class Entrance<R extends Passing> {
	readonly #to: EntranceSettings;
	readonly #calendar: SimulatedCalendar;
	readonly #budgets: SimulatedBudgets;
	readonly #lanes: RateLanes<Waiting<R>>;
	readonly #hold: GuardHold<R>;
	readonly #priceOf: ReturnType<typeof pricesOf>;
	readonly #accounts: ReadonlyMap<string, SimulatedAccount>;
	readonly #identities = new Map<string, RoutingMetadata>();
	readonly #waiting = new Map<string, Waiting<R>>();
	readonly #holding = new Map<R, Holding>();
	readonly #rateHeld = new Map<string, number>();
	readonly #closures: [Millis, Millis][] = [];
	#guardHeld = 0;
	#guardRefused = 0;
	#ids = 0;
	#laneAt: Millis = Number.POSITIVE_INFINITY;
	#expiresAt: Millis = Number.POSITIVE_INFINITY;
	#lookAt: Millis = Number.POSITIVE_INFINITY;

	constructor(settings: EntranceSettings) {
		const { policy, config, guard, startAt, offset } = settings;
		this.#to = settings;
		const { quotas: terms } = config;
		const quotas = terms.enabled ? policy.quotas : [];
		this.#calendar = new SimulatedCalendar(config.timeWindows.enabled ? policy.windows : [], startAt, offset);
		this.#budgets = new SimulatedBudgets(quotas, { resetDay: terms.quotaResetDay, zone: terms.timezone }, offset);
		this.#lanes = new RateLanes({
			burstSeconds: config.capacity.burstSeconds,
			mostBorrowPct: terms.maxBorrowPct,
			maxWaiting: config.requestScheduler.maxWaiting,
		});
		this.#lanes.configure(quotas, 0);
		this.#hold = new GuardHold(guard);
		this.#priceOf = pricesOf(config);
		this.#accounts = new Map(policy.accounts.map((account) => [account.id, account]));
	}

	/** With what its account is known for; the same object for the same identity. */
	identityOf(metadata: RoutingMetadata): RoutingMetadata {
		const { tier, environment, workload, accountId } = metadata;
		const key = `${accountId}\0${tier}\0${environment ?? ""}\0${workload ?? ""}`;
		const known = this.#identities.get(key);
		if (known !== undefined) return known;
		const account = this.#accounts.get(accountId);
		const identity: RoutingMetadata =
			account === undefined
				? metadata
				: {
						...metadata,
						accountType: account.accountType,
						...(account.accountTier === undefined ? {} : { accountTier: account.accountTier }),
						...(account.organisation === undefined ? {} : { organisation: account.organisation }),
						...(account.team === undefined ? {} : { teamId: account.team }),
					};
		if (this.#identities.size >= KEPT_IDENTITIES) this.#identities.clear();
		this.#identities.set(key, identity);
		return identity;
	}

	get nextBoundary(): Millis {
		return this.#calendar.nextBoundary;
	}

	/** Brings time windows up to date; before anything else happens at an instant. */
	look(now: Millis, core: SchedulingCore): void {
		const active = this.#calendar.look(now);
		if (active === undefined) return;
		const { lifecycle, guard } = this.#to;
		lifecycle.useWindows(active);
		const { internalLimitPct, resumePct } = this.#to.config.capacityGuard;
		const internalLimit = active.internalLimit ?? internalLimitPct;
		const { tierShares } = active;
		guard.configure({ internalLimit, resume: Math.min(resumePct, internalLimit), tierShares });
		core.scaleCapacity(active.capacityMultiplier, now);
	}

	/** An admitted request comes in. */
	enter(request: R, now: Millis): Entry {
		const { arrival } = request;
		const { metadata, submit, rule, adjusted } = arrival;
		const { promptTokens, completionTokens } = submit;
		const reserved = this.#budgets.reserve(
			metadata,
			this.#amounts(arrival, promptTokens, completionTokens),
			(rule.rule.quotaMultiplier ?? 1) * adjusted.quotaMultiplier,
			this.#calendar.epochAt(now),
		);
		if (!reserved.ok) return "quota_exceeded";
		const isRated = this.#lanes.concerns(metadata, now);
		const id = String(this.#ids++);
		if (isRated || reserved.held.length > 0) this.#holding.set(request, { id, budgets: reserved.held, isRated });
		if (!isRated) return this.#guarded(request, now);
		const waiting = {
			id,
			request,
			tokens: promptTokens + completionTokens,
			since: now,
			expiresAt: now + submit.timeoutMs,
		};
		const entry = this.#lanes.enter(metadata, waiting, now);
		if (entry === "goes") return this.#guarded(request, now);
		if (entry === "full") return "queue_full";
		this.#waiting.set(id, waiting);
		this.#expiresAt = Math.min(this.#expiresAt, waiting.expiresAt);
		this.#rearm(now);
		request.held.push("rate_quota");
		for (const { quota } of this.#lanes.termsOf(metadata, now))
			this.#rateHeld.set(quota.id, (this.#rateHeld.get(quota.id) ?? 0) + 1);
		return "held";
	}

	/** Somebody is to be let go or given up no later than this; `Infinity` when nobody is held. */
	get nextAt(): Millis {
		return Math.min(this.#laneAt, this.#expiresAt, this.#lookAt);
	}

	/** Those whom nothing holds any longer. */
	due(now: Millis): readonly Left<R>[] {
		const left: Left<R>[] = [];
		if (now >= this.#expiresAt) this.#expire(now, left);
		if (now >= this.#laneAt) {
			for (let next = this.#lanes.next(now); next !== undefined; next = this.#lanes.next(now)) {
				this.#waiting.delete(next.id);
				const heldMs = now - next.since;
				const { submit } = next.request.arrival;
				submit.timeoutMs = Math.max(1, submit.timeoutMs - heldMs);
				const entry = this.#guarded(next.request, now);
				if (entry !== "held") left.push({ request: next.request, heldMs, timedOut: false });
			}
			this.#rearm(now);
		}
		if (now >= this.#lookAt) {
			for (const { request, heldMs, timedOut } of this.#hold.look(now)) {
				const { submit } = request.arrival;
				submit.timeoutMs = Math.max(1, submit.timeoutMs - heldMs);
				left.push({ request, heldMs, timedOut });
			}
			this.#lookAt = this.#hold.size === 0 ? Number.POSITIVE_INFINITY : now + HOLD_LOOK_MS;
			this.#noteGuard(now);
		}
		return left;
	}

	/** Over: what it used, nothing when it never ran to its end. Once per request that entered. */
	ended(request: R, used: { readonly prompt: Tokens; readonly completion: Tokens } | undefined, now: Millis): void {
		const holding = this.#holding.get(request);
		if (holding === undefined) return;
		this.#holding.delete(request);
		if (used === undefined) this.#budgets.release(holding.budgets);
		else {
			const amounts = this.#amounts(request.arrival, used.prompt, used.completion);
			this.#budgets.commit(holding.budgets, amounts, this.#calendar.epochAt(now));
		}
		if (!holding.isRated) return;
		this.#lanes.finish(holding.id, used === undefined ? 0 : used.prompt + used.completion, now);
		this.#rearm(now);
	}

	/** The guard was asked, by an external request that it refused or not. */
	asked(refused: boolean, now: Millis): void {
		if (refused) this.#guardRefused++;
		this.#noteGuard(now);
	}

	report(endMs: Millis): PromiseReport {
		const { guard, startAt } = this.#to;
		const spans = this.#closures.map(([from, to]) => [Math.round(from), Math.round(Math.min(to, endMs))] as const);
		return {
			starts_at: new Date(startAt).toISOString(),
			windows: this.#calendar.report(endMs),
			...(guard.settings.enabled
				? {
						guard: {
							max_tps: Number.isFinite(guard.settings.maxTps) ? guard.settings.maxTps : null,
							closed: spans.length,
							closed_ms: spans.reduce((sum, [from, to]) => sum + to - from, 0),
							spans_ms: spans,
							refused: this.#guardRefused,
							held: this.#guardHeld,
						},
					}
				: {}),
			budgets: this.#budgets.report(this.#calendar.epochAt(endMs)),
			rates: [...this.#lanes.views(endMs)].map(({ quota, borrowed }) => {
				const { assuredTps, ceilingTps } = rateTermsOf(quota, this.#to.config.quotas.maxBorrowPct);
				return {
					quota_id: quota.id,
					node: quota.node,
					environment: quota.environment ?? null,
					assured_tps: assuredTps,
					ceiling_tps: Number.isFinite(ceilingTps) ? ceilingTps : null,
					held: this.#rateHeld.get(quota.id) ?? 0,
					borrowed_tokens: borrowed,
				};
			}),
		};
	}

	#guarded(request: R, now: Millis): Entry {
		const { isKeptOut, submit, metadata } = request.arrival;
		if (!isKeptOut) return "goes";
		const half = request.arrival.route?.half ?? 0;
		const { maxDepth } = this.#to.queues[half]![submit.queue]!;
		// Queues of two halves are counted apart.
		if (!this.#hold.add(request, metadata.tier, 128 * half + submit.queue, submit.timeoutMs, maxDepth, now))
			return "queue_full";
		this.#lookAt = Math.min(this.#lookAt, now + HOLD_LOOK_MS);
		this.#guardHeld++;
		request.held.push("capacity_guard");
		return "held";
	}

	#expire(now: Millis, left: Left<R>[]): void {
		let next = Number.POSITIVE_INFINITY;
		for (const { id, request, since, expiresAt } of [...this.#waiting.values()]) {
			if (expiresAt > now) {
				next = Math.min(next, expiresAt);
				continue;
			}
			this.#lanes.leave(id);
			this.#waiting.delete(id);
			left.push({ request, heldMs: now - since, timedOut: true });
		}
		this.#expiresAt = next;
		this.#rearm(now);
	}

	#rearm(now: Millis): void {
		this.#laneAt = this.#waiting.size === 0 ? Number.POSITIVE_INFINITY : Math.max(now + 1, this.#lanes.nextAt(now));
	}

	#noteGuard(now: Millis): void {
		const { closedSince } = this.#to.guard;
		const last = this.#closures.at(-1);
		const isOpen = last === undefined || last[1] !== Number.POSITIVE_INFINITY;
		if (closedSince === undefined && !isOpen) last[1] = now;
		else if (closedSince !== undefined && isOpen) this.#closures.push([closedSince, Number.POSITIVE_INFINITY]);
	}

	#amounts({ model, adjusted }: Arrival, promptTokens: Tokens, completionTokens: Tokens): QuotaAmounts {
		const usage = { promptTokens, completionTokens, cachedTokens: 0, source: "estimated" } as const;
		return {
			tokens: promptTokens + completionTokens,
			requests: 1,
			nanoDollars: Math.round(this.#priceOf(model, usage) * adjusted.costMultiplier),
		};
	}
}
