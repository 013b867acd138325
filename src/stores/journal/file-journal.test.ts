import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type FaultyDisk, faultyDisk, type ManualTimers, manualTimers } from "../../../test/chaos/faulty-disk.ts";
import { ledgerRow } from "../../../test/contracts/ledger-row.ts";
import type { LedgerRow } from "../../ports/ledger-store.ts";
import { FileJournal, type JournalSettings, type JournalWarning } from "./file-journal.ts";
import { journalFiles } from "./journal-files.ts";
import { decodeRecord, encodeRecord } from "./journal-record.ts";

let folder: string;
let disk: FaultyDisk;
let timers: ManualTimers;
let warnings: JournalWarning[];
const journals: FileJournal[] = [];

beforeEach(() => {
	folder = mkdtempSync(join(tmpdir(), "tgw-journal-"));
	disk = faultyDisk(journalFiles(folder));
	timers = manualTimers();
	warnings = [];
});
afterEach(async () => {
	for (const journal of journals.splice(0)) await journal.close();
	rmSync(folder, { recursive: true, force: true });
});

function open(settings: Partial<JournalSettings> = {}): FileJournal {
	const journal = new FileJournal(
		{ sync: "interval", syncIntervalMs: 50, maxBytes: 1e9, gatherMs: 0, ...settings },
		{ files: disk, timers, onWarning: (warning) => warnings.push(warning) },
	);
	journals.push(journal);
	return journal;
}

/** What a new process finds, the old one being gone without a word. */
function reopen(settings: Partial<JournalSettings> = {}): FileJournal {
	journals.splice(0);
	disk = faultyDisk(journalFiles(folder));
	timers = manualTimers();
	return open(settings);
}

const started = (id: string) => ledgerRow({ requestId: id, outcome: "unknown", usageSource: "estimated" });
const ended = (id: string) => ledgerRow({ requestId: id, completionTokens: 7 });
const ids = (rows: readonly LedgerRow[]) => rows.map(({ requestId }) => requestId);
const segments = () => readdirSync(folder).filter((name) => name.endsWith(".log"));

describe("records", () => {
	it("come back as they were, and never when a byte changed", () => {
		const text = fc.option(fc.string({ unit: "binary", maxLength: 20 }), { nil: undefined });
		fc.assert(
			fc.property(
				text,
				text,
				fc.nat(),
				fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }),
				fc.nat(),
				(clientRequestId, team, promptTokens, waitMs, at) => {
					const row = ledgerRow({
						requestId: "r",
						promptTokens,
						waitMs,
						...(clientRequestId === undefined ? {} : { clientRequestId }),
						...(team === undefined ? {} : { team }),
					});
					const line = encodeRecord("e", row);
					expect(decodeRecord(Buffer.from(line).toString().slice(0, -1))).toEqual({
						kind: "e",
						row: JSON.parse(JSON.stringify(row)),
					});
					expect(line.indexOf("\n")).toBe(line.length - 1);
					const i = at % (line.length - 1);
					const damaged = `${line.slice(0, i)}${line[i] === "0" ? "1" : "0"}${line.slice(i + 1, -1)}`;
					expect(decodeRecord(damaged)).toBeUndefined();
				},
			),
		);
	});
});

