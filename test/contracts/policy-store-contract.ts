import { describe, expect, it } from "vitest";
import type { PolicyChange } from "../../src/ports/policy-store.ts";
import { allPages, START, type StoresUnderTest } from "./subject.ts";

const CHANGES: readonly PolicyChange[] = [
	{ kind: "put_account", account: { id: "shop", email: "", name: "Shop", accountType: "external" } },
	{ kind: "put_rule", rule: { name: "Catch-all", priorityOrder: 1000 } },
	{ kind: "put_rule", rule: { name: "Batch", priorityOrder: 5, matchWorkload: "batch" } },
];

export function describePolicyStore(subject: StoresUnderTest): void {
	describe("policy as one change", () => {
		it("applies, and a second time changes nothing", async () => {
			const { policy, accounts, rules, audit } = subject.stores;
			expect(await policy.apply(CHANGES, "cli:ann")).toEqual({ ok: true, value: 3 });
			expect((await accounts.get("shop"))?.name).toBe("Shop");
			expect((await rules.all()).map(({ name }) => name)).toEqual(["Batch", "Catch-all"]);
			expect(await policy.apply(CHANGES, "cli:ann")).toEqual({ ok: true, value: 0 });
			expect((await audit.list({}, {})).items).toHaveLength(3);
		});

		it("brings existing things to exactly the given fields, keeping ids", async () => {
			const { policy, rules } = subject.stores;
			await policy.apply(CHANGES, "admin");
			const id = (await rules.all())[0]?.id;
			const rule = { name: "Batch", priorityOrder: 6, matchWorkload: "interactive" };
			expect(await policy.apply([{ kind: "put_rule", rule }], "admin")).toEqual({ ok: true, value: 1 });
			expect((await rules.all())[0]).toEqual({ ...rule, id, enabled: true });
		});

		it("replaces a catch-all in one go, and refuses to remove the last as a whole", async () => {
			const { policy, accounts, rules } = subject.stores;
			await policy.apply(CHANGES, "admin");
			const swap: PolicyChange[] = [
				{ kind: "delete_rule", name: "Catch-all" },
				{ kind: "put_rule", rule: { name: "Rest", priorityOrder: 900 } },
			];
			expect(await policy.apply(swap, "admin")).toEqual({ ok: true, value: 2 });
			const bad: PolicyChange[] = [
				{ kind: "put_account", account: { id: "new", email: "", name: "New", accountType: "external" } },
				{ kind: "delete_rule", name: "Rest" },
			];
			expect(await policy.apply(bad, "admin")).toMatchObject({ ok: false, reason: "conflict" });
			expect(await accounts.get("new")).toBeUndefined();
			expect((await rules.all()).map(({ name }) => name)).toEqual(["Batch", "Rest"]);
		});

		it("a change may need what comes after it: the order is found", async () => {
			const { policy, rules, tokens } = subject.stores;
			await policy.apply(CHANGES, "admin");
			const token = { accountId: "late", priorityTier: "external", quotaTpsLimit: 50, expiresAt: START + 1000 };
			const changes: PolicyChange[] = [
				{ kind: "import_token", sha256: "a".repeat(64), token },
				{ kind: "put_account", account: { id: "late", email: "", name: "Late", accountType: "external" } },
				{ kind: "put_rule", rule: { name: "Catch-all", priorityOrder: 1000, matchTier: "spot" } },
				{ kind: "put_rule", rule: { name: "Rest", priorityOrder: 900 } },
			];
			expect(await policy.apply(changes, "admin")).toEqual({ ok: true, value: 4 });
			expect((await rules.all()).map(({ name }) => name)).toEqual(["Batch", "Rest", "Catch-all"]);
			expect(await tokens.find("a".repeat(64))).toMatchObject({ accountId: "late", quotaTpsLimit: 50 });
			expect(await policy.apply(changes, "admin")).toEqual({ ok: true, value: 0 });
		});

		it("takes over a key once, and leaves a known one as it is, also a revoked one", async () => {
			const { policy, tokens } = subject.stores;
			await policy.apply(CHANGES, "admin");
			const change: PolicyChange = {
				kind: "import_token",
				sha256: "b".repeat(64),
				token: { accountId: "shop", priorityTier: "external" },
			};
			expect(await policy.apply([change], "admin")).toEqual({ ok: true, value: 1 });
			const [record] = (await tokens.list({}, {})).items;
			await tokens.revoke(record!.id, undefined, "admin");
			const better = { ...change, token: { ...change.token, priorityTier: "internal" } };
			expect(await policy.apply([better], "admin")).toEqual({ ok: true, value: 0 });
			expect(await tokens.get(record!.id)).toMatchObject({ status: "revoked", priorityTier: "external" });
		});

		it("refuses as a whole a token of an account that nobody makes", async () => {
			const { policy, accounts } = subject.stores;
			const changes: PolicyChange[] = [
				{ kind: "put_account", account: { id: "new", email: "", name: "New", accountType: "external" } },
				{ kind: "import_token", sha256: "c".repeat(64), token: { accountId: "nobody", priorityTier: "external" } },
			];
			expect(await policy.apply(changes, "admin")).toMatchObject({
				ok: false,
				reason: "not_found",
				field: "accountId",
			});
			expect(await accounts.get("new")).toBeUndefined();
		});

		it("puts and removes windows and quotas, keeping ids and what was used", async () => {
			const { policy, windows, quotas } = subject.stores;
			await policy.apply(CHANGES, "admin");
			const window = {
				name: "Night",
				scheduleType: "cron",
				scheduleExpr: "0 22 * * *",
				durationMs: 3_600_000,
				timezone: "UTC",
				rules: [{ targetType: "all", adjustments: { weightMultiplier: 2 } }],
			} as const;
			const quota = {
				id: "shop-month",
				accountId: "shop",
				node: "account:shop",
				quotaType: "hard",
				limitDimension: "tokens_per_month",
				limitValue: 1000,
			} as const;
			const put: PolicyChange[] = [
				{ kind: "put_quota", quota },
				{ kind: "put_window", window },
			];
			expect(await policy.apply(put, "admin")).toEqual({ ok: true, value: 2 });
			expect(await policy.apply(put, "admin")).toEqual({ ok: true, value: 0 });
			const [made] = await windows.all();
			const usage = {
				quotaId: quota.id,
				windowStart: 0,
				windowEnd: 10,
				usedValue: 7,
				countedUntil: 5,
				adjustedValue: 0,
			};
			await quotas.saveUsage([{ ...usage, alertedPct: 0 }]);
			const change: PolicyChange[] = [
				{ kind: "put_window", window: { ...window, durationMs: 7_200_000 } },
				{ kind: "put_quota", quota: { ...quota, limitValue: 2000 } },
			];
			expect(await policy.apply(change, "admin")).toEqual({ ok: true, value: 2 });
			expect(await windows.all()).toMatchObject([{ id: made?.id, durationMs: 7_200_000, enabled: true }]);
			expect(await quotas.get(quota.id)).toMatchObject({ limitValue: 2000, lend: true });
			expect((await quotas.usage(quota.id, 0))?.usedValue).toBe(7);

			const other: PolicyChange = { kind: "put_quota", quota: { ...quota, limitDimension: "tokens_per_day" } };
			expect(await policy.apply([other], "admin")).toMatchObject({ ok: false, reason: "conflict" });
			const renamed: PolicyChange[] = [
				{ kind: "put_quota", quota: { ...quota, id: "month" } },
				{ kind: "delete_quota", id: quota.id },
				{ kind: "delete_window", name: "Night" },
			];
			expect(await policy.apply(renamed, "admin")).toEqual({ ok: true, value: 3 });
			expect((await quotas.all()).map(({ id }) => id)).toEqual(["month"]);
			expect(await windows.all()).toEqual([]);
			expect(await policy.apply(renamed.slice(1), "admin")).toEqual({ ok: true, value: 0 });
			const nobody: PolicyChange = {
				kind: "put_quota",
				quota: { ...quota, id: "x", accountId: "nobody", node: "account:nobody" },
			};
			expect(await policy.apply([nobody], "admin")).toMatchObject({
				ok: false,
				reason: "not_found",
				field: "accountId",
			});
		});

		it("audit entries page newest first and filter", async () => {
			const { audit, accounts } = subject.stores;
			for (let i = 0; i < 5; i++) {
				subject.now = START + i;
				await audit.record({ actor: "system", action: "header_routing.summary", subject: `10.0.0.${i}` });
			}
			await accounts.create({ id: "shop", email: "", name: "Shop", accountType: "external" }, "admin");
			const all = await allPages((page) => audit.list({}, page));
			expect(all.map(({ id }) => id)).toEqual([6, 5, 4, 3, 2, 1]);
			expect((await audit.list({ action: "account." }, {})).items.map(({ subject: id }) => id)).toEqual(["shop"]);
			expect((await audit.list({ since: START + 1, until: START + 3 }, {})).items).toHaveLength(2);
			expect((await audit.list({ actor: "system", subject: "10.0.0.2" }, {})).items).toHaveLength(1);
		});
	});
}
