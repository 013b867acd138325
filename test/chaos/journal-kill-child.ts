/**
 * The process that `journal-kill.test.ts` kills: thirty requests at a time, each journalled before it is announced, the ledger written
 * meanwhile. Arguments: folder, number of the run.
 */
import { join } from "node:path";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { FileJournal } from "../../src/stores/journal/file-journal.ts";
import { journalFiles } from "../../src/stores/journal/journal-files.ts";
import { LedgerWriter } from "../../src/stores/journal/ledger-writer.ts";

const [folder = ".", run = "0"] = process.argv.slice(2);
const timers = {
	after(ms: number, callback: () => void) {
		const timer = setTimeout(callback, ms);
		return () => clearTimeout(timer);
	},
};
const stores = await openEmbedded({ path: join(folder, "gateway.db") }, Date.now);
await stores.accounts.create({ id: "load", email: "", name: "Load", accountType: "internal" }, "test");
const known = (await stores.tokens.list({ accountId: "load" }, {})).items[0];
if (known === undefined) await stores.tokens.create({ accountId: "load", priorityTier: "internal" }, "test");
const tokenId = (await stores.tokens.list({ accountId: "load" }, {})).items[0]?.id ?? "";
const journal = new FileJournal(
	{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e9, segmentBytes: 20_000 },
	{ files: journalFiles(join(folder, "journal")), timers, onWarning: () => undefined },
);
const writer = new LedgerWriter(
	{ source: journal, ledger: stores.ledger, timers, onRejected: () => undefined, onFailure: () => undefined },
	{ batchRows: 50, intervalMs: 5 },
);
writer.start();

function row(requestId: string, completionTokens: number, outcome: string): LedgerRow {
	return {
		requestId,
		accountId: "load",
		tokenId,
		tier: "internal",
		routedBy: "token",
		model: "mock",
		operation: "chat",
		promptTokens: 10,
		completionTokens,
		cachedTokens: 0,
		usageSource: outcome === "unknown" ? "estimated" : "measured",
		queue: "P0",
		waitMs: 0,
		durationMs: 1,
		outcome,
		costNanoDollars: 1000,
		startedAt: Date.now(),
		settledAt: Date.now(),
	};
}

async function client(number: number): Promise<void> {
	for (let n = 0; ; n++) {
		const id = `${run}-${number}-${n}`;
		journal.start(row(id, 256, "unknown"));
		await journal.flushed();
		process.stdout.write(`s ${id}.\n`);
		const tokens = (number * 7919 + n * 104_729) % 1000;
		journal.end(row(id, tokens, "completed"));
		await journal.flushed();
		process.stdout.write(`e ${id} ${tokens}.\n`);
		// let timers and the database's answers have their turn
		await new Promise((resolve) => setTimeout(resolve, 1));
	}
}
await Promise.all(Array.from({ length: 30 }, (_, number) => client(number)));
