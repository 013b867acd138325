/**
 * Programs that some tests need: found, else installed with apt where that is allowed (as root, without a question), else the test is skipped
 * loudly. With `CI=true` a missing program is a failure.
 */
import { spawnSync } from "node:child_process";

function isThere(program: string): boolean {
	return spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
}

function install(packages: readonly string[]): void {
	if (process.platform !== "linux" || process.getuid?.() !== 0 || !isThere("apt-get")) return;
	console.warn(`installing ${packages.join(", ")} for the tests`);
	const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
	const run = (...words: string[]) => spawnSync("apt-get", words, { env, timeout: 300_000 }).status === 0;
	if (!run("install", "-y", "-q", ...packages) && run("update", "-q")) run("install", "-y", "-q", ...packages);
}

/** True when all of them are there. `programs`: program → Debian package. */
export function haveTools(programs: Readonly<Record<string, string>>): boolean {
	const missing = () => Object.keys(programs).filter((program) => !isThere(program));
	if (missing().length > 0) install(missing().map((program) => programs[program]!));
	const gone = missing();
	if (gone.length === 0) return true;
	const sentence = `needs ${gone.join(", ")}, which this machine does not have and may not install`;
	if (process.env["CI"] === "true") throw new Error(sentence);
	console.warn(`SKIPPED: ${sentence}`);
	return false;
}
