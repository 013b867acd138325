/**
 * What was promised to a described request and to others, in a gateway in which nothing has happened yet: the time windows that hold at the instant,
 * its budgets with nothing used, its rates, the capacity guard, reservations, preemption.
 */
import { systemCalendar } from "../app/calendar.ts";
import type { Policy } from "../app/policy-reader.ts";
import {
	budgetText,
	engineText,
	guardText,
	preemptionText,
	rateText,
	reservationText,
	shareText,
	windowText,
} from "../app/promise-text.ts";
import type { CompiledConfig } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { pricesOf } from "../config/prices.ts";
import { ActiveWindows } from "../core/allocate/time-window.ts";
import { parseSchedule, spanAt } from "../core/allocate/time-window-schedule.ts";
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { Budget } from "../core/quota/budget.ts";
import { ceilingOf, EMPTY_COUNTER } from "../core/quota/counter.ts";
import { isBudget, nodesOf, type Quota } from "../core/quota/quota.ts";
import { rateTermsOf } from "../core/quota/rate-tree.ts";

/** What an offline answer takes for the gateway's store. */
export interface Surroundings {
	readonly policy?: Policy;
	/** Now, or as it was asked. */
	readonly at: EpochMillis;
}

export interface PromiseStep {
	readonly step: "window" | "reserved" | "quota" | "rate" | "guard" | "preemption" | "engine";
	readonly result: string;
}

export interface PromiseSteps {
	readonly steps: readonly PromiseStep[];
	/** A budget has no room for it, however little was used. */
	readonly isSpent: boolean;
}

/** The windows that hold then. */
export function windowsAt({ policy, at }: Surroundings, config: GatewayConfig): ActiveWindows {
	if (policy === undefined || !config.timeWindows.enabled) return new ActiveWindows([]);
	const holding = policy.windows.filter((window) => {
		const parsed = parseSchedule(window, systemCalendar.offset);
		return window.enabled && parsed.ok && spanAt(parsed.starts, window.durationMs, at) !== undefined;
	});
	return new ActiveWindows(holding);
}

export function promisesOf(
	arrival: Arrival,
	config: GatewayConfig,
	compiled: CompiledConfig,
	windows: ActiveWindows,
	surroundings: Surroundings,
): PromiseSteps {
	const steps: PromiseStep[] = [];
	const say = (step: PromiseStep["step"], result: string | undefined) => {
		if (result !== undefined) steps.push({ step, result });
	};
	const { metadata, allocation } = arrival;
	const { queues } = compiled.core.halves?.[arrival.route?.half ?? 0] ?? compiled.allocator;
	const own = queues[allocation.queue]!;
	for (const step of windows.steps(metadata)) say("window", windowText(step));
	say("reserved", reservationText(own.reservedTps, own.lendable !== false, own.limitTps));
	const isSpent = quotaSteps(arrival, config, surroundings, say);
	const internalLimit = windows.internalLimit ?? compiled.guard.internalLimit;
	const { tierShares } = windows;
	const guard = {
		...compiled.guard,
		tierShares,
		internalLimit,
		resume: Math.min(compiled.guard.resume, internalLimit),
	};
	say("guard", guardText(guard, arrival.isExternal, true, allocation.queue));
	say("guard", shareText(guard, metadata.tier, 0));
	const label = (queue: number) => queues[queue]?.label ?? String(queue);
	say("preemption", preemptionText(compiled.core.preemption, arrival.submit, label));
	for (const pool of arrival.submit.pools) say("engine", engineText(compiled.pools[pool % compiled.pools.length]!));
	return { steps, isSpent };
}

function quotaSteps(
	arrival: Arrival,
	config: GatewayConfig,
	{ policy, at }: Surroundings,
	say: (step: PromiseStep["step"], result: string) => void,
): boolean {
	if (policy === undefined || !config.quotas.enabled) return false;
	const { metadata, submit, rule, adjusted, model } = arrival;
	const { promptTokens, completionTokens } = submit;
	const usage = { promptTokens, completionTokens, cachedTokens: 0, source: "estimated" } as const;
	const amounts = {
		tokens: promptTokens + completionTokens,
		requests: 1,
		nanoDollars: Math.round(pricesOf(config)(model, usage) * adjusted.costMultiplier),
	};
	const multiplier = (rule.rule.quotaMultiplier ?? 1) * adjusted.quotaMultiplier;
	const { quotaResetDay: resetDay, timezone: zone, maxBorrowPct } = config.quotas;
	let isSpent = false;
	const mine = (quota: Quota) => quota.environment === undefined || quota.environment === metadata.environment;
	for (const node of nodesOf(metadata)) {
		for (const quota of policy.quotas.filter((one) => one.node === node && mine(one))) {
			if (!isBudget(quota)) {
				say("rate", rateText(quota, rateTermsOf(quota, maxBorrowPct)));
				continue;
			}
			const budget = new Budget(quota, { resetDay, zone }, systemCalendar.offset);
			const limit = Math.floor(budget.limit * multiplier);
			const ceiling = ceilingOf({ limit, refusedAbovePct: budget.refusedAbovePct }, EMPTY_COUNTER);
			const fits = amounts[budget.unit] <= ceiling;
			isSpent ||= !fits;
			say("quota", budgetText(quota, EMPTY_COUNTER, ceiling, budget.periodAt(at).end, fits));
		}
	}
	return isSpent;
}
