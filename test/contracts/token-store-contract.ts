import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import type { NewToken } from "../../src/ports/token-store.ts";
import { ledgerRow } from "./ledger-row.ts";
import { allPages, START, type StoresUnderTest } from "./subject.ts";

const FULL: NewToken = {
	accountId: "shop",
	priorityTier: "internal",
	environment: "production",
	workloadTag: "batch",
	name: "nightly",
	description: "the nightly job",
	quotaTokensPerMonth: 10_000_000,
	quotaTpsLimit: 300,
	priorityOverride: 1,
	weightOverride: 2.5,
	maxPriority: 1,
	mayUseCritical: true,
	allowedModels: ["llama", "qwen"],
	maxParallelRequests: 8,
	expiresAt: START + 10_000,
};
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

export function describeTokenStore(subject: StoresUnderTest): void {
	describe("tokens", () => {
		beforeEach(() =>
			subject.stores.accounts.create(
				{ id: "shop", email: "", name: "Shop", accountType: "external", accountTier: "gold", team: "search" },
				"admin",
			),
		);
		const create = async (token: NewToken = { accountId: "shop", priorityTier: "external" }) => {
			const result = await subject.stores.tokens.create(token, "admin");
			if (!result.ok) throw new Error(result.message);
			return result.value;
		};

		it("shows the text once and finds by its hash", async () => {
			const { token, hash, record } = await create(FULL);
			expect(token).toMatch(/^tok_internal_production_[A-Za-z0-9_-]{32}$/);
			expect(hash).toBe(sha256(token));
			expect(record).toEqual({
				...FULL,
				id: record.id,
				tokenPrefix: `${token.slice(0, 20)}****`,
				status: "active",
				totalRequests: 0,
				createdAt: START,
			});
			expect(await subject.stores.tokens.get(record.id)).toEqual(record);
			expect(await subject.stores.tokens.find(hash)).toEqual({
				hash,
				tokenId: record.id,
				accountId: "shop",
				priorityTier: "internal",
				environment: "production",
				workloadTag: "batch",
				quotaTokensPerMonth: 10_000_000,
				quotaTpsLimit: 300,
				expiresAt: START + 10_000,
				traits: {
					priorityOverride: 1,
					weightOverride: 2.5,
					maxPriority: 1,
					mayUseCritical: true,
					allowedModels: ["llama", "qwen"],
					maxParallelRequests: 8,
				},
				accountStatus: "active",
				accountType: "external",
				accountTier: "gold",
				team: "search",
			});
		});

		it("keeps neither text nor hash where they can be read", async () => {
			const { token, hash, record } = await create(FULL);
			await subject.stores.tokens.revoke(record.id, "leaked", "admin");
			const readable = JSON.stringify([
				await subject.stores.tokens.list({}, {}),
				(await subject.stores.audit.list({}, {})).items,
			]);
			expect(readable).toContain(record.id);
			expect(readable).not.toContain(token);
			expect(readable).not.toContain(token.slice(-32));
			expect(readable).not.toContain(hash);
		});

		it("makes a token without environment", async () => {
			expect((await create()).token).toMatch(/^tok_external_[A-Za-z0-9_-]{32}$/);
		});

		it("refuses an unknown or deleted account", async () => {
			const { accounts, tokens } = subject.stores;
			const nobody = { accountId: "nobody", priorityTier: "external" };
			expect(await tokens.create(nobody, "admin")).toMatchObject({
				ok: false,
				reason: "not_found",
				field: "accountId",
			});
			await accounts.delete("shop", "admin");
			expect(await tokens.create({ ...nobody, accountId: "shop" }, "admin")).toMatchObject({ ok: false });
		});

		it("shows the account's status in the identity", async () => {
			const { hash } = await create();
			await subject.stores.accounts.update("shop", { status: "suspended" }, "admin");
			expect(await subject.stores.tokens.find(hash)).toMatchObject({ accountStatus: "suspended" });
		});

		it("revokes once, with reason and audit", async () => {
			const { tokens, audit } = subject.stores;
			const { hash, record } = await create();
			subject.now += 5;
			expect(await tokens.revoke(record.id, "leaked", "cli:ann")).toEqual({
				ok: true,
				value: { hash, record: { ...record, status: "revoked", revokedAt: START + 5, revokedReason: "leaked" } },
			});
			expect(await tokens.find(hash)).toMatchObject({ revokedAt: START + 5 });
			expect(await tokens.revoke(record.id, undefined, "admin")).toMatchObject({ ok: false, reason: "not_found" });
			expect(await tokens.revoke("nope", undefined, "admin")).toMatchObject({ ok: false, reason: "not_found" });
			const entries = (await audit.list({ action: "token.", subject: record.id }, {})).items;
			expect(entries.map(({ action, actor, reason }) => [action, actor, reason])).toEqual([
				["token.revoke", "cli:ann", "leaked"],
				["token.create", "admin", undefined],
			]);
			expect(entries[0]).toMatchObject({ before: { status: "active" }, after: { status: "revoked" } });
		});

		it("takes a past expiry and shows status by time", async () => {
			const { tokens } = subject.stores;
			const past = await create({ accountId: "shop", priorityTier: "external", expiresAt: START - 1 });
			const soon = await create({ accountId: "shop", priorityTier: "external", expiresAt: START + 10 });
			expect(past.record.status).toBe("expired");
			expect((await tokens.list({ status: "active" }, {})).items.map(({ id }) => id)).toEqual([soon.record.id]);
			subject.now = START + 10;
			expect((await tokens.get(soon.record.id))?.status).toBe("expired");
			expect((await tokens.list({ status: "expired" }, {})).items).toHaveLength(2);
			expect((await tokens.list({ status: "active" }, {})).items).toHaveLength(0);
		});

		it("rotates with grace: both work, then only the new one", async () => {
			const { tokens } = subject.stores;
			const old = await create({ ...FULL, expiresAt: START + 1_000_000 });
			const rotated = await tokens.rotate(old.record.id, 60_000, "admin");
			if (!rotated.ok) throw new Error(rotated.message);
			const { value } = rotated;
			expect(value).toMatchObject({ replacedId: old.record.id, replacedHash: old.hash });
			expect(value.token).not.toBe(old.token);
			expect(value.record).toMatchObject({ ...FULL, expiresAt: START + 1_000_000, status: "active" });
			expect(await tokens.find(old.hash)).toMatchObject({ expiresAt: START + 60_000 });
			subject.now += 60_000;
			expect((await tokens.get(old.record.id))?.status).toBe("expired");
			expect((await tokens.get(value.record.id))?.status).toBe("active");
		});

		it("rotates without grace: the old one is revoked; a grace never lengthens a life", async () => {
			const { tokens } = subject.stores;
			const old = await create();
			await tokens.rotate(old.record.id, 0, "admin");
			expect(await tokens.get(old.record.id)).toMatchObject({ status: "revoked", revokedReason: "rotated" });
			expect(await tokens.rotate(old.record.id, 0, "admin")).toMatchObject({ ok: false, reason: "not_found" });
			const short = await create({ accountId: "shop", priorityTier: "external", expiresAt: START + 5 });
			await tokens.rotate(short.record.id, 60_000, "admin");
			expect((await tokens.get(short.record.id))?.expiresAt).toBe(START + 5);
		});

		it("imports keys of any form by hash, twice without effect", async () => {
			const { tokens, accounts } = subject.stores;
			const rows = [
				{ sha256: sha256("sk-old-1").toUpperCase(), accountId: "shop", tier: "premium", environment: "production" },
				{ sha256: sha256("sk-old-2"), accountId: "newcomer", tier: "internal", workload: "batch", name: "old" },
			];
			expect(await tokens.import(rows, "cli:ann")).toEqual({ imported: 2, skipped: 0, createdAccounts: ["newcomer"] });
			expect(await tokens.import(rows, "cli:ann")).toEqual({ imported: 0, skipped: 2, createdAccounts: [] });
			expect(await tokens.find(sha256("sk-old-1"))).toMatchObject({ accountId: "shop", priorityTier: "premium" });
			expect(await tokens.find(sha256("sk-old-2"))).toMatchObject({ workloadTag: "batch", accountType: "internal" });
			expect((await accounts.get("newcomer"))?.accountType).toBe("internal");
			expect((await tokens.list({ accountId: "newcomer" }, {})).items[0]?.tokenPrefix).toMatch(/^sha256:.{8}\*{4}$/);
		});

		it("lists by page in order of creation, by account", async () => {
			const { tokens } = subject.stores;
			await subject.stores.accounts.create({ id: "b", email: "", name: "b", accountType: "internal" }, "admin");
			const ids: string[] = [];
			for (let i = 0; i < 7; i++) {
				if (i % 2 === 0) subject.now += 1;
				const { record } = await create({ accountId: i === 3 ? "b" : "shop", priorityTier: "external" });
				if (i !== 3) ids.push(record.id);
			}
			const listed = await allPages((page) => tokens.list({ accountId: "shop" }, page));
			expect(listed.map(({ id }) => id).sort()).toEqual(ids.sort());
			expect(listed.map(({ createdAt }) => createdAt)).toEqual(listed.map(({ createdAt }) => createdAt).sort());
		});

		it("hands out active identities in order of hash for the snapshot", async () => {
			const { tokens } = subject.stores;
			const kept = [];
			for (let i = 0; i < 5; i++) kept.push((await create()).hash);
			const gone = await create();
			await tokens.revoke(gone.record.id, undefined, "admin");
			await create({ accountId: "shop", priorityTier: "external", expiresAt: START - 1 });
			const first = await tokens.active(undefined, 3);
			const rest = await tokens.active(first.at(-1)?.hash, 3);
			expect([...first, ...rest].map(({ hash }) => hash)).toEqual(kept.sort());
		});

		it("counts use by the ledger's rows, once each", async () => {
			const { tokens, ledger } = subject.stores;
			const { record } = await create();
			const rows = [0, 1, 2].map((i) => ledgerRow({ requestId: `r${i}`, tokenId: record.id, settledAt: START + i }));
			await ledger.append(rows);
			await ledger.append(rows);
			expect(await tokens.get(record.id)).toMatchObject({ totalRequests: 3, lastUsedAt: START + 2 });
			await tokens.revoke(record.id, undefined, "admin");
			expect(await tokens.get(record.id)).toMatchObject({ totalRequests: 3 });
		});

		it("answers nothing for hashes it does not know, whatever they look like", async () => {
			for (const hash of ["", "' OR '1'='1", sha256("no"), "x".repeat(1_000_000)]) {
				expect(await subject.stores.tokens.find(hash)).toBeUndefined();
			}
		});
	});
}
