/**
 * Brings the schema up to date: numbered SQL files, each applied once, all in one exclusive transaction, so two processes
 * that start at once apply them once. A database from a newer version is refused, never touched.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { EpochMillis } from "../../core/model/units.ts";
import { StoreError } from "../../ports/store-error.ts";
import type { SqlRow } from "../sql/sql-database.ts";
import type { SqliteDatabase } from "./sqlite-database.ts";

export interface Migration {
	/** 1, 2, 3, … without gaps. */
	readonly version: number;
	readonly name: string;
	readonly sql: string;
}

export interface SchemaStatus {
	/** 0 for an empty file. */
	readonly current: number;
	readonly latest: number;
	readonly pending: readonly string[];
}

const FOLDER = new URL("./migrations/", import.meta.url);
const FILE = /^(\d{4})_(\w+)\.sql$/;
const CREATE_HISTORY =
	"CREATE TABLE IF NOT EXISTS schema_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

export function readMigrations(): readonly Migration[] {
	return readdirSync(FOLDER)
		.map((file) => ({ file, match: FILE.exec(file) }))
		.filter(({ match }) => match !== null)
		.map(({ file, match }) => ({
			version: Number(match![1]),
			name: `${match![1]}_${match![2]}`,
			sql: readFileSync(new URL(file, FOLDER), "utf8"),
		}))
		.sort((a, b) => a.version - b.version);
}

/** Answers the names of what was applied; `migrations` are those of this version unless a test gives others. */
export function migrate(
	database: SqliteDatabase,
	epochNow: () => EpochMillis,
	migrations: readonly Migration[] = readMigrations(),
): Promise<readonly string[]> {
	return database.exclusive(async (session, script) => {
		await script(CREATE_HISTORY);
		const current = highest(await session.all("SELECT MAX(version) AS version FROM schema_migrations", []));
		const latest = migrations.at(-1)?.version ?? 0;
		refuseNewer(database.path, current, latest);
		const applied: string[] = [];
		for (const { version, name, sql } of migrations) {
			if (version <= current) continue;
			await script(sql);
			await session.run("INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)", [
				version,
				name,
				epochNow(),
			]);
			applied.push(name);
		}
		return applied;
	});
}

/** Reads only. */
export async function schemaStatus(database: SqliteDatabase): Promise<SchemaStatus> {
	const migrations = readMigrations();
	const history = await database.read("SELECT name FROM sqlite_master WHERE name = 'schema_migrations'", []);
	const current =
		history.length === 0
			? 0
			: highest(await database.read("SELECT MAX(version) AS version FROM schema_migrations", []));
	return {
		current,
		latest: migrations.at(-1)?.version ?? 0,
		pending: migrations.filter(({ version }) => version > current).map(({ name }) => name),
	};
}

export function refuseNewer(path: string, current: number, latest: number): void {
	if (current <= latest) return;
	throw new StoreError(
		"newer_schema",
		`database ${path} has schema version ${current}, this program knows versions up to ${latest}: use the newer program, or restore a backup made before the upgrade`,
	);
}

function highest(rows: readonly SqlRow[]): number {
	return Number(rows[0]?.["version"] ?? 0);
}
