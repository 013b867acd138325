/**
 * The data folder, made when it is missing. Parent by parent instead of with `recursive`, which never comes back where the system says
 * "no such file" of a folder whose parent exists (such as below `/proc`).
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** For the owner alone. Throws a plain sentence. */
export function makeDataFolder(folder: string): void {
	try {
		makeMissing(resolve(folder));
	} catch (error) {
		throw new Error(
			`the data folder ${folder} cannot be made (${(error as Error).message}): choose another with --data-dir`,
		);
	}
}

function makeMissing(path: string): void {
	const found = statSync(path, { throwIfNoEntry: false });
	if (found?.isDirectory() === true) return;
	if (found !== undefined) throw new Error(`${path} is a file`);
	makeMissing(dirname(path));
	try {
		mkdirSync(path, { mode: 0o700 });
	} catch (error) {
		// another process was quicker
		if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
	}
}
