/** Every claim of `claims.ts` holds on the real core, and `docs/proof.md` shows the figure that comes out. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLAIMS } from "./claims.ts";

const page = readFileSync(new URL("../../docs/proof.md", import.meta.url), "utf8");

test.each(CLAIMS.map((claim) => [claim.id, claim.claim, claim] as const))("%s: %s", (_, __, claim) => {
	const { figure, holds } = claim.measure();
	expect(holds, `${figure}; expected ${claim.expected}, margin ${claim.margin}`).toBe(true);
	expect(page, "docs/proof.md is old: node test/simulation/proof.ts").toContain(`| ${figure} | yes |`);
});
