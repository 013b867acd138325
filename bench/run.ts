/** `npm run bench`: runs the benches of this folder one after the other. Each explains its method in its header and prints ratios. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

for (const name of ["frontier", "frontier-live", "core", "tokens", "gateway", "waiting"]) {
	const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
	if (!existsSync(file)) continue;
	console.log(`\n== ${name}`);
	const { status } = spawnSync(process.execPath, ["--expose-gc", file, ...process.argv.slice(2)], { stdio: "inherit" });
	if (status !== 0) process.exitCode = 1;
}
