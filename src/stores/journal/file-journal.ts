/**
 * The journal in files (design 02 §4): see ports/journal for the promise it keeps.
 *
 * Records gather as text; one write per turn of the event loop (per millisecond, when many requests are under way) takes all of it,
 * for everyone who waits. States: `ok`; `degraded` while the disk refuses (text stays in memory, retried with back-off, rows still go to the
 * ledger); `full` at a bound, when `start` refuses. A failed fdatasync means that its data may be lost while reading well
 * (the kernel marks the pages clean), so everything since the last good one is written again, to a new file.
 *
 * A start whose end was delivered and deleted may be replayed as `unknown`: the ledger then has that request id already.
 */
import type { Timers } from "../../ports/clock.ts";
import type { Journal, JournalFlush, JournalSource, JournalStatus } from "../../ports/journal.ts";
import type { LedgerRow } from "../../ports/ledger-store.ts";
import type { JournalFiles } from "./journal-files.ts";
import { encodeRecord, SEGMENT_HEADER } from "./journal-record.ts";
import { type Damage, readSegment } from "./replay.ts";
import { isSpent, newSegment, type Segment, segmentSequence } from "./segment.ts";
import { UnsentRows } from "./unsent-rows.ts";

export interface JournalSettings {
	/** `interval`: fdatasync every `syncIntervalMs`; `always`: before `flushed` resolves. */
	readonly sync: "interval" | "always";
	readonly syncIntervalMs: number;
	/** On disk, all segments. */
	readonly maxBytes: number;
	/** A segment is closed at this size (16 MB). */
	readonly segmentBytes?: number;
	/** Under load a write waits so long for company, since it costs as much as half of all else that a request costs (1); 0: never. */
	readonly gatherMs?: number;
	/** Of text that the disk refuses (16 MB). */
	readonly maxMemoryBytes?: number;
	/** Rows kept in memory for the ledger; more stay on disk only (20,000). */
	readonly maxMemoryRows?: number;
}

export interface JournalWarning {
	readonly kind: Damage["kind"] | "disk_error" | "recovered";
	/** One sentence. */
	readonly message: string;
}

export interface JournalDependencies {
	readonly files: JournalFiles;
	readonly timers: Timers;
	readonly onWarning: (warning: JournalWarning) => void;
}

/** Emptied at its end: tables that a `Map` of so many deletions leaves behind hold on to what was in them. */
interface OpenRequest {
	/** Its start record … */
	row: LedgerRow | undefined;
	/** … and where that lies. */
	segment: Segment | undefined;
}

/** Everyone who waits for one write. */
class Waiter {
	readonly calls: ((flush: JournalFlush) => void)[] = [];
	#promise: Promise<JournalFlush> | undefined;

	get promise(): Promise<JournalFlush> {
		this.#promise ??= new Promise((resolve) => {
			this.calls.push(resolve);
		});
		return this.#promise;
	}

	resolve(flush: JournalFlush): void {
		for (const call of this.calls) call(flush);
	}
}

/** Text written since the last good fdatasync of a file. */
interface Unsynced {
	readonly segment: Segment;
	readonly file: number;
	texts: Buffer[];
}

/** Writes within `gatherMs` before those that follow wait for its end: a request that is alone never waits. */
const WRITES_PER_GATHERING = 2;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2000;
/** Closed segments that are kept for their open starts before those are copied forward. */
const CARRY_AFTER_SEGMENTS = 4;

