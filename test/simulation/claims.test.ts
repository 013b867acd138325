/** Every claim of `claims.ts` holds on the real core. */
import { expect, test } from "vitest";
import { CLAIMS } from "./claims.ts";

test.each(CLAIMS.map((claim) => [claim.id, claim.claim, claim] as const))("%s: %s", (_, __, claim) => {
	const { figure, holds } = claim.measure();
	expect(holds, `${figure}; expected ${claim.expected}, margin ${claim.margin}`).toBe(true);
});