describe("writing", () => {
	it("writes all records of one turn at once, and resolves everyone who waits", async () => {
		const journal = open();
		for (const id of ["a", "b", "c"]) expect(journal.start(started(id))).toBe(true);
		const first = journal.flushed();
		journal.end(ended("a"));
		expect(journal.flushed()).toBe(first);
		expect(await first).toBe("stored");
		expect(disk.writes).toBe(1);
		expect(await journal.flushed()).toBe("stored");
		expect(journal.status()).toMatchObject({ state: "ok", unsentRecords: 1, openRecords: 2, memoryBytes: 0 });
	});

	it("gathers what comes after two writes until their millisecond is over", async () => {
		const journal = open({ gatherMs: 1 });
		const order: string[] = [];
		for (const id of ["a", "b", "c", "d"]) {
			journal.start(started(id));
			journal.afterFlush((flush) => order.push(`${id} ${flush}`));
			await new Promise(setImmediate);
		}
		expect(order).toEqual(["a stored", "b stored"]);
		expect(disk.writes).toBe(2);
		timers.advance(1);
		expect(disk.writes).toBe(3);
		expect(order.slice(2)).toEqual(["c stored", "d stored"]);
		timers.advance(1);
		journal.start(started("e"));
		await journal.flushed();
		expect(disk.writes).toBe(4);
	});

	it("interval: syncs once per interval, only when something was written", async () => {
		const journal = open();
		timers.advance(200);
		journal.end(ended("a"));
		await journal.flushed();
		expect(disk.syncs).toBe(0);
		timers.advance(50);
		expect(disk.syncs).toBe(1);
	});

	it("always: resolves after the data is on disk, groups what comes meanwhile", async () => {
		const journal = open({ sync: "always" });
		let release = () => {};
		const gate = new Promise<void>((resolve) => {
			release = resolve;
		});
		const { sync } = disk;
		let syncing = 0;
		disk.sync = async (file) => {
			syncing++;
			await gate;
			await sync(file);
		};
		const order: string[] = [];
		journal.end(ended("a"));
		const first = journal.flushed().then(() => order.push("flushed"));
		await new Promise(setImmediate);
		for (const id of ["b", "c"]) journal.end(ended(id));
		const second = journal.flushed().then(() => order.push("flushed"));
		await new Promise(setImmediate);
		expect(syncing).toBe(1);
		order.push("released");
		release();
		await Promise.all([first, second]);
		expect(order).toEqual(["released", "flushed", "flushed"]);
		expect(syncing).toBe(2);
	});
});

describe("replay", () => {
	it("ended requests once, open ones as unknown with their estimate", async () => {
		const journal = open();
		for (const id of ["a", "b", "c"]) journal.start(started(id));
		journal.end(ended("b"));
		await journal.flushed();
		const rows = await reopen().unsent(100);
		expect(rows).toEqual([ended("b"), started("a"), started("c")]);
		expect(warnings).toEqual([]);
	});

	it("loses only the torn tail, whatever its length", async () => {
		const journal = open();
		for (const id of ["a", "b"]) journal.end(ended(id));
		await journal.flushed();
		const [name] = segments();
		const whole = readFileSync(join(folder, name!));
		const lastRecord = encodeRecord("e", ended("b")).length;
		for (const cut of [1, 5, lastRecord - 1]) {
			writeFileSync(join(folder, name!), whole.subarray(0, whole.length - cut));
			warnings = [];
			expect(ids(await reopen().unsent(100))).toEqual(["a"]);
			expect(warnings.map(({ kind }) => kind)).toEqual(["torn_tail"]);
		}
		writeFileSync(join(folder, name!), whole.subarray(0, 4));
		expect(await reopen().unsent(100)).toEqual([]);
	});

	it("a damaged record in the middle costs itself, is reported, and the file is kept aside", async () => {
		const journal = open();
		for (const id of ["a", "b", "c"]) journal.end(ended(id));
		await journal.flushed();
		const file = join(folder, segments()[0]!);
		const bytes = readFileSync(file);
		bytes[bytes.indexOf('"b"') + 1] = "x".charCodeAt(0);
		writeFileSync(file, bytes);
		const next = reopen();
		expect(ids(await next.unsent(100))).toEqual(["a", "c"]);
		expect(warnings).toEqual([
			{ kind: "corrupt_record", message: expect.stringMatching(/segment-0+1\.log: \d+ bytes at \d+/) },
		]);
		next.delivered(2);
		expect(readdirSync(folder)).toEqual([expect.stringMatching(/\.damaged$/)]);
	});

	it("a file of another format is reported, not read, not deleted", async () => {
		writeFileSync(join(folder, "segment-000000000001.log"), "something else\n");
		appendFileSync(join(folder, "notes.txt"), "not ours");
		const journal = open();
		expect(await journal.unsent(10)).toEqual([]);
		expect(warnings.map(({ kind }) => kind)).toEqual(["unknown_format"]);
		expect(readdirSync(folder).sort()).toEqual(["notes.txt", "segment-000000000001.log.damaged"]);
	});
});

