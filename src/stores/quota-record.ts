/** What every quota store does alike. */
import type { Quota } from "../core/quota/quota.ts";
import type { NewQuota, QuotaAdjustment, QuotaUsage } from "../ports/quota-store.ts";
import { refused, type WriteRefusal } from "../ports/write-result.ts";
import { newId } from "./record.ts";

export function createdQuota(quota: NewQuota): Quota {
	return { ...quota, id: quota.id ?? newId("quota"), allowBorrow: quota.allowBorrow ?? true, lend: quota.lend ?? true };
}

/** Two quotas that limit the same thing: the second one would only confuse. */
export function sayTheSame(a: Quota, b: Quota): boolean {
	return a.node === b.node && a.environment === b.environment && a.limitDimension === b.limitDimension;
}

export function takenBy(other: Quota): WriteRefusal {
	const where = other.environment === undefined ? "" : ` in ${other.environment}`;
	return refused(
		"conflict",
		`${other.node}${where} has a quota of ${other.limitDimension} already ("${other.id}"): change that one`,
	);
}

/** A quota keeps its id and what was used of it only as long as it limits the same. */
export function otherLimit(before: Quota, after: Quota): WriteRefusal | undefined {
	if (sayTheSame(before, after)) return undefined;
	return refused(
		"conflict",
		`quota "${before.id}" limits ${before.limitDimension} of ${before.node}: delete it, or give the new one another id`,
		"id",
	);
}

export function unknownAccount(id: string): WriteRefusal {
	return refused("not_found", `account "${id}" does not exist`, "accountId");
}

export function freshUsage({ quotaId, windowStart, windowEnd }: QuotaAdjustment): QuotaUsage {
	return { quotaId, windowStart, windowEnd, usedValue: 0, countedUntil: 0, adjustedValue: 0, alertedPct: 0 };
}
