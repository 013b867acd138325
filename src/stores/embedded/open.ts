/** Opens the embedded database for use: migrated, with the default rules of a first start. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { NewRule } from "../../ports/rule-store.ts";
import type { Stores } from "../../ports/stores.ts";
import { sqlStores } from "../sql/sql-stores.ts";
import { migrate } from "./migrate.ts";
import { type EmbeddedOptions, SqliteDatabase } from "./sqlite-database.ts";

export interface EmbeddedStores extends Stores {
	/** For backup and schema status. */
	readonly database: SqliteDatabase;
	/** Names of the migrations that this opening applied. */
	readonly migrated: readonly string[];
}

/** Rejects with `StoreError`. Safe when two processes do it at once. */
export async function openEmbedded(
	options: EmbeddedOptions,
	epochNow: () => EpochMillis,
	defaultRules: readonly NewRule[] = [],
): Promise<EmbeddedStores> {
	const database = await SqliteDatabase.open(options);
	try {
		const migrated = await migrate(database, epochNow);
		const stores = sqlStores(database, epochNow);
		if (defaultRules.length > 0) await stores.rules.seed(defaultRules, "system");
		return { ...stores, database, migrated };
	} catch (error) {
		await database.close().catch(() => undefined);
		throw error;
	}
}
