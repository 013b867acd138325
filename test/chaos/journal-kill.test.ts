/**
 * kill -9 at random instants: what the child acknowledged on its standard output is in the ledger exactly once. The child stands
 * in for the gateway: it calls a line what the gateway calls the last byte of a response.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { openEmbedded } from "../../src/stores/embedded/open.ts";
import { FileJournal } from "../../src/stores/journal/file-journal.ts";
import { journalFiles } from "../../src/stores/journal/journal-files.ts";
import { LedgerWriter } from "../../src/stores/journal/ledger-writer.ts";
import { manualTimers } from "./faulty-disk.ts";

const KILLS = Number(process.env["TEST_KILLS"] ?? 10);
const CHILD = fileURLToPath(new URL("./journal-kill-child.ts", import.meta.url));

it(`loses and doubles nothing over ${KILLS} kills`, async () => {
	const folder = mkdtempSync(join(tmpdir(), "tgw-kill-"));
	const acknowledged = new Map<string, number>();
	const startedIds = new Set<string>();
	for (let run = 0; run < KILLS; run++) {
		const child = spawn(process.execPath, [CHILD, folder, String(run)], { stdio: ["ignore", "pipe", "inherit"] });
		const killAfterLines = 1 + Math.trunc(Math.random() * 400);
		let lines = 0;
		for await (const line of createInterface({ input: child.stdout })) {
			// the full stop tells a whole line from one that the kill cut
			const [what, id, tokens] = line.replace(/\.$/, " whole").split(" ") as [string, string, string];
			if (!line.endsWith(".")) continue;
			if (what === "s") startedIds.add(id);
			else acknowledged.set(id, Number(tokens));
			if (++lines === killAfterLines) child.kill("SIGKILL");
		}
		expect(child.signalCode ?? "killed later").not.toBeNull();
	}
	const stores = await openEmbedded({ path: join(folder, "gateway.db") }, Date.now);
	const timers = manualTimers();
	const journal = new FileJournal(
		{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e9 },
		{ files: journalFiles(join(folder, "journal")), timers, onWarning: () => undefined },
	);
	const writer = new LedgerWriter({
		source: journal,
		ledger: stores.ledger,
		timers,
		onRejected: (row) => expect.fail(row.requestId),
		onFailure: (error) => expect.fail(error.message),
	});
	expect(await writer.drain()).toBe(true);
	await journal.close();

	expect(acknowledged.size).toBeGreaterThan(KILLS);
	const lost = [];
	for (const [id, tokens] of acknowledged) {
		const row = await stores.ledger.get(id);
		if (row?.outcome !== "completed" || row.completionTokens !== tokens) lost.push({ id, tokens, row });
	}
	expect(lost).toEqual([]);
	let unknown = 0;
	for (const id of startedIds) {
		const row = await stores.ledger.get(id);
		expect(row, `${id} was said to be on its way upstream`).toBeDefined();
		if (row?.outcome === "unknown") unknown++;
	}
	const [sum] = await stores.ledger.sum({ accountId: "load" }, []);
	const token = (await stores.tokens.list({ accountId: "load" }, {})).items[0];
	// the token's counter moves with each row: had one been counted twice, they would differ
	expect(token?.totalRequests).toBe(sum?.requests);
	console.log(
		`${KILLS} kills: ${acknowledged.size} acknowledged, ${lost.length} lost, ${sum?.requests} rows, ${unknown} unknown`,
	);
	await stores.close();
	rmSync(folder, { recursive: true, force: true });
});
