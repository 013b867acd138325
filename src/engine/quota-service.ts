/**
 * Budgets of requests: which hold for one, reserve by estimate at admission, commit by usage at the end, release when it never ran.
 *
 * The common cases answer with a value, not a promise: no budget holds, or all counters are at hand. The ledger is the truth: a counter is
 * the ledger's sum over its period plus what settled since, so counter and ledger agree whatever died in between.
 */
import type { ZoneOffset } from "../core/model/civil-time.ts";
import { InvariantError } from "../core/model/invariant-error.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { EpochMillis, Millis } from "../core/model/units.ts";
import { Budget, type PeriodDefaults } from "../core/quota/budget.ts";
import { type CounterState, EMPTY_COUNTER, newAlerts, usedPct } from "../core/quota/counter.ts";
import type { Period } from "../core/quota/period.ts";
import {
	amountIn,
	isBudget,
	nodesOf,
	type Quota,
	type QuotaAmounts,
	type QuotaNode,
	tokenNode,
} from "../core/quota/quota.ts";
import type { Timers } from "../ports/clock.ts";
import type { LedgerFilter, LedgerStore } from "../ports/ledger-store.ts";
import type { CounterKey, QuotaCounters, ReserveAnswer, ReserveCharge } from "../ports/quota-counters.ts";
import type { QuotaStore, QuotaUsage } from "../ports/quota-store.ts";

const LOAD_RETRY_MS: Millis = 5000;
/** Requests wait for the ledger's part of a counter no longer than this. */
const LONGEST_LOAD_MS: Millis = 2000;
/** Counters kept of one budget: the running period, and those that requests or a clock that jumps may come back to. */
const KEPT_PERIODS = 3;

export interface QuotaAlert {
	readonly quota: Quota;
	/** 80, 90 or 100. */
	readonly thresholdPct: number;
	readonly usedPct: number;
	/** In the counted unit. */
	readonly used: number;
	readonly limit: number;
	readonly period: Period;
	readonly at: EpochMillis;
}

/** A budget that a request would not fit, as it stood. */
export interface SpentBudget {
	readonly quota: Quota;
	readonly limit: number;
	readonly state: CounterState;
	readonly amount: number;
	readonly refusedAbovePct: number;
	readonly period: Period;
	readonly at: EpochMillis;
}

/** Where a budget stands. */
export interface BudgetView {
	readonly quota: Quota;
	/** In the counted unit. */
	readonly limit: number;
	readonly refusedAbovePct: number;
	readonly state: CounterState;
	readonly period: Period;
	readonly alertedPct: number;
}

export interface QuotaServiceDependencies {
	readonly store: QuotaStore;
	readonly ledger: Pick<LedgerStore, "sum">;
	readonly counters: QuotaCounters;
	readonly offset: ZoneOffset;
	readonly epochNow: () => EpochMillis;
	readonly timers: Timers;
	/** Brings what settled into the ledger, before it is summed. Never rejects; false when the ledger does not take it. */
	readonly settleLedger: () => Promise<boolean>;
	/** Absent in a process that only reports: alerts are left to the gateway. */
	readonly onAlert?: (alert: QuotaAlert) => void;
	readonly onError: (error: unknown) => void;
}

/**
 * The counter of one period. It begins with what the ledger says was used in the period, asked for once, at the first touch; until the answer is
 * there requests wait, commits count already. So a restart, a new quota and a new period are the same thing.
 */
interface Slot {
	readonly key: CounterKey;
	readonly period: Period;
	/** What requests wait for; never rejects. */
	loading: Promise<void> | undefined;
	/** The ledger's part is in. */
	isWhole: boolean;
	/** The ledger did not answer: asked again at the first touch after this. */
	retryAt: EpochMillis | undefined;
	/** Everything that settled at or after this is counted here as it happens; what came before is the ledger's part. */
	readonly countedFrom: EpochMillis;
	alertedPct: number;
	/** What was added by hand, as far as the counter has it; undefined before anybody said. */
	adjusted: number | undefined;
	/** Of the newest commits: their instant and their sum, so that a checkpoint can leave them out. */
	lastAt: EpochMillis;
	lastAmount: number;
}

