/** One gateway per data folder: two would write one journal. The lock names its process, and a dead process holds nothing. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Takes the folder, or throws a plain sentence; the answer gives it back. */
export function lockDataFolder(folder: string): () => void {
	const path = join(folder, "gateway.pid");
	for (let attempt = 0; ; attempt++) {
		try {
			writeFileSync(path, String(process.pid), { flag: "wx", mode: 0o600 });
			return () => rmSync(path, { force: true });
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
			const holder = Number(readFileSync(path, "utf8"));
			if (attempt > 0 || (holder !== process.pid && isAlive(holder))) {
				throw new Error(
					`the data folder ${folder} is in use by process ${holder}; stop that gateway, or choose another with --data-dir`,
				);
			}
			rmSync(path, { force: true });
		}
	}
}

/** The living process that holds the folder, if there is one. */
export function lockHolder(folder: string): number | undefined {
	try {
		const holder = Number(readFileSync(join(folder, "gateway.pid"), "utf8"));
		return isAlive(holder) ? holder : undefined;
	} catch {
		return undefined;
	}
}

function isAlive(pid: number): boolean {
	if (!Number.isInteger(pid) || pid <= 0) return false;
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}
