/** `tokligence db`: status, migrate, backup, restore. */
import { Command } from "commander";
import { backUpDatabase, databaseStatus, migrateDatabase, restoreDatabase } from "../app/database.ts";
import { formatProblem } from "../config/problem.ts";
import { StoreError } from "../ports/store-error.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, loadFromOptions, processIo } from "./config-options.ts";
import { fieldLines, type StoreOptions, withStoreOptions } from "./store-access.ts";

export function dbCommand(io: CommandIo = processIo()): Command {
	const status = withStoreOptions(new Command("status"))
		.description("schema version and size of the database")
		.option("--check", "read all of it and report damage")
		.action((options: StoreOptions & { readonly check?: boolean }) =>
			onDataFolder(options, io, async (dataDir) => {
				const { damage, ...found } = await databaseStatus(dataDir, { check: options.check === true });
				const { path, exists, schemaVersion, latestVersion, pending, sizeBytes } = found;
				const isWell = pending.length === 0 && (damage ?? []).length === 0;
				io.setExitCode(isWell ? 0 : EXIT_FAILURE);
				return {
					json: {
						path,
						exists,
						schema_version: schemaVersion,
						latest_version: latestVersion,
						pending,
						size_bytes: sizeBytes,
						...(damage === undefined ? {} : { damage }),
					},
					text: fieldLines({
						database: exists ? path : `${path} (not there yet: a first start or \`tokligence db migrate\` makes it)`,
						schema: `${schemaVersion} of ${latestVersion}`,
						pending: pending.length === 0 ? "nothing" : `${pending.join(", ")} (\`tokligence db migrate\` applies it)`,
						size: `${sizeBytes} bytes`,
						...(damage === undefined ? {} : { check: damageText(damage) }),
					}),
				};
			}),
		);
	const migrate = withStoreOptions(new Command("migrate"))
		.description("bring the schema up to date; a start does it too")
		.action((options: StoreOptions) =>
			onDataFolder(options, io, async (dataDir) => {
				const applied = await migrateDatabase(dataDir);
				return {
					json: { applied },
					text: applied.length === 0 ? "the schema is up to date" : `applied ${applied.join(", ")}`,
				};
			}),
		);
	const backup = withStoreOptions(new Command("backup"))
		.description("copy the database, also while a gateway uses it")
		.argument("<file>", "a file that does not exist yet")
		.action((file: string, options: StoreOptions) =>
			onDataFolder(options, io, async (dataDir) => {
				await backUpDatabase(dataDir, file);
				return { json: { backup: file }, text: `the database is copied to ${file}` };
			}),
		);
	const restore = withStoreOptions(new Command("restore"))
		.description("put a backup in the place of the database; no gateway may run on it")
		.argument("<file>", "made by `tokligence db backup`")
		.action((file: string, options: StoreOptions) =>
			onDataFolder(options, io, async (dataDir) => {
				const kept = await restoreDatabase(dataDir, file);
				return {
					json: { restored: file, replaced: kept ?? null },
					text: `the database is that of ${file}${kept === undefined ? "" : `; the one before it is kept as ${kept}`}`,
				};
			}),
		);
	const command = new Command("db").description("look after the database");
	for (const each of [status, migrate, backup, restore]) command.addCommand(each);
	return command.addHelpText(
		"after",
		`
Examples:
  tokligence db status --check
  tokligence db backup /backup/tokligence-monday.db
  tokligence db restore /backup/tokligence-monday.db

A backup has accounts, tokens (as hashes), rules, usage and the audit log. Requests that the journal has not handed over yet are not in
it; they reach whatever database the next start finds.

Exit status: 0; 1 when it cannot be done, and for status when migrations are pending or the check found damage; 78 for a wrong configuration.`,
	);
}

interface Report {
	readonly json: object;
	readonly text: string;
}

async function onDataFolder(
	options: StoreOptions,
	io: CommandIo,
	work: (dataDir: string) => Promise<Report>,
): Promise<void> {
	const loaded = loadFromOptions(options, io, options.dataDir === undefined ? {} : { dataDir: options.dataDir });
	if (!loaded.ok) {
		for (const problem of loaded.errors) io.error(`error: ${formatProblem(problem)}`);
		io.setExitCode(EXIT_CONFIG);
		return;
	}
	try {
		const { json, text } = await work(loaded.config.storage.dataDir);
		io.out(options.json === true ? JSON.stringify(json) : text);
	} catch (error) {
		const isFileError = (error as NodeJS.ErrnoException).code !== undefined;
		if (!(error instanceof StoreError) && !isFileError) throw error;
		io.error(`error: ${(error as Error).message}`);
		io.setExitCode(EXIT_FAILURE);
	}
}

function damageText(damage: readonly string[]): string {
	return damage.length === 0
		? "no damage"
		: `${damage.join("; ")} (\`tokligence db restore\` puts a backup in its place)`;
}
