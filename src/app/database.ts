/**
 * The database of a data folder as a thing to look after: schema, backup, restore. For the command line; a gateway brings its schema up to
 * date by itself when it starts. Everything here rejects with `StoreError` or a plain sentence.
 */
import { statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { StoreError } from "../ports/store-error.ts";
import { backUp, restore } from "../stores/embedded/backup.ts";
import { migrate, readMigrations, schemaStatus } from "../stores/embedded/migrate.ts";
import { SqliteDatabase } from "../stores/embedded/sqlite-database.ts";
import { makeDataFolder } from "./data-folder.ts";
import { lockDataFolder, lockHolder } from "./data-folder-lock.ts";
import { systemClock } from "./system.ts";

const DATABASE_FILE = "tokligence.db";
const SNAPSHOT_FILE = "tokens.snapshot";

export function databasePath(dataDir: string): string {
	return join(dataDir, DATABASE_FILE);
}

export interface DatabaseStatus {
	readonly path: string;
	readonly exists: boolean;
	/** 0 when there is nothing yet. */
	readonly schemaVersion: number;
	readonly latestVersion: number;
	/** Names of migrations that have not been applied. */
	readonly pending: readonly string[];
	/** The file and its write-ahead log. */
	readonly sizeBytes: number;
	/** What a full check found; absent when none was asked for. */
	readonly damage?: readonly string[];
}

/** Reads only; makes nothing that is not there. */
export async function databaseStatus(dataDir: string, { check = false } = {}): Promise<DatabaseStatus> {
	const path = databasePath(dataDir);
	const size = sizeOf(path);
	if (size === undefined) {
		const names = readMigrations().map(({ name }) => name);
		return { path, exists: false, schemaVersion: 0, latestVersion: names.length, pending: names, sizeBytes: 0 };
	}
	return withDatabase(path, true, async (database) => {
		const { current, latest, pending } = await schemaStatus(database);
		return {
			path,
			exists: true,
			schemaVersion: current,
			latestVersion: latest,
			pending,
			sizeBytes: size + (sizeOf(`${path}-wal`) ?? 0),
			...(check ? { damage: await damageOf(database) } : {}),
		};
	});
}

/** Answers the names of what was applied. Several at once apply each migration once. */
export async function migrateDatabase(dataDir: string): Promise<readonly string[]> {
	makeDataFolder(dataDir);
	const { pending, exists } = await databaseStatus(dataDir);
	if (exists && pending.length > 0) refuseWhileInUse(dataDir, "the schema cannot change");
	return withDatabase(databasePath(dataDir), false, (database) => migrate(database, systemClock.epochNow));
}

/** A copy in one consistent state, also of a database in use. */
export function backUpDatabase(dataDir: string, target: string): Promise<void> {
	return withDatabase(existing(dataDir), true, (database) => backUp(database, target));
}

/** Answers where the replaced database is kept, if there was one. */
export async function restoreDatabase(dataDir: string, backup: string): Promise<string | undefined> {
	makeDataFolder(dataDir);
	refuseWhileInUse(dataDir, "the database cannot be replaced");
	const unlock = lockDataFolder(dataDir);
	try {
		const stamp = new Date(systemClock.epochNow()).toISOString().replaceAll(/\D/g, "").slice(0, 14);
		const kept = await restore(backup, databasePath(dataDir), `${databasePath(dataDir)}.replaced-${stamp}`);
		// it knows the tokens of the database that is gone
		await rm(join(dataDir, SNAPSHOT_FILE), { force: true });
		return kept;
	} finally {
		unlock();
	}
}

function refuseWhileInUse(dataDir: string, what: string): void {
	const pid = lockHolder(dataDir);
	if (pid === undefined) return;
	throw new StoreError("locked", `${what} while process ${pid} runs on the data folder ${dataDir}: stop it first`);
}

function existing(dataDir: string): string {
	const path = databasePath(dataDir);
	if (sizeOf(path) !== undefined) return path;
	throw new StoreError("unavailable", `there is no database at ${path}: name another folder with --data-dir`);
}

function sizeOf(path: string): number | undefined {
	return statSync(path, { throwIfNoEntry: false })?.size;
}

async function damageOf(database: SqliteDatabase): Promise<readonly string[]> {
	const rows = await database.read("PRAGMA integrity_check(20)", []);
	const findings = rows.map((row) => String(row["integrity_check"]));
	return findings.length === 1 && findings[0] === "ok" ? [] : findings;
}

async function withDatabase<T>(
	path: string,
	readOnly: boolean,
	work: (database: SqliteDatabase) => Promise<T>,
): Promise<T> {
	const database = await SqliteDatabase.open({ path, readOnly, thread: false });
	try {
		return await work(database);
	} finally {
		await database.close();
	}
}
