import fc from "fast-check";
import { expect, it } from "vitest";
import { RecentMap } from "./recent-map.ts";

it("forgets what was not read, keeps what was", () => {
	const map = new RecentMap<number>(3);
	for (const key of ["a", "b", "c"]) map.set(key, 1);
	map.get("a");
	map.set("d", 1);
	expect(["a", "b", "c", "d"].map((key) => map.get(key))).toEqual([1, undefined, 1, 1]);
});

it("never holds more than its limit, and always what was set last", () => {
	const operation = fc.record({ key: fc.integer({ min: 0, max: 9 }), what: fc.constantFrom("get", "set", "delete") });
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 5 }), fc.array(operation), (limit, operations) => {
			const map = new RecentMap<number>(limit);
			for (const [i, { key, what }] of operations.entries()) {
				if (what === "set") {
					map.set(`${key}`, i);
					expect(map.get(`${key}`)).toBe(i);
				} else if (what === "get") map.get(`${key}`);
				else {
					map.delete(`${key}`);
					expect(map.get(`${key}`)).toBeUndefined();
				}
				expect(map.size).toBeLessThanOrEqual(limit);
			}
		}),
	);
});
