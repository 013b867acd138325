import { expect, it } from "vitest";
import { manualTimers } from "../../../test/chaos/faulty-disk.ts";
import { ledgerRow } from "../../../test/contracts/ledger-row.ts";
import type { JournalSource } from "../../ports/journal.ts";
import type { LedgerRow, LedgerStore } from "../../ports/ledger-store.ts";
import { StoreError } from "../../ports/store-error.ts";
import { memoryStores } from "../memory/memory-stores.ts";
import { LedgerWriter } from "./ledger-writer.ts";

function setUp(rowCount: number, batchRows = 10) {
	let waiting: LedgerRow[] = Array.from({ length: rowCount }, (_, i) => ledgerRow({ requestId: `r${i}` }));
	const source: JournalSource = {
		unsent: async (max) => waiting.slice(0, max),
		delivered(count) {
			waiting = waiting.slice(count);
		},
	};
	const { ledger } = memoryStores(() => 0);
	const add = { duringWrites: 0, added: 0 };
	let fault: ((rows: readonly LedgerRow[]) => Error | undefined) | undefined;
	const faulty: LedgerStore = {
		get: (id) => ledger.get(id),
		list: (filter, page) => ledger.list(filter, page),
		sum: (filter, groups) => ledger.sum(filter, groups),
		append(rows) {
			for (let i = 0; i < add.duringWrites; i++) waiting.push(ledgerRow({ requestId: `more${++add.added}` }));
			const error = fault?.(rows);
			return error === undefined ? ledger.append(rows) : Promise.reject(error);
		},
	};
	const timers = manualTimers();
	const rejected: string[] = [];
	const failures: string[] = [];
	const writer = new LedgerWriter(
		{
			source,
			ledger: faulty,
			timers,
			onRejected: (row) => rejected.push(row.requestId),
			onFailure: (error) => failures.push(error.message),
		},
		{ batchRows, intervalMs: 100, firstRetryMs: 200, longestRetryMs: 400 },
	);
	const total = async () => (await ledger.sum({}, []))[0]?.requests;
	return {
		writer,
		timers,
		rejected,
		failures,
		total,
		left: () => waiting.length,
		add,
		failWith(next: typeof fault) {
			fault = next;
		},
	};
}
const settled = () => new Promise(setImmediate);

it("moves everything in batches after the interval", async () => {
	const { writer, timers, total, left } = setUp(25);
	writer.start();
	expect(await total()).toBe(0);
	timers.advance(100);
	await settled();
	expect(await total()).toBe(25);
	expect(left()).toBe(0);
	expect(writer.counters()).toMatchObject({ rowsWritten: 25, rowsKnown: 0, batches: 3, failures: 0 });
	expect(timers.waiting).toBe(1);
});

it("leaves what comes while it writes for the next interval; drain does not", async () => {
	const { writer, timers, left, add } = setUp(25);
	writer.start();
	add.duringWrites = 3;
	timers.advance(100);
	await settled();
	expect(writer.counters().batches).toBe(4);
	expect(left()).toBe(3);
	add.duringWrites = 0;
	expect(await writer.drain()).toBe(true);
	expect(left()).toBe(0);
});

it("waits longer while the ledger is away, loses nothing, catches up, and reports", async () => {
	const { writer, timers, total, left, failures, failWith } = setUp(25);
	failWith(() => new StoreError("unavailable", "gone"));
	writer.start();
	for (const ms of [100, 200, 400, 400]) {
		timers.advance(ms - 1);
		await settled();
		const before = failures.length;
		timers.advance(1);
		await settled();
		expect(failures).toHaveLength(before + 1);
	}
	expect(left()).toBe(25);
	expect(writer.counters().lastError).toBe("gone");
	failWith(undefined);
	timers.advance(400);
	await settled();
	expect(await total()).toBe(25);
	expect(writer.counters().lastError).toBeUndefined();
});

it("one row that the ledger cannot take does not hold up the others", async () => {
	const { writer, total, rejected, failWith } = setUp(25);
	failWith((rows) => (rows.some(({ requestId }) => requestId === "r7") ? new TypeError("not a row") : undefined));
	expect(await writer.drain()).toBe(true);
	expect(rejected).toEqual(["r7"]);
	expect(await total()).toBe(24);
});

it("stop makes a last attempt and leaves no timer", async () => {
	const { writer, timers, total } = setUp(5);
	writer.start();
	expect(await writer.stop()).toBe(true);
	expect(await total()).toBe(5);
	expect(timers.waiting).toBe(0);
});