describe("delivery", () => {
	it("offers the same rows until they are delivered, and deletes spent segments", async () => {
		const journal = open({ segmentBytes: 1000 });
		for (let i = 0; i < 20; i++) {
			journal.start(started(`r${i}`));
			journal.end(ended(`r${i}`));
			await journal.flushed();
		}
		expect(segments().length).toBeGreaterThan(5);
		expect(ids(await journal.unsent(2))).toEqual(["r0", "r1"]);
		expect(ids(await journal.unsent(3))).toEqual(["r0", "r1", "r2"]);
		journal.delivered(3);
		expect(ids(await journal.unsent(1))).toEqual(["r3"]);
		journal.delivered(17);
		expect(await journal.unsent(10)).toEqual([]);
		await journal.close();
		expect(segments()).toEqual([]);
		expect(journal.status()).toMatchObject({ unsentRecords: 0, bytes: 0 });
	});

	it("a long request does not hold its segment: its start moves on, and is still unknown after a crash", async () => {
		const journal = open({ segmentBytes: 1000 });
		journal.start(started("long"));
		for (let i = 0; i < 60; i++) {
			journal.end(ended(`r${i}`));
			await journal.flushed();
			journal.delivered((await journal.unsent(10)).length);
			timers.advance(50);
			await new Promise(setImmediate);
		}
		const settled = () => {
			timers.advance(50);
			journal.delivered(0);
			return segments();
		};
		await expect.poll(settled, { interval: 1 }).not.toContain("segment-000000000001.log");
		await expect.poll(() => settled().length, { interval: 1 }).toBeLessThan(8);
		expect(journal.status().openRecords).toBe(1);
		await journal.flushed();
		expect(await reopen().unsent(1000)).toContainEqual(started("long"));
	});

	it("keeps what memory cannot hold on disk and reads it back in order", async () => {
		const journal = open({ maxMemoryRows: 5, segmentBytes: 2000 });
		for (let i = 0; i < 50; i++) {
			journal.end(ended(`r${i}`));
			if (i % 3 === 0) await journal.flushed();
		}
		expect(journal.status().unsentRecords).toBe(50);
		const seen = new Set<string>();
		for (;;) {
			const rows = await journal.unsent(7);
			if (rows.length === 0) break;
			for (const id of ids(rows)) seen.add(id);
			journal.delivered(rows.length);
		}
		expect(seen.size).toBe(50);
		expect(journal.status().unsentRecords).toBe(0);
	});

	it("refuses new starts at max_bytes, takes ends, and recovers by delivery", async () => {
		const journal = open({ maxBytes: 3000, segmentBytes: 1000 });
		let accepted = 0;
		while (journal.start(started(`r${accepted}`))) {
			accepted++;
			await journal.flushed();
		}
		expect(journal.status()).toMatchObject({ state: "full", reason: expect.stringContaining("limit is 3000") });
		for (let i = 0; i < accepted; i++) journal.end(ended(`r${i}`));
		expect(await journal.flushed()).toBe("stored");
		journal.delivered((await journal.unsent(1000)).length);
		timers.advance(50);
		await expect.poll(() => journal.status().state, { interval: 1 }).toBe("ok");
		expect(journal.start(started("next"))).toBe(true);
	});
});

