/** For tests of the journal: a disk that fails on demand, timers that run when told, rows. */
import type { Timers } from "../../src/ports/clock.ts";
import type { JournalFiles } from "../../src/stores/journal/journal-files.ts";

export interface FaultyDisk extends JournalFiles {
	/** Bytes that writes may still take before ENOSPC. */
	room: number;
	/** Thrown by the next writes while set. */
	writeError: string | undefined;
	/** Thrown by the next syncs while set. */
	syncError: string | undefined;
	writes: number;
	syncs: number;
}

export function faultyDisk(files: JournalFiles): FaultyDisk {
	const fault = (code: string) => Object.assign(new Error(`${code}: made by the test`), { code });
	const disk: FaultyDisk = {
		...files,
		room: Number.POSITIVE_INFINITY,
		writeError: undefined,
		syncError: undefined,
		writes: 0,
		syncs: 0,
		write(file, data, offset, position) {
			disk.writes++;
			if (disk.writeError !== undefined) throw fault(disk.writeError);
			if (disk.room <= 0) throw fault("ENOSPC");
			const take = Math.min(disk.room, data.length - offset);
			disk.room -= take;
			return files.write(file, data.subarray(0, offset + take), offset, position);
		},
		async sync(file) {
			disk.syncs++;
			if (disk.syncError !== undefined) throw fault(disk.syncError);
			await files.sync(file);
		},
	};
	return disk;
}

export interface ManualTimers extends Timers {
	/** Runs every callback due within `ms`, in order, those they add included. */
	advance(ms: number): void;
	readonly waiting: number;
}

export function manualTimers(): ManualTimers {
	let now = 0;
	let due: { at: number; callback: () => void }[] = [];
	return {
		after(delayMs, callback) {
			const entry = { at: now + delayMs, callback };
			due.push(entry);
			return () => {
				due = due.filter((other) => other !== entry);
			};
		},
		advance(ms) {
			const until = now + ms;
			for (;;) {
				const next = due.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
				if (next === undefined) break;
				due = due.filter((other) => other !== next);
				now = next.at;
				next.callback();
			}
			now = until;
		},
		get waiting() {
			return due.length;
		},
	};
}
