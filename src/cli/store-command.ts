/** What the commands on accounts, tokens and usage share: the data folder, opening and closing the stores, refusals as sentences. */
import type { Command } from "commander";
import { openStores } from "../app/store-access.ts";
import { defaultDataDir } from "../config/load.ts";
import type { Stores } from "../ports/stores.ts";
import type { WriteResult } from "../ports/write-result.ts";
import { type CommandIo, EXIT_FAILURE } from "./config-options.ts";

export const ACTOR = "cli";

export interface StoreFlags {
	readonly dataDir?: string;
	readonly json?: boolean;
}

export function withStoreOptions(command: Command): Command {
	return command
		.option(
			"--data-dir <folder>",
			"folder of the gateway's database (else TOKLIGENCE_DATA_DIR, else the user's data folder)",
		)
		.option("--json", "print as JSON");
}

/** Runs `work` on the stores; what it throws becomes one line and exit status 1. */
export async function onStores(
	flags: StoreFlags,
	io: CommandIo,
	work: (stores: Stores) => Promise<void>,
): Promise<void> {
	let stores: Stores | undefined;
	try {
		stores = await openStores(flags.dataDir ?? (io.env["TOKLIGENCE_DATA_DIR"] || defaultDataDir(io.env)));
		await work(stores);
	} catch (error) {
		io.error((error as Error).message);
		io.setExitCode(EXIT_FAILURE);
	} finally {
		await stores?.close();
	}
}

/** The value, or an error with the store's sentence. */
export function unwrap<T>(result: WriteResult<T>): T {
	if (!result.ok) throw new Error(result.message);
	return result.value;
}

/** Instants as people and scripts read them. */
export function isoTime(at: number | undefined): string | null {
	return at === undefined ? null : new Date(at).toISOString();
}
