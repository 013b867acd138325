import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ERROR_CODES } from "../../src/core/model/error-code.ts";
import { ERROR_STATUS } from "../../src/protocol/error-status.ts";

test("docs/errors.md lists every error code with its status, and nothing else", () => {
	const text = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
	const rows = [...text.matchAll(/^\| (\d+) \| `(\w+)` \|/gm)].map((match) => [match[2], Number(match[1])]);
	expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(ERROR_CODES.map((code) => [code, ERROR_STATUS[code]])));
	expect(rows).toHaveLength(ERROR_CODES.length);
});
