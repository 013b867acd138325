/**
 * One file of the journal. Files are only ever appended to by the process that made them, and deleted when nothing in them is
 * needed: every ended request is in the ledger and no request is open that has its only start record here.
 */
export interface Segment {
	readonly sequence: number;
	readonly name: string;
	/** Undefined once closed; segments of an earlier process never have one. */
	file: number | undefined;
	bytes: number;
	/** Ended requests recorded here that wait in memory for the ledger. */
	unsent: number;
	/** Ended requests recorded here that wait on disk only: memory was full. They are read back later. */
	spilled: number;
	/** Requests not ended whose start record is here. */
	open: number;
	/** fdatasync failed: what it holds may be gone although it reads well, so younger copies of it must stay. */
	suspect: boolean;
	/** Holds damage: kept beside the journal, renamed, for a person to look at. */
	damaged: boolean;
}

const NAME = /^segment-(\d{12})\.log$/;

export function newSegment(sequence: number): Segment {
	return {
		sequence,
		name: `segment-${String(sequence).padStart(12, "0")}.log`,
		file: undefined,
		bytes: 0,
		unsent: 0,
		spilled: 0,
		open: 0,
		suspect: false,
		damaged: false,
	};
}

export function segmentSequence(name: string): number | undefined {
	const match = NAME.exec(name);
	return match === null ? undefined : Number(match[1]);
}

export function isSpent(segment: Segment): boolean {
	return segment.file === undefined && segment.unsent === 0 && segment.spilled === 0 && segment.open === 0;
}