describe("a disk that fails", () => {
	it("full: holds in memory, says so, never hangs, writes everything when there is room", async () => {
		const journal = open();
		journal.end(ended("a"));
		await journal.flushed();
		disk.room = 100;
		for (const id of ["b", "c"]) {
			journal.end(ended(id));
			expect(await journal.flushed()).toBe("memory");
		}
		expect(journal.status()).toMatchObject({ state: "degraded", reason: expect.stringContaining("ENOSPC") });
		expect(ids(await journal.unsent(10))).toEqual(["a", "b", "c"]);
		timers.advance(1000);
		expect(journal.status().state).toBe("degraded");
		disk.room = Number.POSITIVE_INFINITY;
		timers.advance(2000);
		expect(journal.status()).toMatchObject({ state: "ok", memoryBytes: 0 });
		expect(warnings.map(({ kind }) => kind)).toEqual(["disk_error", "recovered"]);
		expect(ids(await reopen().unsent(10))).toEqual(["a", "b", "c"]);
	});

	it("full for long: the ledger still gets the rows; memory is bounded; starts are refused at the bound", async () => {
		const journal = open({ maxMemoryBytes: 5000 });
		disk.writeError = "ENOSPC";
		let n = 0;
		while (journal.start(started(`r${n}`))) {
			journal.end(ended(`r${n}`));
			expect(await journal.flushed()).toBe("memory");
			n++;
		}
		expect(journal.status().state).toBe("full");
		expect(journal.status().memoryBytes).toBeLessThan(6000);
		const rows = await journal.unsent(1000);
		expect(rows).toHaveLength(n);
		journal.delivered(n);
		expect(journal.status().state).toBe("degraded");
		expect(journal.start(started("next"))).toBe(true);
	});

	it("EIO on fsync: what may be lost is written again elsewhere", async () => {
		const journal = open();
		journal.end(ended("a"));
		await journal.flushed();
		disk.syncError = "EIO";
		timers.advance(50);
		await expect.poll(() => journal.status().state, { interval: 1 }).toBe("degraded");
		disk.syncError = undefined;
		timers.advance(100);
		expect(journal.status().state).toBe("ok");
		// the first file is as good as gone
		rmSync(join(folder, "segment-000000000001.log"));
		expect(ids(await reopen().unsent(10))).toEqual(["a"]);
	});

	it("EIO on fsync with always: not called stored", async () => {
		const journal = open({ sync: "always" });
		disk.syncError = "EIO";
		journal.end(ended("a"));
		expect(await journal.flushed()).toBe("memory");
		disk.syncError = undefined;
		timers.advance(100);
		journal.end(ended("b"));
		expect(await journal.flushed()).toBe("stored");
	});
});

it("any sequence of starts, ends, deliveries, disk faults and crashes loses and invents nothing", async () => {
	const step = fc.constantFrom("start", "end", "flush", "deliver", "fail", "heal", "crash", "timer");
	await fc.assert(
		fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
			for (const name of readdirSync(folder)) rmSync(join(folder, name));
			let journal = reopen({ segmentBytes: 900, maxMemoryRows: 4 });
			const ledger = new Map<string, string>();
			const stored = new Map<string, string>();
			const written = new Map<string, string>();
			const known = new Set<string>();
			const open = new Set<string>();
			let next = 0;
			const deliver = async (max: number) => {
				const rows = await journal.unsent(max);
				for (const { requestId, outcome } of rows) if (!ledger.has(requestId)) ledger.set(requestId, outcome);
				journal.delivered(rows.length);
				return rows.length;
			};
			for (const what of steps) {
				if (what === "start") {
					const id = `r${next++}`;
					if (journal.start(started(id))) {
						open.add(id);
						known.add(id);
						written.set(id, "unknown");
					}
				} else if (what === "end") {
					const [id] = open;
					if (id === undefined) continue;
					open.delete(id);
					journal.end(ended(id));
					written.set(id, "completed");
				} else if (what === "flush") {
					if ((await journal.flushed()) === "stored") for (const [id, outcome] of written) stored.set(id, outcome);
				} else if (what === "deliver") await deliver(3);
				else if (what === "fail") disk.room = 50;
				else if (what === "heal") disk.room = Number.POSITIVE_INFINITY;
				else if (what === "timer") timers.advance(2500);
				else {
					await new Promise(setImmediate);
					journal = reopen({ segmentBytes: 900, maxMemoryRows: 4 });
					open.clear();
					written.clear();
				}
			}
			await new Promise(setImmediate);
			journal = reopen({ segmentBytes: 900, maxMemoryRows: 4 });
			while ((await deliver(3)) > 0);
			for (const [id, outcome] of stored) {
				const kept = ledger.get(id);
				expect(kept, `${id} was stored as ${outcome}`).toBeDefined();
				if (outcome === "completed") expect(kept).toBe("completed");
			}
			for (const id of ledger.keys()) expect(known.has(id)).toBe(true);
		}),
		{ numRuns: 60 },
	);
});
