import { describe, expect, it } from "vitest";
import type { NewAccount } from "../../src/ports/account-store.ts";
import { InvalidCursorError } from "../../src/ports/page.ts";
import { allPages, START, type StoresUnderTest } from "./subject.ts";

const SHOP: NewAccount = {
	id: "customer-1-uuid",
	email: "it@shop.example",
	name: "Shop",
	accountType: "external",
	organisation: "shop",
	metadata: { plan: "gold", limits: [1, 2] },
};

export function describeAccountStore(subject: StoresUnderTest): void {
	describe("accounts", () => {
		it("creates, gets and audits", async () => {
			const { accounts, audit } = subject.stores;
			const created = await accounts.create(SHOP, "admin");
			const expected = { ...SHOP, status: "active", createdAt: START, updatedAt: START };
			expect(created).toEqual({ ok: true, value: expected });
			expect(await accounts.get("customer-1-uuid")).toEqual(expected);
			expect((await audit.list({}, {})).items).toEqual([
				{ id: 1, at: START, actor: "admin", action: "account.create", subject: "customer-1-uuid", after: expected },
			]);
		});

		it("makes an id when none is given", async () => {
			const { id: _, ...rest } = SHOP;
			const created = await subject.stores.accounts.create(rest, "admin");
			expect(created.ok && created.value.id).toMatch(/^acct_[0-9a-f]{24}$/);
		});

		it("refuses a taken id and leaves no trace of the attempt", async () => {
			const { accounts, audit, policy } = subject.stores;
			await accounts.create(SHOP, "admin");
			const version = await policy.version();
			expect(await accounts.create({ ...SHOP, name: "Other" }, "admin")).toMatchObject({
				ok: false,
				reason: "conflict",
				field: "id",
			});
			expect((await accounts.get("customer-1-uuid"))?.name).toBe("Shop");
			expect((await audit.list({}, {})).items).toHaveLength(1);
			expect(await policy.version()).toBe(version);
		});

		it("changes given fields, clears those that are null, keeps the rest", async () => {
			const { accounts, audit } = subject.stores;
			await accounts.create(SHOP, "admin");
			subject.now += 1000;
			const updated = await accounts.update(SHOP.id!, { accountTier: "gold", organisation: null }, "cli:ann");
			const { organisation: _, ...kept } = SHOP;
			const expected = { ...kept, accountTier: "gold", status: "active", createdAt: START, updatedAt: START + 1000 };
			expect(updated).toEqual({ ok: true, value: expected });
			const [entry] = (await audit.list({ action: "account.update" }, {})).items;
			expect(entry).toMatchObject({ actor: "cli:ann", before: { organisation: "shop" }, after: expected });
		});

		it("deletes by status, once, and knows what it does not know", async () => {
			const { accounts } = subject.stores;
			await accounts.create(SHOP, "admin");
			expect((await accounts.delete(SHOP.id!, "admin")).ok).toBe(true);
			expect((await accounts.get(SHOP.id!))?.status).toBe("deleted");
			expect(await accounts.delete(SHOP.id!, "admin")).toMatchObject({ ok: false, reason: "not_found" });
			expect(await accounts.update("nobody", { name: "x" }, "admin")).toMatchObject({ ok: false, reason: "not_found" });
			expect(await accounts.get("nobody")).toBeUndefined();
		});

		it("lists by page, filtered, in order of id", async () => {
			const { accounts } = subject.stores;
			for (const n of [5, 3, 8, 1, 7, 2, 6]) {
				await accounts.create({ ...SHOP, id: `a${n}`, accountType: n % 2 === 0 ? "internal" : "external" }, "admin");
			}
			const all = await allPages((page) => accounts.list({}, page));
			expect(all.map(({ id }) => id)).toEqual(["a1", "a2", "a3", "a5", "a6", "a7", "a8"]);
			const internal = await allPages((page) => accounts.list({ accountType: "internal" }, page));
			expect(internal.map(({ id }) => id)).toEqual(["a2", "a6", "a8"]);
		});

		it("refuses a cursor that no list gave out", async () => {
			await expect(subject.stores.accounts.list({}, { cursor: "' OR 1=1 --" })).rejects.toThrow(InvalidCursorError);
		});

		it("takes hostile text as text", async () => {
			const id = "x'); DROP TABLE accounts; --";
			await subject.stores.accounts.create({ ...SHOP, id, name: "Ünïcode 🚀 ? $1 \\ '\"" }, "admin");
			expect((await subject.stores.accounts.get(id))?.name).toBe("Ünïcode 🚀 ? $1 \\ '\"");
		});

		it("a character that no PostgreSQL text can have keeps nothing out", async () => {
			const result = await subject.stores.accounts.create({ ...SHOP, id: "nul", name: "a\u0000b" }, "admin");
			expect(result.ok).toBe(true);
			expect((await subject.stores.accounts.get("nul"))?.name).toMatch(/^a[\0\uFFFD]b$/);
		});
	});
}
