/** Reads a segment back. A line that does not check is reported and skipped; the last, unfinished line is a torn tail. */
import { decodeRecord, type JournalRecord, SEGMENT_HEADER } from "./journal-record.ts";

export interface Damage {
	readonly kind: "torn_tail" | "corrupt_record" | "unknown_format";
	/** Of the line's first byte. */
	readonly offset: number;
	readonly bytes: number;
}

export interface SegmentContent {
	readonly records: readonly JournalRecord[];
	readonly damages: readonly Damage[];
}

const NEWLINE = 10;

export function readSegment(data: Buffer): SegmentContent {
	const records: JournalRecord[] = [];
	const damages: Damage[] = [];
	const header = Buffer.from(SEGMENT_HEADER);
	if (!data.subarray(0, header.length).equals(header)) {
		// a process that died while it wrote the first bytes leaves a part of the header and nothing else
		const torn = data.length < header.length && header.subarray(0, data.length).equals(data);
		if (data.length > 0) damages.push({ kind: torn ? "torn_tail" : "unknown_format", offset: 0, bytes: data.length });
		return { records, damages };
	}
	let offset = header.length;
	while (offset < data.length) {
		const newline = data.indexOf(NEWLINE, offset);
		const end = newline === -1 ? data.length : newline;
		const record = newline === -1 ? undefined : decodeRecord(data.toString("utf8", offset, end));
		if (record !== undefined) records.push(record);
		else {
			const last = newline === -1 || newline === data.length - 1;
			damages.push({ kind: last ? "torn_tail" : "corrupt_record", offset, bytes: end - offset });
		}
		offset = end + 1;
	}
	return { records, damages };
}
