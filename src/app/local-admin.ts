/**
 * The admin operations over the store of a data folder in which no gateway runs: for the command line, which so has one way of doing
 * everything. Several may be open at once, and a gateway may start meanwhile: the store orders their writes.
 */
import { randomBytes } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import { adminServer } from "../http/admin/admin-server.ts";
import type { LedgerStore } from "../ports/ledger-store.ts";
import { openEmbedded } from "../stores/embedded/open.ts";
import { FileJournal } from "../stores/journal/file-journal.ts";
import { journalFiles } from "../stores/journal/journal-files.ts";
import { LedgerWriter } from "../stores/journal/ledger-writer.ts";
import { systemCalendar } from "./calendar.ts";
import { makeDataFolder } from "./data-folder.ts";
import { lockDataFolder } from "./data-folder-lock.ts";
import { openQuotas } from "./quotas.ts";
import { systemClock, systemTimers } from "./system.ts";

export { parseTokenList } from "../stores/memory/token-list.ts";

export interface LocalAdmin {
	readonly app: FastifyInstance;
	/** For `authorization`; good for this object alone. */
	readonly adminToken: string;
	close(): Promise<void>;
}

export interface LocalAdminOptions {
	readonly dataDir: string;
	readonly config: GatewayConfig;
	/** What a person should know; one sentence. */
	readonly onNotice: (notice: string) => void;
}

/** Rejects with `StoreError`. */
export async function openLocalAdmin({ dataDir, config, onNotice }: LocalAdminOptions): Promise<LocalAdmin> {
	makeDataFolder(dataDir);
	const levels = config.allocator.priority.priorityLevels;
	const stores = await openEmbedded(
		{ path: join(dataDir, "tokligence.db"), thread: false },
		systemClock.epochNow,
		defaultRules(levels),
	);
	const settle = () => replayJournal(dataDir, config, stores.ledger, onNotice);
	const quotas = openQuotas(config.quotas, stores, {
		settleLedger: async () => {
			await settle();
			return true;
		},
		onError: (error) => onNotice(error instanceof Error ? error.message : String(error)),
	});
	await quotas.reload();
	const adminToken = randomBytes(32).toString("base64url");
	const app = adminServer({
		adminToken,
		stores,
		epochNow: systemClock.epochNow,
		quotasEnforced: config.quotas.enabled,
		quotas,
		isZone: systemCalendar.isZone,
		zoneOffset: systemCalendar.offset,
		...(config.requestScheduler.allocator !== "bucket" ? { priorityLevels: levels } : {}),
		policyChanged: () => quotas.reload(),
		tokenChanged: () => {},
		tokensChanged: () => {},
		settle,
		onError: (error) => onNotice(error instanceof Error ? error.message : String(error)),
	});
	await app.ready();
	return {
		app,
		adminToken,
		close: async () => {
			await app.close();
			await stores.close();
		},
	};
}

/** Brings what a dead gateway left in its journal into the ledger, unless a living process has the folder. */
async function replayJournal(
	dataDir: string,
	config: GatewayConfig,
	ledger: LedgerStore,
	onNotice: (notice: string) => void,
): Promise<void> {
	const folder = join(dataDir, "journal");
	if (!existsSync(folder) || readdirSync(folder).length === 0) return;
	let unlock: () => void;
	try {
		unlock = lockDataFolder(dataDir);
	} catch (error) {
		onNotice(`the journal was not read, the newest requests may be missing: ${(error as Error).message}`);
		return;
	}
	try {
		const journal = new FileJournal(
			{
				sync: config.storage.journalSync,
				syncIntervalMs: config.storage.journalSyncIntervalMs,
				maxBytes: config.storage.journalMaxBytes,
			},
			{
				files: journalFiles(folder),
				timers: systemTimers,
				onWarning: ({ message }) => onNotice(`journal: ${message}`),
			},
		);
		const writer = new LedgerWriter({
			source: journal,
			ledger,
			timers: systemTimers,
			onFailure: (error) => onNotice(`the ledger does not take the journal's rows: ${error.message}`),
			onRejected: (row, error) => onNotice(`the ledger refused request ${row.requestId}: ${error.message}`),
		});
		await writer.drain();
		await journal.close();
	} finally {
		unlock();
	}
}
