/** Sentences of an explanation about what was promised to a request and to others: time windows, budgets, rates, guard, reservations, preemption. */
import type { CompiledPool } from "../config/compile.ts";
import type { AdjustmentStep } from "../core/allocate/time-window.ts";
import type { GuardSettings } from "../core/capacity/capacity-guard.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { fromCounted, type Quota } from "../core/quota/quota.ts";
import type { RateTerms } from "../core/quota/rate-tree.ts";
import type { PreemptionSettings } from "../core/schedule/core-settings.ts";
import type { SubmitRequest } from "../core/schedule/submit-request.ts";

export function windowText({ window, target, name, value, overruled }: AdjustmentStep): string {
	const field = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
	// On the wire it is in percent.
	const shown = field.endsWith("_pct") ? Math.round(value * 1e6) / 1e4 : value;
	return `${window} (${target}): ${field} ${shown}${overruled ? ", overruled by a window before it" : ""}`;
}

/** Amounts in the counted unit. */
export function budgetText(
	quota: Quota,
	{ used, reserved }: { readonly used: number; readonly reserved: number },
	ceiling: number,
	periodEnd: EpochMillis,
	fits: boolean,
): string {
	const show = (counted: number) => fromCounted(quota.limitDimension, counted);
	return [
		`${quota.quotaType} ${quota.limitDimension} of ${nodeText(quota)}: ${show(used)} used`,
		`${show(reserved)} held, at most ${show(ceiling)} until ${new Date(periodEnd).toISOString()}`,
		fits ? "it fits" : "it does not fit: quota_exceeded",
	].join(", ");
}

export function rateText(quota: Quota, { assuredTps, ceilingTps, lend }: RateTerms): string {
	const ceiling = Number.isFinite(ceilingTps) ? `at most ${number(ceilingTps)}` : "no ceiling";
	const lends = lend ? "" : ", not lent to others";
	return `${quota.quotaType} ${nodeText(quota)}: ${number(assuredTps)} tokens/s assured${lends}, ${ceiling}`;
}

/** Undefined where the guard has nothing to say of the request. */
export function guardText(
	guard: GuardSettings,
	isExternal: boolean,
	isOpen: boolean,
	queue: number,
): string | undefined {
	if (!guard.enabled) return undefined;
	const buffer =
		guard.buffer > 0 && !guard.bufferFor.includes(queue)
			? `; ${percent(guard.buffer)} of ${number(guard.maxTps)} tokens/s are kept for queues ${guard.bufferFor.join(", ")}`
			: "";
	if (!isExternal) return buffer === "" ? undefined : `internal work passes${buffer}`;
	const limit = `${percent(guard.internalLimit)} of ${number(guard.maxTps)} tokens/s`;
	const what = guard.action === "queue" ? "it would wait" : "it would be refused";
	return isOpen
		? `open to external work; ${what} while internal work uses ${limit} or more${buffer}`
		: `closed: internal work used ${limit}; open again below ${percent(guard.resume)} over a minute`;
}

/** Undefined where no time window gives the tier a share. */
export function shareText(guard: GuardSettings, tier: string, currentTps: number): string | undefined {
	const share = guard.tierShares?.get(tier);
	if (!guard.enabled || share === undefined) return undefined;
	return `tier ${tier} may use ${percent(share)} of ${number(guard.maxTps)} tokens/s; ${Math.round(currentTps)} lately`;
}

/** What a queue is assured of and bounded by; undefined where that is nothing. */
export function reservationText(
	reservedTps: number | undefined,
	lendable: boolean,
	limitTps: number | undefined,
): string | undefined {
	const parts = [
		...(reservedTps === undefined || reservedTps === 0
			? []
			: [`${number(reservedTps)} tokens/s reserved${lendable ? "" : " and not lent"}`]),
		...(limitTps === undefined || !Number.isFinite(limitTps) ? [] : [`at most ${number(limitTps)} tokens/s`]),
	];
	return parts.length === 0 ? undefined : parts.join(", ");
}

/** Undefined where the queue neither takes nor gives. */
export function preemptionText(
	settings: PreemptionSettings | undefined,
	{ queue, observed, buffered }: Pick<SubmitRequest, "queue" | "observed" | "buffered">,
	label: (queue: number) => string,
): string | undefined {
	if (settings === undefined) return undefined;
	const { victims, preemptorMax, maxPerRequest, flowing, maxAgeMs } = settings;
	const worse = victims.filter((victim) => victim > queue);
	if (queue <= preemptorMax && worse.length > 0)
		return `where space is short, work of ${worse.map(label).join(", ")} is taken back for it`;
	const better = victims.includes(queue) ? Math.min(preemptorMax, queue - 1) : -1;
	if (better < 0) return undefined;
	const seen = buffered || flowing ? "at any time" : "until its first token";
	const until = observed ? seen : `in its first ${number(maxAgeMs / 1000)} s`;
	const by = better === 0 ? label(0) : `${label(0)} to ${label(better)}`;
	return `${by} may take its space back, ${until}, at most ${maxPerRequest} times`;
}

/** What of a pool follows its engine, and what the engine is told; undefined where that is nothing. */
export function engineText({ name, provider, mode, control }: CompiledPool): string | undefined {
	const { enginePriority, forceStream } = provider;
	const parts = [
		...(mode === "static" ? [] : [`limits are ${mode}`]),
		...(control.adaptive?.headroom === undefined ? [] : ["headroom follows the waits"]),
		...(enginePriority === "off" ? [] : [`the engine is told its ${enginePriority}`]),
		...(forceStream ? ["answers are streamed to us and assembled"] : []),
	];
	return parts.length === 0 ? undefined : `pool ${name}: ${parts.join(", ")}`;
}

export function nodeText({ node, environment }: Quota): string {
	return environment === undefined ? node : `${node} in ${environment}`;
}

function number(value: number): string {
	return String(Number(value.toPrecision(6)));
}

function percent(fraction: number): string {
	return `${number(100 * fraction)} %`;
}
