import { describe, expect, it } from "vitest";
import type { NewRule } from "../../src/ports/rule-store.ts";
import { allPages, type StoresUnderTest } from "./subject.ts";

const FULL: NewRule = {
	id: "full",
	name: "Full",
	description: "every field",
	priorityOrder: 7.5,
	enabled: false,
	matchTier: ["internal", "premium"],
	matchEnvironment: "production",
	matchAccountType: "internal",
	matchAccountTier: "gold",
	matchWorkload: "batch",
	matchModel: ["a", "b"],
	matchTag: "nightly",
	assignPriority: 2,
	assignPriorityInRange: 0.5,
	assignWeight: 0.25,
	assignQueue: "group:spot",
	maxTps: 300,
	maxRps: 12.5,
	maxQueueDepth: 500,
	queueTimeoutMs: 30_000,
	quotaMultiplier: 1.5,
};
const CATCH_ALL: NewRule = { id: "all", name: "Catch-all", priorityOrder: 1000, assignPriority: 4 };

export function describeRuleStore(subject: StoresUnderTest): void {
	describe("rules", () => {
		it("keeps every field", async () => {
			const { rules } = subject.stores;
			expect(await rules.create(FULL, "admin")).toEqual({ ok: true, value: FULL });
			expect(await rules.get("full")).toEqual(FULL);
			expect(await rules.all()).toEqual([FULL]);
		});

		it("answers in order of priority, by page too", async () => {
			const { rules } = subject.stores;
			for (const [i, order] of [30, 10, 20, 10, 1000, 5].entries()) {
				await rules.create({ id: `r${i}`, name: `Rule ${i}`, priorityOrder: order }, "admin");
			}
			const expected = ["r5", "r1", "r3", "r2", "r0", "r4"];
			expect((await rules.all()).map(({ id }) => id)).toEqual(expected);
			expect((await allPages((page) => rules.list(page))).map(({ id }) => id)).toEqual(expected);
		});

		it("refuses a taken id or name", async () => {
			const { rules } = subject.stores;
			await rules.create(FULL, "admin");
			expect(await rules.create({ ...FULL, name: "Other" }, "admin")).toMatchObject({
				reason: "conflict",
				field: "id",
			});
			const twin = await rules.create({ ...FULL, id: "other" }, "admin");
			expect(twin).toMatchObject({ reason: "conflict", field: "name" });
		});

		it("updates, clears and audits; each change raises the version", async () => {
			const { rules, audit, policy } = subject.stores;
			await rules.create(FULL, "admin");
			const version = await policy.version();
			const result = await rules.update("full", { enabled: true, matchTag: null, maxTps: 10 }, "cli:ann");
			const { matchTag: _, ...kept } = FULL;
			expect(result).toEqual({ ok: true, value: { ...kept, enabled: true, maxTps: 10 } });
			expect(await policy.version()).toBeGreaterThan(version);
			const [entry] = (await audit.list({ action: "rule.update" }, {})).items;
			expect(entry).toMatchObject({ actor: "cli:ann", subject: "full", before: FULL, after: { maxTps: 10 } });
			expect(await rules.update("nope", { maxTps: 1 }, "admin")).toMatchObject({ ok: false, reason: "not_found" });
		});

		it("keeps the last catch-all: not deleted, disabled or narrowed", async () => {
			const { rules } = subject.stores;
			await rules.create(CATCH_ALL, "admin");
			await rules.create(FULL, "admin");
			expect(await rules.delete("all", "admin")).toMatchObject({ ok: false, reason: "conflict" });
			expect(await rules.update("all", { enabled: false }, "admin")).toMatchObject({ ok: false, reason: "conflict" });
			expect(await rules.update("all", { matchTier: "x" }, "admin")).toMatchObject({ ok: false, reason: "conflict" });
			expect((await rules.get("all"))?.enabled).toBe(true);
			await rules.create({ ...CATCH_ALL, id: "all2", name: "Second" }, "admin");
			expect((await rules.delete("all", "admin")).ok).toBe(true);
			expect(await rules.delete("all", "admin")).toMatchObject({ ok: false, reason: "not_found" });
		});

		it("reorders all or nothing", async () => {
			const { rules } = subject.stores;
			await rules.create({ id: "a", name: "A", priorityOrder: 1 }, "admin");
			await rules.create({ id: "b", name: "B", priorityOrder: 2 }, "admin");
			const order = (id: string, priorityOrder: number) => ({ id, priorityOrder });
			expect(await rules.reorder([order("a", 9), order("nope", 1)], "admin")).toMatchObject({ reason: "not_found" });
			expect((await rules.all()).map(({ id }) => id)).toEqual(["a", "b"]);
			const result = await rules.reorder([order("a", 9), order("b", 3)], "admin");
			expect(result.ok && result.value.map(({ id }) => id)).toEqual(["b", "a"]);
		});

		it("seeds once, even when all seeded rules were replaced since, even at once", async () => {
			const { rules } = subject.stores;
			const both = await Promise.all([
				rules.seed([CATCH_ALL, FULL], "system"),
				rules.seed([CATCH_ALL, FULL], "system"),
			]);
			expect(both.sort()).toEqual([false, true]);
			expect(await rules.all()).toHaveLength(2);
			await rules.delete("full", "admin");
			expect(await rules.seed([CATCH_ALL, FULL], "system")).toBe(false);
			expect(await rules.all()).toHaveLength(1);
		});
	});
}
