/**
 * Lists page by cursor. A cursor is opaque to clients: the sort keys of the last item, so that pages stay stable while rows
 * come and go.
 */
export interface PageRequest {
	/** 1 to `MAX_PAGE_LIMIT`; absent means `DEFAULT_PAGE_LIMIT`, more is cut to the maximum. */
	readonly limit?: number;
	readonly cursor?: string;
}

export interface Page<T> {
	readonly items: readonly T[];
	/** `null` on the last page. */
	readonly nextCursor: string | null;
}

export const DEFAULT_PAGE_LIMIT = 100;
export const MAX_PAGE_LIMIT = 1000;

export type CursorKey = string | number;

export function encodeCursor(keys: readonly CursorKey[]): string {
	return Buffer.from(JSON.stringify(keys)).toString("base64url");
}

/** The keys of a cursor, or undefined when it is not one of ours (`types` gives the expected type of each key). */
export function decodeCursor(cursor: string, types: readonly ("string" | "number")[]): CursorKey[] | undefined {
	try {
		const keys: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString());
		if (!Array.isArray(keys) || keys.length !== types.length) return undefined;
		return keys.every((key, i) => typeof key === types[i]) ? keys : undefined;
	} catch {
		return undefined;
	}
}

/** Thrown by a list whose cursor no list ever gave out; the edge answers 400. */
export class InvalidCursorError extends Error {
	override readonly name = "InvalidCursorError";

	constructor(cursor: string) {
		super(`cursor "${cursor.slice(0, 40)}" is not one that a list gave out: use next_cursor as it came, or none`);
	}
}

export function pageLimit(page: PageRequest): number {
	return Math.min(MAX_PAGE_LIMIT, Math.max(1, Math.trunc(page.limit ?? DEFAULT_PAGE_LIMIT)));
}

/** The cursor's keys; undefined on the first page. Throws `InvalidCursorError`. */
export function cursorKeys(page: PageRequest, types: readonly ("string" | "number")[]): CursorKey[] | undefined {
	if (page.cursor === undefined) return undefined;
	const keys = decodeCursor(page.cursor, types);
	if (keys === undefined) throw new InvalidCursorError(page.cursor);
	return keys;
}

/** Cuts `limit + 1` fetched items to a page. */
export function toPage<T>(fetched: readonly T[], limit: number, keysOf: (item: T) => readonly CursorKey[]): Page<T> {
	if (fetched.length <= limit) return { items: fetched, nextCursor: null };
	const items = fetched.slice(0, limit);
	return { items, nextCursor: encodeCursor(keysOf(items[limit - 1]!)) };
}
