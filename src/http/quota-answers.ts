/**
 * What clients are told of budgets: the refusal when one is spent, and the headers while one holds. Of several budgets the one with the
 * smallest share left speaks for its unit.
 */
import type { Refusal } from "../core/model/error-code.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { ceilingOf, remainingOf } from "../core/quota/counter.ts";
import { fromCounted, type LimitDimension, type Quota } from "../core/quota/quota.ts";
import type { BudgetView, SpentBudget } from "../engine/quota-service.ts";
import type { DialectName } from "../protocol/dialect.ts";

/** When only requests under way hold the rest, some of it may come back this soon. */
const HELD_RETRY_MS = 2000;

export function spentRefusal(spent: SpentBudget): Refusal {
	const { quota, state, amount, period, at } = spent;
	const show = (counted: number) => shownAmount(quota.limitDimension, counted);
	const ceiling = ceilingOf(spent, state);
	const heldOnly = state.used + amount <= ceiling;
	const held = state.reserved > 0 ? `, ${show(state.reserved)} held by requests under way` : "";
	const message =
		amount > ceiling
			? `this request needs about ${show(amount)}, more than the whole budget of ${nameOf(quota)} (${show(ceiling)})`
			: `the budget of ${nameOf(quota)} is spent (${show(state.used)} of ${show(ceiling)} used${held}, this request needs about ${show(amount)})`;
	return {
		code: "quota_exceeded",
		message: `${message}; it starts again at ${new Date(period.end).toISOString()}`,
		retryAfterMs: heldOnly ? HELD_RETRY_MS : Math.max(1000, period.end - at),
		...(amount > ceiling ? { retryable: false } : {}),
	};
}

/** Names and values in turn. `X-Quota-Remaining` is in tokens, else in requests, else in dollars: what the budgets count. */
export function quotaHeaders(budgets: readonly BudgetView[], dialect: DialectName, now: EpochMillis): string[] {
	const tokens = tightest(budgets, "tokens");
	const requests = tightest(budgets, "requests");
	const first = tokens ?? requests ?? tightest(budgets, "usd")!;
	const headers = ["X-Quota-Remaining", String(fromCounted(first.quota.limitDimension, remaining(first)))];
	const alerted = Math.max(...budgets.map(({ alertedPct }) => alertedPct));
	if (alerted > 0) headers.push("X-Quota-Alert", String(alerted));
	for (const [unit, budget] of [
		["requests", requests],
		["tokens", tokens],
	] as const) {
		if (budget === undefined) continue;
		const { end } = budget.period;
		const [limit, left, reset] =
			dialect === "anthropic"
				? ["limit", "remaining", "reset"].map((word) => `anthropic-ratelimit-${unit}-${word}`)
				: ["limit", "remaining", "reset"].map((word) => `x-ratelimit-${word}-${unit}`);
		const resetText = dialect === "anthropic" ? new Date(end).toISOString() : durationText(end - now);
		const whole = Math.max(0, budget.limit + budget.state.adjusted);
		headers.push(limit!, String(whole), left!, String(remaining(budget)), reset!, resetText);
	}
	return headers;
}

function tightest(budgets: readonly BudgetView[], unit: string): BudgetView | undefined {
	const share = (view: BudgetView) => remaining(view) / Math.max(1, view.limit + view.state.adjusted);
	return budgets
		.filter(({ quota }) => quota.limitDimension.startsWith(unit))
		.reduce<BudgetView | undefined>(
			(least, view) => (least === undefined || share(view) < share(least) ? view : least),
			undefined,
		);
}

function remaining({ limit, state }: BudgetView): number {
	return remainingOf(limit, state);
}

function nameOf({ node, environment, limitDimension }: Quota): string {
	return `${limitDimension} of ${node}${environment === undefined ? "" : ` in ${environment}`}`;
}

function shownAmount(dimension: LimitDimension, counted: number): string {
	const value = fromCounted(dimension, counted);
	if (dimension.startsWith("usd")) return `$${value.toFixed(6).replace(/0{1,4}$/, "")}`;
	return `${value} ${dimension.slice(0, dimension.indexOf("_"))}`;
}

/** As OpenAI writes it: `6h0m12s`. */
function durationText(ms: number): string {
	const seconds = Math.max(0, Math.ceil(ms / 1000));
	const hours = Math.floor(seconds / 3600);
	const minutes = Math.floor((seconds % 3600) / 60);
	const rest = `${seconds % 60}s`;
	if (hours > 0) return `${hours}h${minutes}m${rest}`;
	return minutes > 0 ? `${minutes}m${rest}` : rest;
}
