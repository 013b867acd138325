// Compiles src to dist and copies the files that the code reads at run time (SQL, page assets) beside it.
import { execFileSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, "-p", `${root}tsconfig.build.json`], {
	stdio: "inherit",
});
cpSync(`${root}src`, `${root}dist`, {
	recursive: true,
	filter: (path) => !/\.ts$/.test(path),
});
