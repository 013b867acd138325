/**
 * Budgets in a simulation: the gateway's periods and arithmetic (`core/quota`), with counters that begin at nothing. Reserve by estimate, commit by
 * usage, release; a request that does not fit one of its budgets takes nothing from any.
 */
import type { ZoneOffset } from "../core/model/civil-time.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { Budget, type PeriodDefaults } from "../core/quota/budget.ts";
import { mayReserve, usedPct } from "../core/quota/counter.ts";
import { fromCounted, isBudget, nodesOf, type Quota, type QuotaAmounts, type QuotaNode } from "../core/quota/quota.ts";

export interface BudgetReport {
	readonly quota_id: string;
	readonly node: string;
	readonly environment: string | null;
	readonly quota_type: Quota["quotaType"];
	readonly limit_dimension: Quota["limitDimension"];
	readonly limit_value: number;
	/** In the period that was running at the end. */
	readonly used_value: number;
	readonly usage_pct: number;
	/** Requests that it refused, in all periods. */
	readonly refused: number;
}

interface Counted {
	readonly budget: Budget;
	key: string;
	counter: { used: number; reserved: number; adjusted: number };
	refused: number;
}

/** Counters as they were when the request reserved: one whose period is over takes nothing from the next. */
export type Reservation = readonly {
	readonly counted: Counted;
	readonly counter: Counted["counter"];
	readonly amount: number;
}[];

const NOTHING: Reservation = [];

export class SimulatedBudgets {
	readonly #byNode = new Map<QuotaNode, Counted[]>();
	readonly #all: Counted[] = [];

	constructor(quotas: readonly Quota[], defaults: PeriodDefaults, offset: ZoneOffset) {
		for (const quota of quotas) {
			if (!isBudget(quota)) continue;
			const counted: Counted = {
				budget: new Budget(quota, defaults, offset),
				key: "",
				counter: { used: 0, reserved: 0, adjusted: 0 },
				refused: 0,
			};
			this.#all.push(counted);
			this.#byNode.set(quota.node, [...(this.#byNode.get(quota.node) ?? []), counted]);
		}
	}

	/** What it holds, or the budget that it does not fit. `multiplier` scales the limits for this request. */
	reserve(
		metadata: RoutingMetadata,
		amounts: QuotaAmounts,
		multiplier: number,
		at: EpochMillis,
	): { readonly ok: true; readonly held: Reservation } | { readonly ok: false; readonly spent: Quota } {
		const counted = this.#of(metadata);
		if (counted.length === 0) return { ok: true, held: NOTHING };
		for (const one of counted) {
			const { budget } = one;
			this.#turn(one, at);
			const limit = multiplier === 1 ? budget.limit : Math.floor(budget.limit * multiplier);
			const terms = { limit, refusedAbovePct: budget.refusedAbovePct };
			if (mayReserve(terms, one.counter, amounts[budget.unit])) continue;
			one.refused++;
			return { ok: false, spent: budget.quota };
		}
		const held = counted.map((one) => ({ counted: one, counter: one.counter, amount: amounts[one.budget.unit] }));
		for (const { counter, amount } of held) counter.reserved += amount;
		return { ok: true, held };
	}

	/** It ran and used this. */
	commit(held: Reservation, amounts: QuotaAmounts, at: EpochMillis): void {
		this.release(held);
		for (const { counted } of held) {
			this.#turn(counted, at);
			counted.counter.used += amounts[counted.budget.unit];
		}
	}

	/** It never ran. */
	release(held: Reservation): void {
		for (const { counter, amount } of held) counter.reserved -= amount;
	}

	report(at: EpochMillis): readonly BudgetReport[] {
		return this.#all.map((one) => {
			this.#turn(one, at);
			const { quota, limit } = one.budget;
			return {
				quota_id: quota.id,
				node: quota.node,
				environment: quota.environment ?? null,
				quota_type: quota.quotaType,
				limit_dimension: quota.limitDimension,
				limit_value: quota.limitValue,
				used_value: fromCounted(quota.limitDimension, one.counter.used),
				usage_pct: Math.round(usedPct(limit, one.counter) * 100) / 100,
				refused: one.refused,
			};
		});
	}

	#of(metadata: RoutingMetadata): readonly Counted[] {
		if (this.#all.length === 0) return [];
		return nodesOf(metadata).flatMap((node) =>
			(this.#byNode.get(node) ?? []).filter(
				({ budget: { quota } }) => quota.environment === undefined || quota.environment === metadata.environment,
			),
		);
	}

	/** Another period begins with nothing used. */
	#turn(one: Counted, at: EpochMillis): void {
		const key = one.budget.keyAt(at);
		if (key === one.key) return;
		one.key = key;
		one.counter = { used: 0, reserved: 0, adjusted: 0 };
	}
}
