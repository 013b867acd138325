/** Every implementation of the journal takes the same exam. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { systemTimers } from "../../src/app/system.ts";
import { FileJournal, type JournalSettings } from "../../src/stores/journal/file-journal.ts";
import { journalFiles } from "../../src/stores/journal/journal-files.ts";
import { describeJournal } from "./journal-contract.ts";

function inFolder(settings: Partial<JournalSettings>) {
	return () => {
		const folder = mkdtempSync(join(tmpdir(), "tgw-journal-"));
		onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
		return async () =>
			new FileJournal(
				{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e9, ...settings },
				{ files: journalFiles(folder), timers: systemTimers, onWarning: () => {} },
			);
	};
}

describeJournal("files, synced now and then", inFolder({}));
describeJournal("files, synced before anything is called stored", inFolder({ sync: "always" }));
describeJournal("files, a segment for every few records", inFolder({ segmentBytes: 1000 }));
