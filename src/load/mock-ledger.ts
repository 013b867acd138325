/**
 * What the mock LLM produced, per request: the ground truth that metering is compared with.
 *
 * `completion_tokens` counts tokens the engine made, sent or not; `prompt_tokens` counts once the prompt was read (first token) and is
 * 0 for a request that left before. The last `keep` requests are listed; the totals cover all.
 */
import type { EpochMillis, Tokens } from "../core/model/units.ts";

export type LedgerStatus = "running" | "finished" | "aborted" | "failed";

export interface LedgerEntry {
	/** The `x-request-id` received, else one of the mock's own. Retries give several entries the same. */
	readonly request_id: string;
	readonly path: string;
	readonly model: string;
	readonly stream: boolean;
	status: LedgerStatus;
	prompt_tokens: Tokens;
	completion_tokens: Tokens;
	/** Of these, handed to the socket. */
	sent_tokens: Tokens;
	/** When the engine got it, and when the last step of its answer ended; of the wall clock. Absent before. */
	submitted_at?: EpochMillis;
	finished_at?: EpochMillis;
}

export interface LedgerTotals {
	requests: number;
	running: number;
	finished: number;
	/** The client left. */
	aborted: number;
	/** Refused, or broken by a fault. */
	failed: number;
	prompt_tokens: Tokens;
	completion_tokens: Tokens;
	sent_tokens: Tokens;
}

export interface LedgerReport {
	readonly totals: LedgerTotals;
	readonly requests: readonly LedgerEntry[];
}

export class MockLedger {
	readonly #keep: number;
	#entries: LedgerEntry[] = [];
	readonly #settled: LedgerTotals = emptyTotals();
	readonly #running = new Set<LedgerEntry>();

	constructor(keep = 200_000) {
		this.#keep = keep;
	}

	open(requestId: string, path: string, model: string, stream: boolean): LedgerEntry {
		const entry: LedgerEntry = {
			request_id: requestId,
			path,
			model,
			stream,
			status: "running",
			prompt_tokens: 0,
			completion_tokens: 0,
			sent_tokens: 0,
		};
		this.#entries.push(entry);
		if (this.#entries.length > 2 * this.#keep) this.#entries = this.#entries.slice(-this.#keep);
		this.#running.add(entry);
		return entry;
	}

	/** Once per entry; later calls change nothing. */
	settle(entry: LedgerEntry, status: Exclude<LedgerStatus, "running">): void {
		if (!this.#running.delete(entry)) return;
		entry.status = status;
		this.#settled[status]++;
		addTokens(this.#settled, entry);
	}

	report(requestId?: string): LedgerReport {
		const totals = { ...this.#settled, running: this.#running.size };
		for (const entry of this.#running) addTokens(totals, entry);
		totals.requests = totals.running + totals.finished + totals.aborted + totals.failed;
		const listed = this.#entries.slice(-this.#keep);
		return {
			totals,
			requests: requestId === undefined ? listed : listed.filter((entry) => entry.request_id === requestId),
		};
	}
}

function emptyTotals(): LedgerTotals {
	return {
		requests: 0,
		running: 0,
		finished: 0,
		aborted: 0,
		failed: 0,
		prompt_tokens: 0,
		completion_tokens: 0,
		sent_tokens: 0,
	};
}

function addTokens(totals: LedgerTotals, entry: LedgerEntry): void {
	totals.prompt_tokens += entry.prompt_tokens;
	totals.completion_tokens += entry.completion_tokens;
	totals.sent_tokens += entry.sent_tokens;
}
