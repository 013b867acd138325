/** `docs/proof.md` names every claim and every planted fault; its figures come from `proof.ts`. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CLAIMS } from "./claims.ts";
import { FAULTS } from "./zoo.ts";

test("the page of proof is of these claims and faults", () => {
	const page = readFileSync(new URL("../../docs/proof.md", import.meta.url), "utf8");
	for (const { id, claim } of CLAIMS) expect(page).toContain(`| ${id} | ${claim} |`);
	for (const { expected } of CLAIMS) expect(page).toContain(expected);
	for (const { name, caughtBy } of FAULTS) expect(page).toContain(`| ${name} | ${caughtBy} |`);
	for (const { id, longMargin } of CLAIMS) {
		if (longMargin !== undefined) expect(page).toContain(`| ${id} | ${longMargin} |`);
	}
	expect(page).not.toContain("**no**");
});
