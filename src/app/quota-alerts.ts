/** What becomes of a quota alert: a counter for `/metrics`, a line in the log, a call of the webhook. */
import type { GatewayConfig } from "../config/gateway-config.ts";
import { ALERT_THRESHOLDS_PCT } from "../core/quota/counter.ts";
import { fromCounted } from "../core/quota/quota.ts";
import type { BudgetView, QuotaAlert, QuotaService } from "../engine/quota-service.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import { systemClock, systemTimers } from "./system.ts";
import { Webhook } from "./webhook.ts";

export interface QuotaAlerts {
	tell(alert: QuotaAlert): void;
	/** Lines of `/metrics`. */
	metrics(quotas: QuotaService, rates: RateGate): Iterable<string>;
	close(): Promise<void>;
}

export interface AlertLog {
	warn(fields: object, message: string): void;
	error(fields: object, message: string): void;
}

export function quotaAlerts(config: GatewayConfig, env: NodeJS.ProcessEnv, log: AlertLog): QuotaAlerts {
	const { alertWebhook, alertWebhookSecretEnv, alertWebhookAllowPrivate } = config.quotas;
	const webhook =
		alertWebhook === undefined
			? undefined
			: new Webhook(
					{
						url: alertWebhook,
						secret: alertWebhookSecretEnv === undefined ? undefined : env[alertWebhookSecretEnv],
						allowPrivate: alertWebhookAllowPrivate,
					},
					{
						clock: systemClock,
						timers: systemTimers,
						onLost: (type, why) => log.error({ type, why }, "the alert webhook did not take an event"),
					},
				);
	const told = new Map<number, number>(ALERT_THRESHOLDS_PCT.map((threshold) => [threshold, 0]));
	return {
		tell(alert) {
			told.set(alert.thresholdPct, (told.get(alert.thresholdPct) ?? 0) + 1);
			const data = alertData(alert);
			log.warn(data, "quota alert");
			webhook?.send("quota.alert", data);
		},
		*metrics(quotas, rates) {
			yield* metricLines(quotas.views(), config.observability.topAccounts);
			yield "# HELP tokligence_quota_alerts_total Alerts by threshold, once per budget and period.";
			yield "# TYPE tokligence_quota_alerts_total counter";
			for (const [threshold, count] of told) yield `tokligence_quota_alerts_total{threshold="${threshold}"} ${count}`;
			yield "# HELP tokligence_quota_borrow_total Tokens used above assured rates.";
			yield "# TYPE tokligence_quota_borrow_total counter";
			for (const { quota, borrowed } of rates.views())
				if (borrowed > 0) yield `tokligence_quota_borrow_total{${labelsOf({ quota })}} ${borrowed}`;
			yield "# HELP tokligence_quota_rate_waiting Requests that wait for a rate quota.";
			yield "# TYPE tokligence_quota_rate_waiting gauge";
			yield `tokligence_quota_rate_waiting ${rates.waiting}`;
		},
		close: async () => webhook?.close(),
	};
}

function alertData({ quota, thresholdPct, usedPct, used, limit, period, at }: QuotaAlert): object {
	const { limitDimension } = quota;
	return {
		quota_id: quota.id,
		account_id: quota.accountId,
		node: quota.node,
		environment: quota.environment ?? null,
		quota_type: quota.quotaType,
		limit_dimension: limitDimension,
		threshold_pct: thresholdPct,
		usage_pct: Math.round(usedPct * 100) / 100,
		used_value: fromCounted(limitDimension, used),
		limit_value: fromCounted(limitDimension, limit),
		window_start: new Date(period.start).toISOString(),
		window_end: new Date(period.end).toISOString(),
		at: new Date(at).toISOString(),
	};
}

/** The budgets nearest to their limit, at most `most` of them. */
function* metricLines(views: readonly BudgetView[], most: number): Iterable<string> {
	const shown = views
		.map((view) => ({ view, whole: Math.max(0, view.limit + view.state.adjusted) }))
		.map(({ view, whole }) => ({ view, whole, pct: whole === 0 ? 100 : (view.state.used / whole) * 100 }))
		.toSorted((a, b) => b.pct - a.pct)
		.slice(0, most);
	const families = [
		["tokligence_quota_used", "Used in the running period (tokens, dollars, requests).", used],
		["tokligence_quota_limit", "Limit of the running period, adjustments included.", limit],
		["tokligence_quota_usage_pct", "Used, in percent of the limit.", (entry: Shown) => entry.pct],
	] as const;
	for (const [name, help, value] of families) {
		yield `# HELP ${name} ${help}`;
		yield `# TYPE ${name} gauge`;
		for (const entry of shown) yield `${name}{${labelsOf(entry.view)}} ${value(entry)}`;
	}
}

interface Shown {
	readonly view: BudgetView;
	readonly whole: number;
	readonly pct: number;
}

function used({ view }: Shown): number {
	return fromCounted(view.quota.limitDimension, view.state.used);
}

function limit({ view, whole }: Shown): number {
	return fromCounted(view.quota.limitDimension, whole);
}

function labelsOf({ quota }: Pick<BudgetView, "quota">): string {
	const label = (text: string) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
	return `node="${label(quota.node)}",environment="${label(quota.environment ?? "")}",dimension="${quota.limitDimension}"`;
}