export class QuotaService {
	readonly #defaults: PeriodDefaults;
	readonly #to: QuotaServiceDependencies;
	#byNode = new Map<QuotaNode, Budget[]>();
	/** Budgets that come with tokens, by quota id. As many as tokens that have one were used. */
	readonly #byToken = new Map<string, Budget>();
	readonly #slots = new Map<CounterKey, Slot>();
	/** Per quota, oldest first. */
	readonly #keysOf = new Map<string, CounterKey[]>();
	/** What was found for an identity, which is one object for as long as it is cached. */
	#known = new WeakMap<RoutingMetadata, readonly Budget[]>();
	#saving: Promise<void> = Promise.resolve();

	constructor(defaults: PeriodDefaults, dependencies: QuotaServiceDependencies) {
		this.#defaults = defaults;
		this.#to = dependencies;
	}

	/** Reads the quotas again; counters of what is still counted stay. */
	async reload(): Promise<void> {
		const quotas = await this.#to.store.all();
		const gone = new Set([...this.#byNode.values()].flatMap((budgets) => budgets.map(({ quota }) => quota.id)));
		const byNode = new Map<QuotaNode, Budget[]>();
		for (const quota of quotas) {
			if (!isBudget(quota)) continue;
			gone.delete(quota.id);
			const budget = new Budget(quota, this.#defaults, this.#to.offset);
			const same = byNode.get(quota.node);
			if (same === undefined) byNode.set(quota.node, [budget]);
			else same.push(budget);
		}
		this.#byNode = byNode;
		this.#known = new WeakMap();
		for (const id of gone) for (const key of this.#keysOf.get(id) ?? []) this.#drop(id, key);
	}

	/** Asks the ledger for all budgets now, so that the first requests need not wait. */
	async warmUp(): Promise<void> {
		const now = this.#to.epochNow();
		await Promise.all(this.#budgets().map((budget) => this.#slot(budget, now).loading));
	}

	/** Whether any budget holds for a request: the one question on the way of all of them. */
	concerns(metadata: RoutingMetadata): boolean {
		return this.#budgetsOf(metadata).length > 0;
	}

	/**
	 * Undefined: it may go on, and everything it needs is reserved under its id. Otherwise the first budget that it does not fit, and nothing
	 * is reserved. `multiplier` scales the limits for this request.
	 */
	reserve(
		requestId: string,
		metadata: RoutingMetadata,
		amounts: QuotaAmounts,
		multiplier: number,
	): SpentBudget | undefined | Promise<SpentBudget | undefined> {
		const budgets = this.#budgetsOf(metadata);
		if (budgets.length === 0) return undefined;
		const now = this.#to.epochNow();
		const charges: ReserveCharge[] = [];
		let loading: Promise<void>[] | undefined;
		for (const budget of budgets) {
			const slot = this.#slot(budget, now);
			if (slot.loading !== undefined) {
				loading ??= [];
				loading.push(slot.loading);
			}
			charges.push({
				key: slot.key,
				limit: multiplier === 1 ? budget.limit : Math.floor(budget.limit * multiplier),
				refusedAbovePct: budget.refusedAbovePct,
				amount: amounts[budget.unit],
				windowEnd: slot.period.end,
			});
		}
		if (loading !== undefined) {
			return Promise.all(loading).then(() => this.reserve(requestId, metadata, amounts, multiplier));
		}
		const answer = this.#to.counters.reserve(requestId, charges);
		if (!(answer instanceof Promise) && answer.ok) return undefined;
		const judge = (answer: ReserveAnswer): SpentBudget | undefined => {
			if (answer.ok) return undefined;
			const { limit, refusedAbovePct, amount } = charges[answer.index]!;
			const budget = budgets[answer.index]!;
			return {
				quota: budget.quota,
				limit,
				refusedAbovePct,
				amount,
				state: answer.state,
				period: budget.periodAt(now),
				at: now,
			};
		};
		return answer instanceof Promise ? answer.then(judge) : judge(answer);
	}

	/** What it used, once, at the instant that its ledger row says. */
	commit(requestId: string, metadata: RoutingMetadata, amounts: QuotaAmounts, settledAt: EpochMillis): void {
		const budgets = this.#budgetsOf(metadata);
		if (budgets.length === 0) {
			this.release(requestId);
			return;
		}
		const slots = budgets.map((budget) => this.#slot(budget, settledAt));
		const charges = budgets.map((budget, i) => {
			const slot = slots[i]!;
			// Settled before this counter began to count (the clock went back): the ledger's sum has it or will not be asked again.
			const amount = settledAt < slot.countedFrom ? 0 : amounts[budget.unit];
			slot.lastAmount = settledAt === slot.lastAt ? slot.lastAmount + amount : amount;
			slot.lastAt = settledAt;
			return { key: slot.key, amount, windowEnd: slot.period.end };
		});
		const tell = (states: readonly CounterState[] | undefined) => {
			if (states === undefined) return;
			for (const [i, state] of states.entries()) this.#alert(budgets[i]!, slots[i]!, state);
		};
		const states = this.#to.counters.commit(requestId, charges);
		if (states instanceof Promise) states.then(tell, this.#to.onError);
		else tell(states);
	}

	/** It never ran. */
	release(requestId: string): void {
		const released = this.#to.counters.release(requestId);
		if (released instanceof Promise) released.catch(this.#to.onError);
	}

	/** Reservations that are held now. */
	get held(): number {
		return this.#to.counters.held;
	}

	/** Where the budgets of a request stand, as this process last saw them. */
	viewsOf(metadata: RoutingMetadata): readonly BudgetView[] {
		const budgets = this.#budgetsOf(metadata);
		if (budgets.length === 0) return [];
		const now = this.#to.epochNow();
		return budgets.map((budget) => this.#view(budget, this.#slot(budget, now)));
	}

	/** Where one quota stands; undefined for one that is no budget. */
	async status(quota: Quota): Promise<BudgetView | undefined> {
		if (!isBudget(quota)) return undefined;
		const known = this.#byNode.get(quota.node)?.find((budget) => budget.quota.id === quota.id);
		const budget = known ?? this.#tokenBudget(quota);
		const slot = this.#slot(budget, this.#to.epochNow());
		await slot.loading;
		return this.#view(budget, slot);
	}

	/** All budgets that were used in the running period, for reports; those of tokens among them. */
	views(): readonly BudgetView[] {
		const now = this.#to.epochNow();
		return this.#budgets().flatMap((budget) => {
			const slot = this.#slots.get(budget.keyAt(now));
			return slot === undefined ? [] : [this.#view(budget, slot)];
		});
	}

	/** Adds to the limit of the running period; answers where it stands then. */
	async adjust(quota: Quota, delta: number, reason: string, actor: string): Promise<BudgetView> {
		const view = await this.status(quota);
		if (view === undefined) throw new InvariantError(`quota ${quota.id} is no budget`);
		const { period } = view;
		const written = await this.#to.store.adjust(
			{ quotaId: quota.id, windowStart: period.start, windowEnd: period.end, delta, reason },
			actor,
		);
		if (!written.ok) throw new InvariantError(written.message);
		const key = `${quota.id}@${period.start}/${period.end}`;
		const slot = this.#slots.get(key);
		// The ledger's part may not be in yet: it then brings no adjustment with it, for this sum has all.
		const missing = written.value - (slot?.adjusted ?? 0);
		if (slot !== undefined) slot.adjusted = written.value;
		const state = await this.#to.counters.add(key, { adjusted: slot === undefined ? delta : missing }, period.end);
		return { ...view, state };
	}

	/** Writes checkpoints: what was used until now need not be summed again. For a process in which no request is under way. */
	async close(): Promise<void> {
		const now = this.#to.epochNow();
		const rows: QuotaUsage[] = [];
		for (const [quotaId, keys] of this.#keysOf) {
			for (const key of keys) {
				const slot = this.#slots.get(key);
				const state = this.#to.counters.lastSeen(key);
				if (state === undefined || slot?.isWhole !== true) continue;
				const usedValue = state.used - (slot.lastAt >= now ? slot.lastAmount : 0);
				rows.push({ ...usageRow(quotaId, slot), usedValue, countedUntil: Math.min(now, slot.period.end) });
			}
		}
		await this.#saving;
		await this.#to.store.saveUsage(rows).catch(this.#to.onError);
	}

	#budgetsOf(metadata: RoutingMetadata): readonly Budget[] {
		let budgets = this.#known.get(metadata);
		if (budgets === undefined) {
			budgets = this.#find(metadata);
			this.#known.set(metadata, budgets);
		}
		return budgets;
	}

	#find(metadata: RoutingMetadata): readonly Budget[] {
		const found: Budget[] = [];
		if (this.#byNode.size > 0) {
			for (const node of nodesOf(metadata)) {
				for (const budget of this.#byNode.get(node) ?? []) {
					const { environment } = budget.quota;
					if (environment === undefined || environment === metadata.environment) found.push(budget);
				}
			}
		}
		const { tokenId, token } = metadata;
		if (tokenId !== undefined && token?.quotaTokensPerMonth !== undefined) {
			found.push(this.#tokenBudget(monthlyQuotaOf(tokenId, metadata.accountId, token.quotaTokensPerMonth)));
		}
		return found;
	}

	/** The budget that a token carries in itself. */
	#tokenBudget(quota: Quota): Budget {
		const known = this.#byToken.get(quota.id);
		if (known !== undefined && known.quota.limitValue === quota.limitValue) return known;
		const budget = new Budget(quota, this.#defaults, this.#to.offset);
		this.#byToken.set(quota.id, budget);
		return budget;
	}

	#budgets(): readonly Budget[] {
		return [...this.#byNode.values()].flat().concat([...this.#byToken.values()]);
	}

	#slot(budget: Budget, at: EpochMillis): Slot {
		const key = budget.keyAt(at);
		const slot = this.#slots.get(key) ?? this.#open(budget, key, at);
		if (slot.retryAt !== undefined && this.#to.epochNow() >= slot.retryAt) this.#load(budget, slot);
		return slot;
	}

	#open(budget: Budget, key: CounterKey, at: EpochMillis): Slot {
		const slot: Slot = {
			key,
			period: budget.periodAt(at),
			loading: undefined,
			isWhole: false,
			retryAt: undefined,
			countedFrom: at,
			alertedPct: 0,
			adjusted: undefined,
			lastAt: 0,
			lastAmount: 0,
		};
		const { id } = budget.quota;
		const keys = [...(this.#keysOf.get(id) ?? []), key];
		this.#slots.set(key, slot);
		this.#keysOf.set(id, keys);
		if (keys.length > KEPT_PERIODS) this.#drop(id, keys[0]!);
		this.#load(budget, slot);
		return slot;
	}

	#drop(quotaId: string, key: CounterKey): void {
		const left = (this.#keysOf.get(quotaId) ?? []).filter((other) => other !== key);
		if (left.length > 0) this.#keysOf.set(quotaId, left);
		else this.#keysOf.delete(quotaId);
		this.#slots.delete(key);
		this.#to.counters.forget(key);
	}

	/** Requests go on when the stores are down: what the ledger knows is added when it answers. */
	#load(budget: Budget, slot: Slot): void {
		slot.retryAt = undefined;
		slot.loading = new Promise((resolve) => {
			const cancel = this.#to.timers.after(LONGEST_LOAD_MS, () => {
				slot.loading = undefined;
				this.#to.onError(new Error(`quota ${budget.quota.id} waits for the ledger and counts from now on`));
				resolve();
			});
			this.#ledgerPart(budget, slot)
				.then(
					() => {
						slot.isWhole = true;
					},
					(error: unknown) => {
						slot.retryAt = this.#to.epochNow() + LOAD_RETRY_MS;
						this.#to.onError(error);
					},
				)
				.finally(() => {
					cancel();
					slot.loading = undefined;
					resolve();
				})
				.catch(this.#to.onError);
		});
	}

	async #ledgerPart(budget: Budget, slot: Slot): Promise<void> {
		const { store, ledger, counters, settleLedger } = this.#to;
		const { quota } = budget;
		const kept = await store.usage(quota.id, slot.period.start);
		if (!(await settleLedger())) throw new Error(`the ledger does not answer, quota ${quota.id} counts from now on`);
		const until = slot.countedFrom;
		const checkpoint = kept !== undefined && kept.countedUntil > 0 && kept.countedUntil <= until ? kept : undefined;
		const since = Math.max(slot.period.start, checkpoint?.countedUntil ?? 0);
		const [sum] = since < until ? await ledger.sum({ ...ledgerFilterOf(quota), since, until }, []) : [];
		const used =
			sum === undefined
				? 0
				: amountIn(quota.limitDimension, {
						tokens: sum.promptTokens + sum.completionTokens,
						requests: sum.requests,
						nanoDollars: Number(sum.costNanoDollars),
					});
		if (this.#slots.get(slot.key) !== slot) return;
		slot.alertedPct = Math.max(slot.alertedPct, kept?.alertedPct ?? 0);
		const adjusted = slot.adjusted === undefined ? (kept?.adjustedValue ?? 0) : 0;
		slot.adjusted ??= adjusted;
		const state = await counters.add(
			slot.key,
			{ used: used + (checkpoint?.usedValue ?? 0), adjusted },
			slot.period.end,
		);
		this.#alert(budget, slot, state);
	}

	#alert(budget: Budget, slot: Slot, state: CounterState): void {
		const pct = usedPct(budget.limit, state);
		const { onAlert } = this.#to;
		const alerts = newAlerts(pct, slot.alertedPct);
		if (alerts.length === 0 || onAlert === undefined) return;
		slot.alertedPct = alerts.at(-1)!;
		for (const thresholdPct of alerts) {
			onAlert({
				quota: budget.quota,
				thresholdPct,
				usedPct: pct,
				used: state.used,
				limit: budget.limit + state.adjusted,
				period: slot.period,
				at: this.#to.epochNow(),
			});
		}
		const row: QuotaUsage = { ...usageRow(budget.quota.id, slot), usedValue: state.used, countedUntil: 0 };
		this.#saving = this.#saving.then(() => this.#to.store.saveUsage([row])).catch(this.#to.onError);
	}

	#view(budget: Budget, slot: Slot): BudgetView {
		const { quota, limit, refusedAbovePct } = budget;
		const state = this.#to.counters.lastSeen(slot.key) ?? EMPTY_COUNTER;
		return { quota, limit, refusedAbovePct, state: { ...state }, period: slot.period, alertedPct: slot.alertedPct };
	}
}

/** `quota_tokens_per_month` of a token, as the quota that it is short for. */
export function monthlyQuotaOf(tokenId: string, accountId: string, tokensPerMonth: number): Quota {
	return {
		id: `${tokenId}/tokens_per_month`,
		accountId,
		node: tokenNode(tokenId),
		quotaType: "hard",
		limitDimension: "tokens_per_month",
		limitValue: tokensPerMonth,
		allowBorrow: false,
		lend: false,
	};
}

function usageRow(quotaId: string, slot: Slot): Omit<QuotaUsage, "usedValue" | "countedUntil"> {
	return {
		quotaId,
		windowStart: slot.period.start,
		windowEnd: slot.period.end,
		adjustedValue: 0,
		alertedPct: slot.alertedPct,
	};
}

/** The ledger's rows that a node's budget counts. */
function ledgerFilterOf({ node, environment }: Quota): LedgerFilter {
	const colon = node.indexOf(":");
	const name = node.slice(colon + 1);
	const inEnvironment = environment === undefined ? {} : { environment };
	switch (node.slice(0, colon)) {
		case "organisation":
			return { organisation: name, ...inEnvironment };
		case "team": {
			const slash = name.indexOf("/");
			return { organisation: name.slice(0, slash), team: name.slice(slash + 1), ...inEnvironment };
		}
		case "account":
			return { accountId: name, ...inEnvironment };
		case "token":
			return { tokenId: name, ...inEnvironment };
		default:
			throw new InvariantError(`quota node ${node} has no kind`);
	}
}
