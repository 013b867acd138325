/**
 * Tells when the text of a file has changed (configuration, certificate). Its folder is watched, since editors and container platforms replace the file instead of
 * writing into it; the text is compared, so that nothing happens for other files of the folder.
 */
import { readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { Timers } from "../ports/clock.ts";

/** A file may be written in several steps. */
const SETTLE_MS = 200;

/** Answers how to stop. */
export function watchFile(file: string, timers: Timers, onChange: () => void): () => void {
	let known = textOf(file);
	let cancel = () => {};
	const look = () => {
		const text = textOf(file);
		if (text === known || text === undefined) return;
		known = text;
		onChange();
	};
	const watcher = watch(dirname(file), { persistent: false }, () => {
		cancel();
		cancel = timers.after(SETTLE_MS, look);
	});
	watcher.on("error", () => {});
	return () => {
		cancel();
		watcher.close();
	};
}

function textOf(file: string): string | undefined {
	try {
		return readFileSync(file, "utf8");
	} catch {
		// Between the old file and the new one there may be none.
		return undefined;
	}
}
