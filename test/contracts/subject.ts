/** What the contract suites share: the store under test with the clock it reads. */
import type { Stores } from "../../src/ports/stores.ts";

export const START = Date.UTC(2026, 0, 15, 12);

export interface StoresUnderTest {
	readonly stores: Stores;
	now: number;
}

/** All items of a list, three at a time, so that cursors are exercised. */
export async function allPages<T>(
	list: (page: { limit: number; cursor?: string }) => Promise<{ items: readonly T[]; nextCursor: string | null }>,
): Promise<T[]> {
	const items: T[] = [];
	let cursor: string | null = null;
	do {
		const page: { items: readonly T[]; nextCursor: string | null } = await list({
			limit: 3,
			...(cursor === null ? {} : { cursor }),
		});
		items.push(...page.items);
		cursor = page.nextCursor;
	} while (cursor !== null);
	return items;
}
