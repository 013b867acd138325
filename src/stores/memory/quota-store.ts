/** Quotas in memory. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Quota } from "../../core/quota/quota.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import type { NewQuota, QuotaAdjustment, QuotaStore, QuotaTerms, QuotaUsage } from "../../ports/quota-store.ts";
import { type Patch, refused, type WriteResult, written } from "../../ports/write-result.ts";
import { createdQuota, freshUsage, otherLimit, sayTheSame, takenBy, unknownAccount } from "../quota-record.ts";
import { applyPatch, sameFields } from "../record.ts";
import type { MemoryChange, MemoryState } from "./memory-state.ts";

export class MemoryQuotaStore implements QuotaStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async all(): Promise<readonly Quota[]> {
		return [...this.#state.quotas.values()];
	}

	async list(page: PageRequest): Promise<Page<Quota>> {
		const limit = pageLimit(page);
		const after = cursorKeys(page, ["string"])?.[0] as string | undefined;
		const found = [...this.#state.quotas.values()]
			.filter(({ id }) => after === undefined || id > after)
			.sort((a, b) => (a.id < b.id ? -1 : 1));
		return toPage(found.slice(0, limit + 1), limit, (quota) => [quota.id]);
	}

	async get(id: string): Promise<Quota | undefined> {
		return this.#state.quotas.get(id);
	}

	create(quota: NewQuota, actor: string): Promise<WriteResult<Quota>> {
		return this.#state.change(actor, (change) => insertQuota(this.#state, change, quota));
	}

	update(id: string, patch: Patch<QuotaTerms>, actor: string): Promise<WriteResult<Quota>> {
		return this.#state.change(actor, (change) => {
			const before = this.#state.quotas.get(id);
			if (before === undefined) return unknownQuota(id);
			const after: Quota = applyPatch(before, patch as Patch<Partial<Quota>>);
			this.#state.quotas.set(id, after);
			change.audit({ action: "quota.update", subject: id, before, after });
			return written(after);
		});
	}

	delete(id: string, actor: string): Promise<WriteResult<Quota>> {
		return this.#state.change(actor, (change) => deleteQuota(this.#state, change, id));
	}

	async usage(quotaId: string, windowStart: EpochMillis): Promise<QuotaUsage | undefined> {
		return this.#state.quotaUsage.get(keyOf({ quotaId, windowStart }));
	}

	async saveUsage(rows: readonly QuotaUsage[]): Promise<void> {
		for (const row of rows) {
			const adjustedValue = this.#state.quotaUsage.get(keyOf(row))?.adjustedValue ?? 0;
			this.#state.quotaUsage.set(keyOf(row), { ...row, adjustedValue });
		}
	}

	adjust(adjustment: QuotaAdjustment, actor: string): Promise<WriteResult<number>> {
		return this.#state.change(actor, (change) => {
			const { quotaId, delta, reason, windowStart, windowEnd } = adjustment;
			const before = this.#state.quotaUsage.get(keyOf(adjustment)) ?? freshUsage(adjustment);
			const adjusted = before.adjustedValue + delta;
			this.#state.quotaUsage.set(keyOf(adjustment), { ...before, adjustedValue: adjusted });
			change.audit({
				action: "quota.adjust",
				subject: quotaId,
				before: { adjusted: before.adjustedValue },
				after: { adjusted, windowStart, windowEnd },
				reason,
			});
			return written(adjusted);
		});
	}
}

function keyOf({ quotaId, windowStart }: Pick<QuotaUsage, "quotaId" | "windowStart">): string {
	return `${quotaId}@${windowStart}`;
}

function unknownQuota(id: string) {
	return refused("not_found", `quota "${id}" does not exist`);
}

function insertQuota(state: MemoryState, change: MemoryChange, quota: NewQuota): WriteResult<Quota> {
	if (!state.accounts.has(quota.accountId)) return unknownAccount(quota.accountId);
	const created = createdQuota(quota);
	if (state.quotas.has(created.id)) {
		return refused("conflict", `quota "${created.id}" exists already: choose another id`, "id");
	}
	const same = [...state.quotas.values()].find((other) => sayTheSame(other, created));
	if (same !== undefined) return takenBy(same);
	state.quotas.set(created.id, created);
	change.audit({ action: "quota.create", subject: created.id, after: created });
	return written(created);
}

export function deleteQuota(state: MemoryState, change: MemoryChange, id: string): WriteResult<Quota> {
	const before = state.quotas.get(id);
	if (before === undefined) return unknownQuota(id);
	state.quotas.delete(id);
	for (const [key, { quotaId }] of state.quotaUsage) if (quotaId === id) state.quotaUsage.delete(key);
	change.audit({ action: "quota.delete", subject: id, before });
	return written(before);
}

export function putQuota(
	state: MemoryState,
	change: MemoryChange,
	quota: NewQuota & { readonly id: string },
): WriteResult<boolean> {
	const before = state.quotas.get(quota.id);
	if (before === undefined) {
		const result = insertQuota(state, change, quota);
		return result.ok ? written(true) : result;
	}
	const after = createdQuota(quota);
	if (sameFields(before, after)) return written(false);
	const refusal = otherLimit(before, after);
	if (refusal !== undefined) return refusal;
	state.quotas.set(before.id, after);
	change.audit({ action: "quota.update", subject: before.id, before, after });
	return written(true);
}
