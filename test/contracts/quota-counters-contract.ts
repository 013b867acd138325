/**
 * What any implementation of quota counters must do. Answers may be values or promises; every test gets counters that nobody used yet.
 */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import type { QuotaCounters, ReserveCharge } from "../../src/ports/quota-counters.ts";

export type OpenCounters = () => Promise<QuotaCounters>;

interface Step {
	readonly reserve?: readonly [string, number];
	readonly terms?: readonly [number, number];
	readonly commit?: readonly [string, number];
	readonly release?: readonly [string];
	readonly adjust?: number;
	readonly add?: number;
	readonly expect?: boolean;
	readonly state: readonly [number, number, number];
}

const { vectors } = JSON.parse(readFileSync(new URL("../fixtures/quota-vectors.json", import.meta.url), "utf8")) as {
	readonly vectors: readonly { readonly name: string; readonly steps: readonly Step[] }[];
};

const END = 4_000_000_000_000;
const charge = (key: string, amount: number, limit = 100, refusedAbovePct = 100): ReserveCharge => ({
	key,
	amount,
	limit,
	refusedAbovePct,
	windowEnd: END,
});

export function describeQuotaCounters(name: string, open: OpenCounters): void {
	describe(`quota counters, ${name}`, () => {
		let counters: QuotaCounters;
		beforeEach(async () => {
			counters = await open();
		});
		const state = async (key: string) => {
			const { used, reserved, adjusted } = await counters.add(key, {}, END);
			return [used, reserved, adjusted];
		};

		describe("one counter", () => {
			for (const vector of vectors) {
				it(vector.name, async () => {
					for (const step of vector.steps) {
						let answer: boolean | undefined;
						if (step.reserve !== undefined) {
							const [id, amount] = step.reserve;
							answer = (await counters.reserve(id, [charge("k", amount, ...step.terms!)])).ok;
						} else if (step.commit !== undefined) {
							const [id, amount] = step.commit;
							answer = (await counters.commit(id, [{ key: "k", amount, windowEnd: END }])) !== undefined;
						} else if (step.release !== undefined) await counters.release(step.release[0]);
						else if (step.adjust !== undefined) await counters.add("k", { adjusted: step.adjust }, END);
						else await counters.add("k", { used: step.add! }, END);
						expect([answer, await state("k")], JSON.stringify(step)).toEqual([step.expect, step.state]);
					}
				});
			}
		});

		it("takes from all levels or from none, and says which one had no room", async () => {
			await counters.add("organisation", { used: 50 }, END);
			const levels = [charge("organisation", 40), charge("account", 40, 30), charge("token", 40)];
			const answer = await counters.reserve("a", levels);
			expect(answer).toMatchObject({ ok: false, index: 1, state: { used: 0, reserved: 0, adjusted: 0 } });
			for (const key of ["organisation", "account", "token"]) expect((await state(key))[1], key).toBe(0);
			expect(await counters.reserve("b", [charge("organisation", 50), charge("account", 30, 30)])).toEqual({
				ok: true,
			});
			expect(await state("organisation")).toEqual([50, 50, 0]);
		});

		it("gives back what was reserved and counts what was used, though it be elsewhere", async () => {
			await counters.reserve("a", [charge("x", 30), charge("y", 30)]);
			await counters.reserve("b", [charge("y", 30)]);
			await counters.commit("a", [
				{ key: "x", amount: 20, windowEnd: END },
				{ key: "z", amount: 20, windowEnd: END },
			]);
			expect([await state("x"), await state("y"), await state("z")]).toEqual([
				[20, 0, 0],
				[0, 30, 0],
				[20, 0, 0],
			]);
		});

		it("a counter that was forgotten and begun anew owes nothing to who reserved before", async () => {
			await counters.reserve("a", [charge("k", 30)]);
			await counters.reserve("b", [charge("k", 30)]);
			counters.forget("k");
			expect(await state("k")).toEqual([0, 0, 0]);
			await counters.release("a");
			await counters.commit("b", [{ key: "k", amount: 20, windowEnd: END }]);
			expect([await state("k"), counters.held]).toEqual([[20, 0, 0], 0]);
		});

		it("200 at once on room for 10: ten get in", async () => {
			const answers = await Promise.all(
				Array.from({ length: 200 }, (_, i) => counters.reserve(`r${i}`, [charge("k", 10)])),
			);
			expect(answers.filter(({ ok }) => ok)).toHaveLength(10);
			expect(await state("k")).toEqual([0, 100, 0]);
			await Promise.all(Array.from({ length: 200 }, (_, i) => counters.release(`r${i}`)));
			expect([await state("k"), counters.held]).toEqual([[0, 0, 0], 0]);
		});

		it("whatever happens in whatever order: never above the ceiling by reserving, nothing held in the end", async () => {
			const operation = fc.record({
				kind: fc.constantFrom("reserve", "commit", "release", "adjust"),
				id: fc.integer({ min: 0, max: 12 }),
				amount: fc.integer({ min: 0, max: 60 }),
				key: fc.constantFrom("x", "y"),
			});
			await fc.assert(
				fc.asyncProperty(fc.array(operation, { maxLength: 60 }), async (operations) => {
					const fresh = await open();
					const limits = { x: 100, y: 150 };
					const model = { x: [0, 0, 0], y: [0, 0, 0] };
					const held = new Map<string, { key: "x" | "y"; amount: number }>();
					const done = new Set<string>();
					for (const [at, { kind, id: slot, amount, key }] of operations.entries()) {
						const at2 = key as "x" | "y";
						const counter = model[at2];
						const id = `${slot}`;
						if (kind === "reserve") {
							if (done.has(id) || held.has(id)) continue;
							const fits = counter[0]! + counter[1]! + amount <= Math.max(0, limits[at2] + counter[2]!);
							const answer = await fresh.reserve(id, [charge(key, amount, limits[at2])]);
							expect(answer.ok, `step ${at}`).toBe(fits);
							if (fits) {
								held.set(id, { key: at2, amount });
								counter[1]! += amount;
							}
						} else if (kind === "adjust") {
							await fresh.add(key, { adjusted: amount - 30 }, END);
							counter[2]! += amount - 30;
						} else {
							const reservation = held.get(id);
							if (kind === "commit" && !done.has(id)) counter[0]! += amount;
							if (reservation !== undefined) model[reservation.key][1]! -= reservation.amount;
							held.delete(id);
							if (kind === "commit") {
								await fresh.commit(id, [{ key, amount, windowEnd: END }]);
								done.add(id);
							} else await fresh.release(id);
						}
					}
					for (const key of ["x", "y"] as const) {
						const { used, reserved, adjusted } = await fresh.add(key, {}, END);
						expect([used, reserved, adjusted]).toEqual(model[key]);
					}
					for (const id of held.keys()) await fresh.release(id);
					expect(fresh.held).toBe(0);
				}),
				{ numRuns: 100 },
			);
		});
	});
}
