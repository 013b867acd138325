/**
 * Moves rows from the journal to the ledger in batches: after `intervalMs`, or at once while full batches wait. While the
 * ledger does not answer it waits longer each time, and catches up afterwards; the journal keeps the rows meanwhile.
 */
import type { Timers } from "../../ports/clock.ts";
import type { JournalSource } from "../../ports/journal.ts";
import type { LedgerRow, LedgerStore } from "../../ports/ledger-store.ts";
import { StoreError } from "../../ports/store-error.ts";

export interface LedgerWriterSettings {
	/** Rows of one transaction (500). */
	readonly batchRows?: number;
	readonly intervalMs?: number;
	readonly firstRetryMs?: number;
	readonly longestRetryMs?: number;
}

export interface LedgerWriterCounters {
	readonly rowsWritten: number;
	/** Offered again and already there. */
	readonly rowsKnown: number;
	readonly rowsRejected: number;
	readonly batches: number;
	readonly failures: number;
	/** Of the last failure, until a batch succeeds. */
	readonly lastError: string | undefined;
}

export interface LedgerWriterDependencies {
	readonly source: JournalSource;
	readonly ledger: LedgerStore;
	readonly timers: Timers;
	/** A row that the ledger refuses for what it is (a bug): it is skipped so that the others get through. */
	readonly onRejected: (row: LedgerRow, error: Error) => void;
	readonly onFailure: (error: Error) => void;
}

export class LedgerWriter {
	readonly #settings: Required<LedgerWriterSettings>;
	readonly #dependencies: LedgerWriterDependencies;
	readonly #counters = {
		rowsWritten: 0,
		rowsKnown: 0,
		rowsRejected: 0,
		batches: 0,
		failures: 0,
		lastError: undefined as string | undefined,
	};
	#retryMs: number;
	#cancelTimer: (() => void) | undefined;
	#running: Promise<boolean> = Promise.resolve(true);
	#draining: Promise<boolean> | undefined;
	#stopped = false;

	constructor(dependencies: LedgerWriterDependencies, settings: LedgerWriterSettings = {}) {
		this.#settings = { batchRows: 500, intervalMs: 200, firstRetryMs: 200, longestRetryMs: 10_000, ...settings };
		this.#dependencies = dependencies;
		this.#retryMs = this.#settings.firstRetryMs;
	}

	start(): void {
		this.#arm(this.#settings.intervalMs);
	}

	counters(): LedgerWriterCounters {
		return { ...this.#counters };
	}

	/** Moves everything that waits; false when the ledger did not take it. Never rejects. */
	drain(): Promise<boolean> {
		this.#draining ??= this.#inTurn(0).finally(() => {
			this.#draining = undefined;
		});
		return this.#draining;
	}

	/** A last attempt, then no more timers. */
	async stop(): Promise<boolean> {
		this.#stopped = true;
		this.#cancelTimer?.();
		await this.#draining;
		return this.drain();
	}

	#arm(delayMs: number): void {
		if (this.#stopped) return;
		this.#cancelTimer = this.#dependencies.timers.after(delayMs, () => void this.#tick());
	}

	async #tick(): Promise<void> {
		// Under load the last, smaller batch would be followed by ever smaller ones, each a transaction: what comes meanwhile waits.
		const taken = await this.#inTurn(this.#settings.batchRows);
		if (taken) {
			this.#retryMs = this.#settings.firstRetryMs;
			this.#arm(this.#settings.intervalMs);
		} else {
			this.#arm(this.#retryMs);
			this.#retryMs = Math.min(this.#retryMs * 2, this.#settings.longestRetryMs);
		}
	}

	#inTurn(fullBatch: number): Promise<boolean> {
		this.#running = this.#running.then(() => this.#move(fullBatch));
		return this.#running;
	}

	/** Until nothing waits, or less than `fullBatch` did. */
	async #move(fullBatch: number): Promise<boolean> {
		const { source, onFailure } = this.#dependencies;
		try {
			for (;;) {
				const rows = await source.unsent(this.#settings.batchRows);
				if (rows.length === 0) return true;
				await this.#write(rows);
				source.delivered(rows.length);
				this.#counters.batches++;
				this.#counters.lastError = undefined;
				if (rows.length < fullBatch) return true;
			}
		} catch (error) {
			this.#counters.failures++;
			this.#counters.lastError = (error as Error).message;
			onFailure(error as Error);
			return false;
		}
	}

	async #write(rows: readonly LedgerRow[]): Promise<void> {
		try {
			await this.#append(rows);
		} catch (error) {
			if (error instanceof StoreError) throw error;
			// one row among them is not what the ledger takes: find it, let the others through
			for (const row of rows) await this.#writeAlone(row);
		}
	}

	async #writeAlone(row: LedgerRow): Promise<void> {
		try {
			await this.#append([row]);
		} catch (error) {
			if (error instanceof StoreError) throw error;
			this.#counters.rowsRejected++;
			this.#dependencies.onRejected(row, error as Error);
		}
	}

	async #append(rows: readonly LedgerRow[]): Promise<void> {
		const added = await this.#dependencies.ledger.append(rows);
		this.#counters.rowsWritten += added;
		this.#counters.rowsKnown += rows.length - added;
	}
}
