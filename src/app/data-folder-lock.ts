/** One gateway per data folder: two would write one journal. The lock names its process, and a dead process holds nothing. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const LOCK_FILE = "gateway.pid";

/** Takes the folder, or throws a plain sentence; the answer gives it back. */
export function lockDataFolder(folder: string): () => void {
	const path = join(folder, LOCK_FILE);
	// complete before it has the name that counts: nobody reads half of it
	const own = `${path}.${process.pid}`;
	try {
		writeFileSync(own, String(process.pid), { mode: 0o600 });
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		const advice = code === "ENOSPC" || code === "EDQUOT" ? "free disk space" : "run as its owner";
		throw new Error(
			`the data folder ${folder} cannot be written (${message}): ${advice}, or choose another with --data-dir`,
		);
	}
	try {
		for (;;) {
			try {
				linkSync(own, path);
				return () => rmSync(path, { force: true });
			} catch (error) {
				if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
			}
			const holder = readHolder(path);
			if (holder !== undefined && holder !== process.pid && isAlive(holder)) throw inUse(folder, holder);
			removeDead(path, folder);
		}
	} finally {
		rmSync(own, { force: true });
	}
}

/** Of two that find the same dead lock, one takes it away; the other may find a living one in its hands, and gives it back. */
function removeDead(path: string, folder: string): void {
	const taken = `${path}.dead.${process.pid}`;
	try {
		renameSync(path, taken);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
		throw error;
	}
	const holder = readHolder(taken);
	const isLiving = holder !== undefined && holder !== process.pid && isAlive(holder);
	if (isLiving) renameSync(taken, path);
	else rmSync(taken, { force: true });
	if (isLiving) throw inUse(folder, holder);
}

function inUse(folder: string, holder: number): Error {
	return new Error(
		`the data folder ${folder} is in use by process ${holder}; stop that gateway, or choose another with --data-dir`,
	);
}

function readHolder(path: string): number | undefined {
	try {
		return Number(readFileSync(path, "utf8"));
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}

/** The living process that holds the folder, if there is one. */
export function lockHolder(folder: string): number | undefined {
	try {
		const holder = readHolder(join(folder, LOCK_FILE));
		return holder !== undefined && isAlive(holder) ? holder : undefined;
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
