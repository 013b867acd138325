/** Every test that `docs/reliability.md` names is there, under that title, and is not skipped. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface Line {
	readonly rows: string;
	readonly file: string;
	readonly title: string;
}

const page = readFileSync(new URL("../../docs/reliability.md", import.meta.url), "utf8");
const lines = page
	.split("\n")
	.filter((line) => /^\| \d/.test(line))
	.map((line): Line => {
		const cells = line.split("|").map((cell) => cell.trim());
		return { rows: cells[1]!, file: cells[4]!, title: cells[5]! };
	});

test("the page lists tests", () => {
	expect(lines.length).toBeGreaterThan(25);
});

test.each(lines.map((line) => [line.rows, line.file, line.title] as const))("row %s: %s, %s", (_, file, title) => {
	const source = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
	const calls = [...source.matchAll(/\b(?:test|it|describe)(\.\w+)?(?:\([^\n]*\))?\(\s*["'`]([^\n]*)/g)];
	const named = calls.filter(
		([, modifier, text]) => modifier !== ".skip" && modifier !== ".todo" && text!.startsWith(title),
	);
	expect(named.length, `${file} has no test whose title begins with "${title}"`).toBeGreaterThan(0);
});
