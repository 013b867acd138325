/** SQLite's result codes as the kinds of `StoreError`, with a sentence that says what to do. */
import { StoreError, type StoreErrorKind } from "../../ports/store-error.ts";

/** https://sqlite.org/rescode.html, primary codes. */
const KINDS: Readonly<Record<number, StoreErrorKind>> = {
	5: "locked",
	6: "locked",
	8: "read_only",
	10: "unavailable",
	11: "corrupt",
	13: "full",
	14: "unavailable",
	26: "corrupt",
};

const ADVICE: Readonly<Record<StoreErrorKind, string>> = {
	locked: "another process holds its lock: stop that process, or try again",
	read_only:
		"it accepts no writes: check the owner and mode of the file and its folder, and that the file system is mounted writable",
	full: "no space is left: free disk space, nothing was changed",
	corrupt: "the file is damaged or no database: restore a backup with `tokligence db restore`",
	newer_schema: "it was written by a newer version: use that version",
	unavailable:
		"it cannot be opened or read: check that its folder exists, that this user may read and write there, and that the disk is healthy and has space",
};

export function toStoreError(error: unknown, path: string): unknown {
	if (error instanceof StoreError) return error;
	const { code, errcode, message } = error as { code?: string; errcode?: number; message?: string };
	const kind = code === "ERR_SQLITE_ERROR" ? KINDS[(errcode ?? 0) & 0xff] : fileErrorKind(code);
	if (kind === undefined) return error;
	return new StoreError(kind, `database ${path}: ${ADVICE[kind]} (${message})`, { cause: error });
}

function fileErrorKind(code: string | undefined): StoreErrorKind | undefined {
	if (code === "EROFS" || code === "EACCES" || code === "EPERM") return "read_only";
	if (code === "ENOSPC") return "full";
	return code === "ENOENT" || code === "EIO" ? "unavailable" : undefined;
}

export function isLocked(error: unknown): boolean {
	return error instanceof StoreError && error.kind === "locked";
}