export class FileJournal implements Journal, JournalSource {
	readonly #settings: Required<JournalSettings>;
	readonly #files: JournalFiles;
	readonly #timers: Timers;
	readonly #onWarning: (warning: JournalWarning) => void;
	readonly #unsent = new UnsentRows();
	/** Started, not ended. */
	readonly #open = new Map<string, OpenRequest>();
	/** Oldest first; the last one is current. */
	#segments: Segment[] = [];
	#text = "";
	#waiter: Waiter | undefined;
	#flushScheduled = false;
	#isGathering = false;
	#writesOfGathering = 0;
	#trouble: string | undefined;
	#retryMs = FIRST_RETRY_MS;
	#cancelRetry: (() => void) | undefined;
	#unsynced: Unsynced[] = [];
	#syncing: Promise<void> | undefined;
	#cancelSync: (() => void) | undefined;
	#folderChanged = false;
	/** Waiters of written groups that `always` holds until their data is on disk. */
	#unsyncedWaiters: Waiter[] = [];
	/** Segments whose open starts were copied into the text that is not written yet … */
	#carried: Segment[] = [];
	/** … and those whose copies are written and not yet known to be on disk. */
	#carriedUnsynced: Segment[] = [];
	#diskBytes = 0;
	/** Text in memory is thinned out when it grows past this. */
	#thinAtBytes = 0;
	#closed = false;

