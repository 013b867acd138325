/**
 * The local, append-only record of what must reach the ledger. Per request: `start` before it goes upstream, `end` before the
 * last byte goes to the client, each followed by `flushed`, which resolves for everything waiting with one write.
 *
 * Invariant: what `flushed` called `stored` survives `kill -9`, and a power failure when `journal_sync = always`.
 */
import type { LedgerRow } from "./ledger-store.ts";

/** `stored`: with the operating system (or on disk). `memory`: the disk refuses, this process holds it and keeps trying. */
export type JournalFlush = "stored" | "memory";

export interface JournalStatus {
	/**
	 * `ok`; `degraded`: the disk refuses writes, records wait in memory and still go to the ledger from there;
	 * `full`: a bound is reached, `start` refuses until rows reach the ledger or the disk recovers.
	 */
	readonly state: "ok" | "degraded" | "full";
	/** Why it is not `ok`: one sentence. */
	readonly reason?: string;
	/** On disk. */
	readonly bytes: number;
	/** Recorded, not yet written to disk. */
	readonly memoryBytes: number;
	/** Ended requests that the ledger does not have yet. */
	readonly unsentRecords: number;
	/** Started and not ended. */
	readonly openRecords: number;
}

export interface Journal {
	/**
	 * Records that the request goes upstream; `row` carries the reservation's estimate and the outcome `unknown`, and becomes the
	 * ledger's row if this process dies first. False: refused (state `full`), nothing was recorded, do not send the request.
	 */
	start(row: LedgerRow): boolean;
	/** Records how it ended. Never refused. */
	end(row: LedgerRow): void;
	/** Calls back, later, when everything recorded so far is written: on a broken disk, too. For the way of a request, which a promise would burden. */
	afterFlush(call: (flush: JournalFlush) => void): void;
	/** Resolves when everything recorded so far is written. Never rejects, never hangs on a broken disk. */
	flushed(): Promise<JournalFlush>;
	status(): JournalStatus;
	/** Writes what waits and closes the files. Started and not ended requests will be `unknown` after the next open. */
	close(): Promise<void>;
}

/** The other end: where rows come from that the ledger does not have yet. */
export interface JournalSource {
	/** Up to `max` rows, oldest first; the same ones again until `delivered` was called. Empty when nothing waits. */
	unsent(max: number): Promise<readonly LedgerRow[]>;
	/** The ledger has the first `count` rows of the last `unsent`. */
	delivered(count: number): void;
}
