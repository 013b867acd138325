/** Backup of a database in use, and restore of one that is not. */
import { copyFile, link, open, rename, rm } from "node:fs/promises";
import { StoreError } from "../../ports/store-error.ts";
import { refuseNewer, schemaStatus } from "./migrate.ts";
import { SqliteDatabase } from "./sqlite-database.ts";

/** Writes a consistent copy to `target`, which must not exist; the database stays in use meanwhile. */
export async function backUp(database: SqliteDatabase, target: string): Promise<void> {
	// made first, with the mode it keeps: SQLite accepts an empty file as target
	const file = await open(target, "wx", 0o600).catch((error: NodeJS.ErrnoException) => {
		if (error.code === "EEXIST")
			throw new StoreError("unavailable", `backup ${target} exists already: name a new file`);
		throw new StoreError("unavailable", `backup ${target} cannot be written: ${error.message}`, { cause: error });
	});
	await file.close();
	try {
		await database.statement("VACUUM INTO ?", [target]);
	} catch (error) {
		await rm(target, { force: true });
		throw error;
	}
}

/**
 * Puts the backup in the place of the database at `path`, after checking that it is whole and not too new. No process may
 * have the database open. Interrupted at any point, either the old or the new one is there. Answers `kept` when the old one, whatever
 * its state, is there now.
 */
export async function restore(backup: string, path: string, kept: string): Promise<string | undefined> {
	await checkBackup(backup);
	const incoming = `${path}.restoring`;
	await copyFile(backup, incoming);
	const file = await open(incoming, "r+");
	await file.chmod(0o600);
	await file.sync();
	await file.close();
	await checkIn(path);
	const hasOld = await keepOld(path, kept);
	// the old log must not be replayed over the new file; its content was checked in when the database closed, unless it is damaged
	await rename(`${path}-wal`, `${kept}-wal`).catch(unlessMissing);
	await rm(`${path}-shm`, { force: true });
	await rename(incoming, path);
	return hasOld ? kept : undefined;
}

/** A second name for the same file, so that `path` is never without a database. */
async function keepOld(path: string, kept: string): Promise<boolean> {
	try {
		await link(path, kept);
		return true;
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === "ENOENT") return false;
		// a file system without links
		if (code !== "EPERM" && code !== "ENOTSUP") throw error;
		await copyFile(path, kept);
		return true;
	}
}

function unlessMissing(error: NodeJS.ErrnoException): void {
	if (error.code !== "ENOENT") throw error;
}

async function checkBackup(backup: string): Promise<void> {
	const database = await SqliteDatabase.open({ path: backup, readOnly: true, thread: false });
	try {
		const [row] = await database.read("PRAGMA integrity_check", []);
		if (row?.["integrity_check"] !== "ok")
			throw new StoreError("corrupt", `backup ${backup} is damaged: use another one`);
		const { current, latest } = await schemaStatus(database);
		if (current === 0)
			throw new StoreError("corrupt", `backup ${backup} is no backup of this program: use another file`);
		refuseNewer(backup, current, latest);
	} finally {
		await database.close();
	}
}

/** Takes the exclusive lock once, which proves that nobody else writes, and moves the log into the file. */
async function checkIn(path: string): Promise<void> {
	try {
		const database = await SqliteDatabase.open({ path, thread: false, lockTimeoutMs: 0 });
		try {
			await database.exclusive(async () => undefined);
		} finally {
			await database.close();
		}
	} catch (error) {
		// a damaged or missing database is what a restore is for
		if (error instanceof StoreError && error.kind === "locked") throw error;
	}
}
