/** Every planted fault is caught by the claim it names; an exam that a broken core can pass proves nothing. */
import { expect, test } from "vitest";
import { CLAIMS, claimOf } from "./claims.ts";
import { FAULTS } from "./zoo.ts";

test.each(FAULTS.map((fault) => [fault.name, fault.caughtBy, fault] as const))("%s: caught by %s", (_, id, fault) => {
	const caught = fault.plant((makeCore) => {
		try {
			return !claimOf(id).measure(makeCore).holds;
		} catch {
			// A core that breaks its own invariants, or never ends a request, is caught too.
			return true;
		}
	});
	expect(caught).toBe(true);
});

test("every claim is missed by some broken core", () => {
	const caught = new Set(FAULTS.map((fault) => fault.caughtBy));
	expect(CLAIMS.filter((claim) => !caught.has(claim.id)).map((claim) => claim.id)).toEqual([]);
});