	constructor(settings: JournalSettings, { files, timers, onWarning }: JournalDependencies) {
		this.#settings = {
			segmentBytes: 16_000_000,
			maxMemoryBytes: 16_000_000,
			maxMemoryRows: 20_000,
			gatherMs: 1,
			...settings,
		};
		this.#files = files;
		this.#timers = timers;
		this.#onWarning = onWarning;
		this.#replay();
	}

	start(row: LedgerRow): boolean {
		if (this.#isFull()) return false;
		this.#opened(row, this.#current());
		this.#append(encodeRecord("s", row));
		return true;
	}

	end(row: LedgerRow): void {
		this.#ended(row.requestId);
		this.#append(encodeRecord("e", row));
		// what the disk refuses must stay in memory; what is safe on disk need not
		if (this.#unsent.size >= this.#settings.maxMemoryRows && this.#trouble === undefined) this.#current().spilled++;
		else this.#unsent.push(row, this.#current());
	}

	afterFlush(call: (flush: JournalFlush) => void): void {
		if (this.#text === "" && this.#waiter === undefined) {
			void this.flushed().then(call);
			return;
		}
		this.#waiter ??= new Waiter();
		this.#waiter.calls.push(call);
		this.#schedule();
	}

	flushed(): Promise<JournalFlush> {
		if (this.#text === "" && this.#waiter === undefined) {
			const now = () => (this.#trouble === undefined ? "stored" : "memory");
			const syncing = this.#settings.sync === "always" ? this.#syncing : undefined;
			return syncing === undefined ? Promise.resolve(now()) : syncing.then(now);
		}
		this.#waiter ??= new Waiter();
		this.#schedule();
		return this.#waiter.promise;
	}

	status(): JournalStatus {
		const full = this.#isFull();
		const reason =
			this.#trouble ??
			(full ? `the journal holds ${this.#diskBytes} bytes, its limit is ${this.#settings.maxBytes}` : undefined);
		return {
			state: full ? "full" : this.#trouble === undefined ? "ok" : "degraded",
			...(reason === undefined ? {} : { reason }),
			bytes: this.#diskBytes,
			memoryBytes: this.#text.length,
			unsentRecords: this.#unsent.size + this.#segments.reduce((sum, { spilled }) => sum + spilled, 0),
			openRecords: this.#open.size,
		};
	}

	async unsent(max: number): Promise<readonly LedgerRow[]> {
		if (this.#unsent.size === 0) this.#readSpilled();
		return this.#unsent.peek(max);
	}

	delivered(count: number): void {
		this.#unsent.drop(count);
		if (this.#trouble !== undefined && this.#unsent.size === 0 && this.#isFull()) this.#thin();
		this.#reclaim();
	}

	async close(): Promise<void> {
		this.#closed = true;
		this.#cancelRetry?.();
		this.#cancelSync?.();
		this.#write();
		await this.#sync();
		// a sync that failed, or one that ran already, leaves something: once more
		this.#write();
		if (this.#unsynced.length > 0) await this.#sync();
		for (const segment of this.#segments) {
			if (segment.file !== undefined) this.#files.close(segment.file);
			segment.file = undefined;
		}
		this.#reclaim();
		const last = this.#current();
		if (isSpent(last) && this.#text === "" && !this.#segments.some(({ suspect }) => suspect)) this.#forgetContent(last);
	}

	// --- open requests

	#opened(row: LedgerRow, segment: Segment): void {
		segment.open++;
		this.#open.set(row.requestId, { row, segment });
	}

	#ended(requestId: string): void {
		const request = this.#open.get(requestId);
		if (request?.segment === undefined) return;
		request.segment.open--;
		request.row = undefined;
		request.segment = undefined;
		this.#open.delete(requestId);
	}

	// --- writing

	#append(line: string): void {
		this.#text += line;
		this.#schedule();
	}

	#schedule(): void {
		if (this.#flushScheduled || (this.#isGathering && this.#writesOfGathering >= WRITES_PER_GATHERING)) return;
		this.#flushScheduled = true;
		setImmediate(() => this.#flush());
	}

	#flush(): void {
		this.#flushScheduled = false;
		if (this.#text === "" && this.#waiter === undefined) return;
		if (this.#trouble === undefined) this.#write();
		else this.#holdInMemory();
		this.#writesOfGathering++;
		if (this.#isGathering || this.#settings.gatherMs === 0) return;
		this.#isGathering = true;
		this.#timers.after(this.#settings.gatherMs, () => {
			this.#isGathering = false;
			this.#writesOfGathering = 0;
			this.#flush();
		});
	}

	/** All text in one write; on refusal it stays and is tried again later. */
	#write(): void {
		if (this.#text !== "") {
			const error = this.#tryWrite(Buffer.from(this.#text));
			if (error !== undefined) {
				this.#fail(error);
				return;
			}
			this.#text = "";
		}
		this.#recover();
		this.#carriedUnsynced.push(...this.#carried.splice(0));
		const waiter = this.#waiter;
		this.#waiter = undefined;
		if (waiter !== undefined && this.#settings.sync === "always" && this.#unsynced.length > 0) {
			this.#unsyncedWaiters.push(waiter);
			void this.#sync();
		} else {
			waiter?.resolve("stored");
			if (this.#unsynced.length > 0) this.#scheduleSync();
		}
		if (this.#current().bytes >= this.#settings.segmentBytes) this.#rotate();
	}

	#tryWrite(data: Buffer): Error | undefined {
		try {
			const segment = this.#current();
			if (segment.file === undefined) {
				segment.file = this.#files.create(segment.name);
				this.#folderChanged = true;
			}
			const text = segment.bytes === 0 ? Buffer.concat([Buffer.from(SEGMENT_HEADER), data]) : data;
			let offset = 0;
			// positions, not appending: what a refused write left behind is overwritten by the next attempt
			while (offset < text.length) {
				const wrote = this.#files.write(segment.file, text, offset, segment.bytes + offset);
				if (wrote === 0) throw new Error("the disk took no bytes");
				offset += wrote;
			}
			segment.bytes += text.length;
			this.#diskBytes += text.length;
			const last = this.#unsynced.at(-1);
			if (last?.segment === segment) last.texts.push(data);
			else this.#unsynced.push({ segment, file: segment.file, texts: [data] });
			return undefined;
		} catch (error) {
			return error as Error;
		}
	}

	#fail(error: Error): void {
		if (this.#trouble === undefined) {
			this.#trouble = `the journal cannot be written (${error.message}): records wait in memory`;
			this.#onWarning({ kind: "disk_error", message: this.#trouble });
		}
		this.#holdInMemory();
		if (this.#closed || this.#cancelRetry !== undefined) return;
		this.#cancelRetry = this.#timers.after(this.#retryMs, () => {
			this.#cancelRetry = undefined;
			this.#write();
		});
		this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
	}

	#holdInMemory(): void {
		this.#waiter?.resolve("memory");
		this.#waiter = undefined;
		if (this.#text.length < Math.max(this.#settings.maxMemoryBytes, this.#thinAtBytes)) return;
		this.#thin();
	}

	#thin(): void {
		// what reached the ledger meanwhile need not be written any more
		const lines: string[] = [];
		for (const { row } of this.#open.values()) lines.push(encodeRecord("s", row!));
		for (const row of this.#unsent.peek(this.#unsent.size)) lines.push(encodeRecord("e", row));
		const needed = lines.join("");
		if (needed.length < this.#text.length) this.#text = needed;
		this.#thinAtBytes = this.#text.length * 1.5;
	}

	#recover(): void {
		if (this.#trouble === undefined) return;
		this.#trouble = undefined;
		this.#retryMs = FIRST_RETRY_MS;
		this.#cancelRetry?.();
		this.#cancelRetry = undefined;
		this.#onWarning({ kind: "recovered", message: "the journal can be written again: nothing was lost" });
	}

	// --- syncing

	#scheduleSync(): void {
		if (this.#cancelSync !== undefined || this.#closed) return;
		this.#cancelSync = this.#timers.after(this.#settings.syncIntervalMs, () => {
			this.#cancelSync = undefined;
			void this.#sync();
		});
	}

	/** One at a time; what is written meanwhile is taken by the next round. */
	#sync(): Promise<void> {
		this.#syncing ??= this.#syncAll().finally(() => {
			this.#syncing = undefined;
		});
		return this.#syncing;
	}

	async #syncAll(): Promise<void> {
		while (this.#unsynced.length > 0) {
			const batch = this.#unsynced;
			const waiters = this.#unsyncedWaiters;
			const carried = this.#carriedUnsynced;
			this.#carriedUnsynced = [];
			this.#unsynced = [];
			this.#unsyncedWaiters = [];
			let flush: JournalFlush = "stored";
			for (const part of batch) {
				try {
					await this.#files.sync(part.file);
					if (this.#folderChanged) {
						this.#folderChanged = false;
						await this.#files.syncFolder();
					}
				} catch (error) {
					flush = "memory";
					this.#rewrite(part, error as Error);
				}
				this.#closeRetired(part);
			}
			if (flush === "stored") for (const segment of carried) this.#remove(segment);
			else this.#carriedUnsynced.push(...carried);
			for (const waiter of waiters) waiter.resolve(flush);
			if (flush === "memory" || this.#settings.sync === "interval") break;
		}
		if (this.#unsynced.length > 0) this.#scheduleSync();
	}

	/** Its data may be lost: write it again, in front of what waits, to another file. */
	#rewrite(part: Unsynced, error: Error): void {
		part.segment.suspect = true;
		this.#text = Buffer.concat(part.texts).toString() + this.#text;
		if (part.segment === this.#current()) this.#rotate();
		// rows that wait on disk only are read back from where they are safe
		this.#current().spilled += part.segment.spilled;
		this.#fail(error);
	}

	/** A file that is no longer current is closed when the last of its data was synced. */
	#closeRetired({ segment, file }: Unsynced): void {
		if (segment === this.#segments.at(-1) || this.#unsynced.some((other) => other.segment === segment)) return;
		if (segment.file === undefined) return;
		segment.file = undefined;
		this.#files.close(file);
		this.#reclaim();
	}

	// --- segments

	#current(): Segment {
		return this.#segments.at(-1)!;
	}

	#rotate(): void {
		const segment = this.#current();
		// the sync that follows closes its file
		if (segment.file !== undefined && !this.#unsynced.some((part) => part.segment === segment)) {
			this.#unsynced.push({ segment, file: segment.file, texts: [] });
		}
		this.#segments.push(newSegment(this.#current().sequence + 1));
		this.#scheduleSync();
	}

	#isFull(): boolean {
		if (this.#trouble !== undefined) return this.#text.length >= this.#settings.maxMemoryBytes;
		return this.#diskBytes >= this.#settings.maxBytes;
	}

	#reclaim(): void {
		const firstSuspect = this.#segments.find(({ suspect }) => suspect);
		for (const segment of this.#segments.slice(0, -1)) {
			if (firstSuspect !== undefined && segment.sequence > firstSuspect.sequence) break;
			if (isSpent(segment) && !this.#isCarried(segment)) this.#remove(segment);
		}
		if (this.#segments.length > CARRY_AFTER_SEGMENTS && this.#trouble === undefined && !this.#closed)
			this.#carryOldest();
	}

	/** A long request must not keep a whole segment on disk: its start record moves to the current one. */
	#carryOldest(): void {
		const oldest = this.#segments[0]!;
		if (oldest.file !== undefined || oldest.unsent > 0 || oldest.spilled > 0 || this.#isCarried(oldest)) return;
		const current = this.#current();
		for (const request of this.#open.values()) {
			if (request.segment !== oldest) continue;
			oldest.open--;
			current.open++;
			request.segment = current;
			this.#append(encodeRecord("s", request.row!));
		}
		this.#carried.push(oldest);
	}

	#isCarried(segment: Segment): boolean {
		return this.#carried.includes(segment) || this.#carriedUnsynced.includes(segment);
	}

	#remove(segment: Segment): void {
		this.#forgetContent(segment);
		this.#segments = this.#segments.filter((other) => other !== segment);
	}

	#forgetContent(segment: Segment): void {
		this.#diskBytes -= segment.bytes;
		segment.bytes = 0;
		try {
			if (segment.damaged) this.#files.rename(segment.name, `${segment.name}.damaged`);
			else this.#files.remove(segment.name);
			this.#folderChanged = true;
		} catch (error) {
			// it will be replayed at the next start, which changes nothing
			this.#onWarning({ kind: "disk_error", message: `cannot remove ${segment.name}: ${(error as Error).message}` });
		}
	}

	// --- reading back

	#replay(): void {
		const names = this.#files.list().filter((name) => segmentSequence(name) !== undefined);
		for (const name of names.sort()) {
			const segment = newSegment(segmentSequence(name)!);
			this.#segments.push(segment);
			this.#load(segment, (row) => this.#ended(row.requestId));
		}
		// in flight when the last process died: their start records become the rows, and keep their segments until delivered
		for (const [id, { row, segment }] of this.#open) {
			this.#unsent.push(row!, segment!);
			this.#ended(id);
		}
		this.#segments.push(newSegment((this.#segments.at(-1)?.sequence ?? 0) + 1));
		this.#reclaim();
	}

	#load(segment: Segment, onEnd: (row: LedgerRow) => void): void {
		const data = this.#files.read(segment.name);
		const { records, damages } = readSegment(data);
		segment.bytes = data.length;
		this.#diskBytes += data.length;
		for (const { kind, offset, bytes } of damages) {
			segment.damaged ||= kind !== "torn_tail";
			this.#onWarning({
				kind,
				message: `${segment.name}: ${bytes} bytes at ${offset} skipped (${kind.replaceAll("_", " ")})`,
			});
		}
		for (const { kind, row } of records) {
			if (kind === "s") {
				this.#ended(row.requestId);
				this.#opened(row, segment);
				continue;
			}
			onEnd(row);
			if (this.#unsent.size >= this.#settings.maxMemoryRows) segment.spilled++;
			else this.#unsent.push(row, segment);
		}
	}

	/** Called when nothing waits in memory. Rows that were delivered from memory come again: the ledger has them already. */
	#readSpilled(): void {
		const segment = this.#segments.find(({ spilled }) => spilled > 0);
		if (segment === undefined) return;
		if (segment === this.#current()) {
			if (this.#text !== "") this.#write();
			if (this.#trouble !== undefined) return;
			if (segment === this.#current()) this.#rotate();
		}
		segment.spilled = 0;
		for (const { kind, row } of readSegment(this.#files.read(segment.name)).records) {
			if (kind === "e") this.#unsent.push(row, segment);
		}
	}
}
