import { describe, expect, it } from "vitest";
import type { NewWindow } from "../../src/ports/window-store.ts";
import { allPages, type StoresUnderTest } from "./subject.ts";

const FULL: NewWindow = {
	id: "w1",
	name: "Night",
	scheduleType: "cron",
	scheduleExpr: "0 22 * * *",
	durationMs: 8 * 3_600_000,
	timezone: "Europe/Berlin",
	enabled: false,
	order: 7.5,
	rules: [
		{ targetType: "tier", targetValue: "spot", adjustments: { priorityDelta: -1, quotaMultiplier: 2.5 } },
		{ targetType: "all", adjustments: { capacityMultiplier: 0.5 } },
	],
};

export function describeWindowStore(subject: StoresUnderTest): void {
	describe("time windows", () => {
		it("keeps every field, and fills in enabled and order", async () => {
			const { windows } = subject.stores;
			expect(await windows.create(FULL, "admin")).toEqual({ ok: true, value: FULL });
			expect(await windows.get("w1")).toEqual(FULL);
			const { enabled: _, order: __, id: ___, ...rest } = FULL;
			expect(await windows.create({ ...rest, name: "Other" }, "admin")).toMatchObject({
				ok: true,
				value: { enabled: true, order: 100 },
			});
			expect(await windows.get("nope")).toBeUndefined();
		});

		it("answers all in order, and pages by id", async () => {
			const { windows } = subject.stores;
			for (const [i, order] of [30, 10, 20, 10, 1000].entries()) {
				await windows.create({ ...FULL, id: `w${i}`, name: `N${9 - i}`, order }, "admin");
			}
			expect((await windows.all()).map(({ id }) => id)).toEqual(["w3", "w1", "w2", "w0", "w4"]);
			expect((await allPages((page) => windows.list(page))).map(({ id }) => id)).toEqual([
				"w0",
				"w1",
				"w2",
				"w3",
				"w4",
			]);
		});

		it("refuses a taken id or name", async () => {
			const { windows } = subject.stores;
			await windows.create(FULL, "admin");
			await windows.create({ ...FULL, id: "w2", name: "Day" }, "admin");
			expect(await windows.create({ ...FULL, name: "X" }, "admin")).toMatchObject({ reason: "conflict", field: "id" });
			expect(await windows.create({ ...FULL, id: "w3" }, "admin")).toMatchObject({ reason: "conflict", field: "name" });
			expect(await windows.update("w2", { name: "Night" }, "admin")).toMatchObject({ reason: "conflict" });
			expect((await windows.update("w2", { name: "Day", order: 1 }, "admin")).ok).toBe(true);
		});

		it("updates, deletes and audits; each change raises the version", async () => {
			const { windows, audit, policy } = subject.stores;
			await windows.create(FULL, "admin");
			const version = await policy.version();
			const change = { enabled: true, durationMs: 3_600_000 };
			expect(await windows.update("w1", change, "cli:ann")).toEqual({ ok: true, value: { ...FULL, ...change } });
			expect(await windows.get("w1")).toEqual({ ...FULL, ...change });
			expect(await policy.version()).toBeGreaterThan(version);
			expect((await audit.list({ action: "time_window.update" }, {})).items).toMatchObject([
				{ actor: "cli:ann", subject: "w1", before: { enabled: false }, after: { enabled: true } },
			]);
			expect(await windows.update("nope", { order: 1 }, "admin")).toMatchObject({ reason: "not_found" });
			expect((await windows.delete("w1", "admin")).ok).toBe(true);
			expect(await windows.delete("w1", "admin")).toMatchObject({ reason: "not_found" });
		});
	});
}
