/**
 * The examples of the core's docstrings and guide are run as they stand, each in a process of its own. A line that ends in
 * `// → value` must print that value. `examples/` is run too.
 */
import { execFile } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import * as core from "../../src/core/index.ts";

const root = path.resolve(import.meta.dirname, "../..");
const folder = mkdtempSync(path.join(tmpdir(), "examples-"));
const run = promisify(execFile);
const entry = new URL("../../src/core/index.ts", import.meta.url).href;

afterAll(() => rmSync(folder, { recursive: true }));

interface Example {
	/** File and number within it. */
	readonly name: string;
	readonly code: string;
}

function examplesOf(file: string): Example[] {
	const text = readFileSync(path.join(root, file), "utf8");
	const source = file.endsWith(".md") ? text : text.replaceAll(/^[ \t]*\* ?/gm, "");
	return [...source.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code], index) => ({
		name: `${file} ${index + 1}`,
		code: code!,
	}));
}

/** A docstring's example names what the entry exports without importing it. */
function whole({ code }: Example): string {
	if (code.includes('from "tokligence/core"')) return code.replaceAll('"tokligence/core"', JSON.stringify(entry));
	const used = Object.keys(core).filter((name) => new RegExp(`\\b${name}\\b`).test(code));
	return `import { ${used.join(", ")} } from ${JSON.stringify(entry)};\n${code}`;
}

const examples = [...globSync("src/core/**/*.ts", { cwd: root }).sort(), "docs/core.md"].flatMap(examplesOf);

test("there are examples, in docstrings and in the guide", () => {
	expect(examples.filter(({ name }) => name.startsWith("docs/")).length).toBeGreaterThanOrEqual(3);
	expect(examples.filter(({ name }) => name.startsWith("src/")).length).toBeGreaterThanOrEqual(2);
	expect(examples.filter(({ code }) => code.includes("// → ")).length).toBeGreaterThanOrEqual(4);
});

test.each(examples.map((example) => [example.name, example] as const))("%s", async (name, example) => {
	const file = path.join(folder, `${name.replaceAll(/[^a-z0-9]+/gi, "-")}.mts`);
	writeFileSync(file, whole(example));
	const { stdout } = await run(process.execPath, [file]);
	const expected = [...example.code.matchAll(/\/\/ → (.*)$/gm)].map((match) => match[1]!);
	expect(stdout.trimEnd().split("\n").filter(Boolean)).toEqual(expected);
});

test("examples/schedule-jobs.ts: the alarm first, shares by what jobs cost, and who waits too long is let go", async () => {
	const { stdout } = await run(process.execPath, [path.join(root, "examples/schedule-jobs.ts")]);
	expect(stdout).toContain("131 done, queue_timeout for one that would not wait");
	// Four were running when it came.
	expect(stdout).toContain("the alarm started as number 5");
	const [acme, globex] = [.../acme had (\d+) and globex (\d+)/.exec(stdout)!].slice(1).map(Number) as [number, number];
	expect(acme).toBeGreaterThanOrEqual(25);
	expect(globex).toBeLessThanOrEqual(34);
});
