/**
 * What any journal must do for the requests and for the ledger that reads it. An implementation's test calls `describeJournal` with a way to open one; opening
 * again, after `close` or without it, is what the next process does.
 */
import { beforeEach, describe, expect, it } from "vitest";
import type { Journal, JournalSource } from "../../src/ports/journal.ts";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { ledgerRow } from "./ledger-row.ts";

export type JournalUnderTest = Journal & JournalSource;

const started = (id: string) => ledgerRow({ requestId: id, outcome: "unknown", usageSource: "estimated" });
const ended = (id: string) => ledgerRow({ requestId: id, completionTokens: 7 });
const ids = (rows: readonly LedgerRow[]) => rows.map(({ requestId }) => requestId);

/** `fresh` answers how to open one and the same, empty at first. */
export function describeJournal(name: string, fresh: () => () => Promise<JournalUnderTest>): void {
	describe(`journal: ${name}`, () => {
		let open: () => Promise<JournalUnderTest>;
		let journal: JournalUnderTest;
		beforeEach(async () => {
			open = fresh();
			journal = await open();
			return () => journal.close();
		});

		const end = async (...names: readonly string[]) => {
			for (const id of names) {
				expect(journal.start(started(id))).toBe(true);
				journal.end(ended(id));
			}
			expect(await journal.flushed()).toBe("stored");
		};

		it("gives the ledger what ended, oldest first, the same again until it is delivered", async () => {
			await end("a", "b", "c");
			expect(await journal.unsent(2)).toEqual([ended("a"), ended("b")]);
			expect(ids(await journal.unsent(2))).toEqual(["a", "b"]);
			journal.delivered(2);
			expect(ids(await journal.unsent(10))).toEqual(["c"]);
			journal.delivered(1);
			expect(await journal.unsent(10)).toEqual([]);
		});

		it("keeps what started to itself while it runs", async () => {
			journal.start(started("a"));
			await journal.flushed();
			expect(await journal.unsent(10)).toEqual([]);
			expect(journal.status()).toMatchObject({ state: "ok", openRecords: 1, unsentRecords: 0 });
			journal.end(ended("a"));
			await journal.flushed();
			expect(journal.status()).toMatchObject({ openRecords: 0, unsentRecords: 1 });
		});

		it("calls back once for each who waits, in their order", async () => {
			const order: string[] = [];
			for (const id of ["a", "b", "c"]) {
				journal.start(started(id));
				journal.afterFlush((flush) => order.push(`${id} ${flush}`));
			}
			expect(order).toEqual([]);
			await journal.flushed();
			expect(order).toEqual(["a stored", "b stored", "c stored"]);
		});

		it("survives the process: ended as they ended, running ones as unknown, delivered ones at most once more", async () => {
			await end("sent", "kept");
			await journal.unsent(1);
			journal.delivered(1);
			journal.start(started("running"));
			await journal.flushed();
			await journal.close();
			journal = await open();
			const rows = await journal.unsent(10);
			// The ledger knows a row by its id: once more is no harm, lost would be.
			expect(rows.filter(({ requestId }) => requestId !== "sent")).toEqual([ended("kept"), started("running")]);
			journal.delivered(rows.length);
			expect(await journal.unsent(10)).toEqual([]);
		});

		it("survives without being closed", async () => {
			await end("a");
			journal.start(started("b"));
			await journal.flushed();
			const abandoned = journal;
			journal = await open();
			expect(ids(await journal.unsent(10))).toEqual(["a", "b"]);
			await abandoned.close();
		});

		it("says how much waits", async () => {
			expect(journal.status()).toMatchObject({ state: "ok", memoryBytes: 0, unsentRecords: 0, openRecords: 0 });
			await end("a", "b");
			expect(journal.status().unsentRecords).toBe(2);
			expect(journal.status().bytes).toBeGreaterThan(0);
		});
	});
}
