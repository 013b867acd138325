import { beforeEach, describe, expect, it } from "vitest";
import type { NewQuota } from "../../src/ports/quota-store.ts";
import { allPages, type StoresUnderTest } from "./subject.ts";

const FULL: NewQuota = {
	id: "q1",
	accountId: "acme",
	node: "account:acme",
	environment: "staging",
	quotaType: "burstable",
	limitDimension: "tps",
	limitValue: 12.5,
	allowBorrow: true,
	maxBorrowPct: 0.25,
	lend: false,
	resetDay: 17,
	timezone: "Europe/Berlin",
};
const DAILY: NewQuota = {
	accountId: "acme",
	node: "organisation:acme",
	quotaType: "hard",
	limitDimension: "tokens_per_day",
	limitValue: 1000,
};
const PERIOD = { quotaId: "q1", windowStart: 1000, windowEnd: 2000 };

export function describeQuotaStore(subject: StoresUnderTest): void {
	describe("quotas", () => {
		beforeEach(async () => {
			const account = { id: "acme", email: "a@example.com", name: "Acme", accountType: "external" } as const;
			await subject.stores.accounts.create(account, "admin");
		});

		it("keeps every field, and fills in borrowing and lending", async () => {
			const { quotas } = subject.stores;
			expect(await quotas.create(FULL, "admin")).toEqual({ ok: true, value: FULL });
			expect(await quotas.get("q1")).toEqual(FULL);
			const made = await quotas.create(DAILY, "admin");
			expect(made).toMatchObject({ ok: true, value: { ...DAILY, allowBorrow: true, lend: true } });
			expect(await quotas.all()).toHaveLength(2);
			expect(await quotas.get("nope")).toBeUndefined();
		});

		it("pages in order of id", async () => {
			const { quotas } = subject.stores;
			for (const [i, environment] of ["a", "b", "c", "d", "e", "f", "g"].entries()) {
				await quotas.create({ ...DAILY, id: `q${(i * 3) % 7}`, environment }, "admin");
			}
			const ids = (await allPages((page) => quotas.list(page))).map(({ id }) => id);
			expect(ids).toEqual(["q0", "q1", "q2", "q3", "q4", "q5", "q6"]);
		});

		it("refuses an unknown account, a taken id, and a second quota that says the same", async () => {
			const { quotas } = subject.stores;
			await quotas.create(FULL, "admin");
			expect(await quotas.create({ ...FULL, id: "q2", accountId: "nope" }, "admin")).toMatchObject({
				reason: "not_found",
				field: "accountId",
			});
			expect(await quotas.create({ ...FULL, environment: "dev" }, "admin")).toMatchObject({
				reason: "conflict",
				field: "id",
			});
			expect(await quotas.create({ ...FULL, id: "q2", limitValue: 1 }, "admin")).toMatchObject({ reason: "conflict" });
			expect((await quotas.create({ ...FULL, id: "q2", environment: "dev" }, "admin")).ok).toBe(true);
		});

		it("updates, clears, deletes and audits; each change raises the version", async () => {
			const { quotas, audit, policy } = subject.stores;
			await quotas.create(FULL, "admin");
			const version = await policy.version();
			const result = await quotas.update("q1", { limitValue: 20, timezone: null, lend: true }, "cli:ann");
			const { timezone: _, ...kept } = FULL;
			expect(result).toEqual({ ok: true, value: { ...kept, limitValue: 20, lend: true } });
			expect(await quotas.get("q1")).toEqual({ ...kept, limitValue: 20, lend: true });
			expect(await policy.version()).toBeGreaterThan(version);
			expect((await audit.list({ action: "quota.update" }, {})).items).toMatchObject([
				{ actor: "cli:ann", subject: "q1", before: { limitValue: 12.5 }, after: { limitValue: 20 } },
			]);
			expect(await quotas.update("nope", { limitValue: 1 }, "admin")).toMatchObject({ reason: "not_found" });
			expect((await quotas.delete("q1", "admin")).ok).toBe(true);
			expect(await quotas.delete("q1", "admin")).toMatchObject({ reason: "not_found" });
		});

		it("keeps checkpoints and adjustments of a period apart", async () => {
			const { quotas, audit } = subject.stores;
			await quotas.create(FULL, "admin");
			expect(await quotas.usage("q1", 1000)).toBeUndefined();
			const first = await quotas.adjust({ ...PERIOD, delta: 500, reason: "launch" }, "admin");
			expect(first).toEqual({ ok: true, value: 500 });
			await quotas.saveUsage([{ ...PERIOD, usedValue: 70, countedUntil: 1500, adjustedValue: 9, alertedPct: 80 }]);
			expect(await quotas.adjust({ ...PERIOD, delta: -200, reason: "too much" }, "admin")).toEqual({
				ok: true,
				value: 300,
			});
			expect(await quotas.usage("q1", 1000)).toEqual({
				...PERIOD,
				usedValue: 70,
				countedUntil: 1500,
				adjustedValue: 300,
				alertedPct: 80,
			});
			expect((await audit.list({ action: "quota.adjust" }, {})).items).toMatchObject([
				{ subject: "q1", before: { adjusted: 500 }, after: { adjusted: 300 }, reason: "too much" },
				{ subject: "q1", before: { adjusted: 0 }, after: { adjusted: 500 }, reason: "launch" },
			]);
			// a budget that comes with a token has periods and no row of its own
			const ofToken = { ...PERIOD, quotaId: "token_1/tokens_per_month" };
			await quotas.saveUsage([{ ...ofToken, usedValue: 5, countedUntil: 0, adjustedValue: 0, alertedPct: 0 }]);
			expect(await quotas.usage(ofToken.quotaId, 1000)).toMatchObject({ usedValue: 5 });
			await quotas.delete("q1", "admin");
			expect(await quotas.usage("q1", 1000)).toBeUndefined();
		});
	});
}
