import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeDataFolder } from "./data-folder.ts";

let root = "";
beforeEach(() => {
	root = mkdtempSync(join(tmpdir(), "tokligence-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("makes every missing folder, for the owner alone, and leaves an existing one", () => {
	const folder = join(root, "a", "b");
	makeDataFolder(folder);
	makeDataFolder(folder);
	expect(statSync(folder).mode & 0o777).toBe(0o700);
});

test("a file in its place, or on the way to it, is named", () => {
	const file = join(root, "file");
	writeFileSync(file, "");
	expect(() => makeDataFolder(file)).toThrow(
		`the data folder ${file} cannot be made (${file} is a file): choose another with --data-dir`,
	);
	expect(() => makeDataFolder(join(file, "below"))).toThrow("choose another with --data-dir");
});

test.runIf(process.platform === "linux")("where nothing can be made it says so at once", () => {
	expect(() => makeDataFolder("/proc/nowhere")).toThrow("the data folder /proc/nowhere cannot be made");
});
