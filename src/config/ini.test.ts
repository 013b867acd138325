import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIni, quoteIniValue } from "./ini.ts";

const FILE = [
	"\uFEFF# head",
	"[a]   ; section comment",
	"one = 1   # first",
	'two="x # y"; second',
	"url = http://h/#part",
	"empty = # nothing",
	"",
	"; before b",
	"[ b.c ]",
	"__proto__ = z",
].join("\r\n");

describe("reading", () => {
	it("knows comments, quotes, byte order mark and CRLF", () => {
		const document = parseIni(FILE);
		expect(document.problems()).toEqual([]);
		expect(document.entries().map(({ section, key, value, line }) => [section, key, value, line])).toEqual([
			["a", "one", "1", 3],
			["a", "two", "x # y", 4],
			["a", "url", "http://h/#part", 5],
			["a", "empty", "", 6],
			["b.c", "__proto__", "z", 10],
		]);
	});

	it.each([
		["[a]\nx", 2, "neither a [section] nor key = value"],
		["[a", 1, "no section header"],
		["[[time_window]]", 1, "double brackets"],
		["[]", 1, "needs a name"],
		["x = 1", 1, "above the first [section]"],
		['[a]\nx = "y', 2, "closing quote"],
		["[a]\nx = \u0000", 2, "control character 0x00"],
		["[a]\nx = 1\nx = 2", 3, "already set on line 2"],
		["[a]\n[b]\n[a]", 3, "began on line 1"],
		[`[a]\nx = ${"y".repeat(70_000)}`, 2, "70004 characters"],
	])("names the line of %j", (text, line, message) => {
		const [problem] = parseIni(text).problems();
		expect(problem?.line).toBe(line);
		expect(problem?.message).toContain(message);
	});

	it("summarises a binary file", () => {
		const problems = parseIni("\u0001\n".repeat(5000)).problems();
		expect(problems).toHaveLength(21);
		expect(problems.at(-1)?.message).toBe("and 4980 more lines that cannot be read");
	});

	it("takes linear time for long lines", () => {
		for (const text of [`[${" ".repeat(60_000)}x`, `[a]${" ".repeat(60_000)}x`, `k = "${"\\".repeat(60_000)}`])
			expect(parseIni(text).problems().length).toBeGreaterThan(0);
	});
});

/** Lines that look like INI, broken INI and anything else. */
const line = fc.oneof(
	fc.string({ unit: "binary" }),
	fc
		.tuple(
			fc.constantFrom(
				"[a]",
				"[b] # c",
				"[[x]]",
				"[",
				"k = v",
				"k=",
				'k = "v',
				'k = "a;b" ; c',
				"__proto__ = 1",
				";",
				"constructor.x = # y",
			),
			fc.string({ unit: "grapheme-ascii", maxLength: 5 }),
		)
		.map(([head, tail]) => head + tail),
);
const text = fc
	.array(fc.tuple(line, fc.constantFrom("\n", "\r\n", "\r", "\n\n", "")))
	.map((parts) => parts.map(([body, eol]) => body + eol).join(""));

describe("properties", () => {
	it("gives every text back unchanged, and never throws or pollutes a prototype", () => {
		const before = Object.getOwnPropertyNames(Object.prototype);
		fc.assert(
			fc.property(text, (source) => {
				const document = parseIni(source);
				document.problems();
				document.entries();
				expect(document.text()).toBe(source);
				expect(parseIni(document.text()).entries()).toEqual(document.entries());
			}),
			{ numRuns: 500 },
		);
		expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
		expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
	});

	it("sets one value and leaves all others alone", () => {
		const name = fc.constantFrom("a", "b", "k", "new", "__proto__");
		const value = fc.string({ unit: "grapheme" }).filter((candidate) => !/[\u0000-\u001f\u007f]/.test(candidate));
		fc.assert(
			fc.property(text, name, name, value, (source, section, key, written) => {
				const document = parseIni(source);
				const others = document.entries().filter((entry) => entry.section !== section || entry.key !== key);
				const known = document.get(section, key) !== undefined;
				document.set(section, key, written);
				const again = parseIni(document.text());
				expect(again.get(section, key)).toBe(written);
				const strip = (entries: typeof others) => entries.map(({ line: _, ...entry }) => entry);
				expect(strip(again.entries().filter((entry) => entry.section !== section || entry.key !== key))).toEqual(
					strip(others),
				);
				if (known) expect(again.entries().length).toBe(parseIni(source).entries().length);
			}),
			{ numRuns: 500 },
		);
	});

	it("quotes so that values read back", () => {
		fc.assert(
			fc.property(fc.string({ unit: "grapheme-ascii" }), (value) => {
				expect(parseIni(`[s]\nk = ${quoteIniValue(value)} # c`).get("s", "k")).toBe(value);
			}),
		);
	});
});

describe("editing", () => {
	it("keeps comment, spacing and line ends", () => {
		const document = parseIni(FILE);
		document.set("a", "one", "2");
		document.set("a", "empty", "full");
		document.set("a", "fresh", "3");
		document.set("new.section", "k", "a # b");
		expect(document.text()).toBe(
			`${FILE.replace("one = 1 ", "one = 2 ").replace("empty = #", "empty = full #").replace("nothing\r\n", "nothing\r\nfresh = 3\r\n")}\r\n\r\n[new.section]\r\nk = "a # b"\r\n`,
		);
	});

	it("moves an entry with the comments above it", () => {
		const document = parseIni("[a]\nx = 1\n# about y\ny = 2 # why\n\n[b]\nz = 3\n\n[c]\n");
		document.moveEntry(4, "b");
		expect(document.text()).toBe("[a]\nx = 1\n\n[b]\nz = 3\n# about y\ny = 2 # why\n\n[c]\n");
	});
});
