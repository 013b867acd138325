/**
 * One journal record as one line: CRC-32 of the rest as 8 hex digits, a space, a JSON array (kind first, then the fields of
 * `ROW_FIELDS`, null for absent), a newline. JSON holds no raw newline, so a damaged record costs itself alone.
 *
 * Measured (Node 24): encoding and checksum of a 270 byte record take 1.5 to 2 µs.
 */
import { crc32 } from "node:zlib";
import type { LedgerRow } from "../../ports/ledger-store.ts";

export type RecordKind = "s" | "e";

export interface JournalRecord {
	readonly kind: RecordKind;
	readonly row: LedgerRow;
}

/** First line of every segment. Fields are only ever added at the end of `ROW_FIELDS`. */
export const SEGMENT_HEADER = "tokligence-journal 1\n";

/** The order on disk. */
export const ROW_FIELDS = [
	"requestId",
	"clientRequestId",
	"accountId",
	"organisation",
	"team",
	"tokenId",
	"tier",
	"environment",
	"workload",
	"routedBy",
	"model",
	"provider",
	"operation",
	"promptTokens",
	"completionTokens",
	"cachedTokens",
	"usageSource",
	"queue",
	"waitMs",
	"timeToFirstTokenMs",
	"durationMs",
	"outcome",
	"errorCode",
	"costNanoDollars",
	"startedAt",
	"settledAt",
] as const satisfies readonly (keyof LedgerRow)[];

/** Compile-time check that no field of a row is forgotten. */
type Forgotten = Exclude<keyof LedgerRow, (typeof ROW_FIELDS)[number]>;
const NONE_FORGOTTEN: [Forgotten] extends [never] ? true : Forgotten = true;
void NONE_FORGOTTEN;

export function encodeRecord(kind: RecordKind, row: LedgerRow): string {
	// spelt out, in the order of ROW_FIELDS: a loop over names costs twice as much
	const json = JSON.stringify([
		kind,
		row.requestId,
		row.clientRequestId,
		row.accountId,
		row.organisation,
		row.team,
		row.tokenId,
		row.tier,
		row.environment,
		row.workload,
		row.routedBy,
		row.model,
		row.provider,
		row.operation,
		row.promptTokens,
		row.completionTokens,
		row.cachedTokens,
		row.usageSource,
		row.queue,
		row.waitMs,
		row.timeToFirstTokenMs,
		row.durationMs,
		row.outcome,
		row.errorCode,
		row.costNanoDollars,
		row.startedAt,
		row.settledAt,
	]);
	return `${checksum(json)} ${json}\n`;
}

/** The record of one line (without its newline); undefined when it is damaged. */
export function decodeRecord(line: string): JournalRecord | undefined {
	const json = line.slice(9);
	if (line[8] !== " " || line.slice(0, 8) !== checksum(json)) return undefined;
	const values = JSON.parse(json) as unknown[];
	const row: Record<string, unknown> = {};
	for (let i = 0; i < ROW_FIELDS.length; i++) {
		const value = values[i + 1];
		if (value !== null && value !== undefined) row[ROW_FIELDS[i]!] = value;
	}
	return { kind: values[0] as RecordKind, row: row as unknown as LedgerRow };
}

function checksum(json: string): string {
	return crc32(json).toString(16).padStart(8, "0");
}
