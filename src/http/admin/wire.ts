/** From the program's values to JSON of the admin API: snake_case names, `null` for what is absent, instants as ISO 8601 in UTC. */
import type { EpochMillis } from "../../core/model/units.ts";
import type { Page } from "../../ports/page.ts";

export function snakeName(camelName: string): string {
	return camelName.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function instant(at: EpochMillis): string;
export function instant(at: EpochMillis | undefined): string | null;
export function instant(at: EpochMillis | undefined): string | null {
	return at === undefined ? null : new Date(at).toISOString();
}

/** An instant of the wire, which validation has let through. */
export function epochOf(text: string): EpochMillis {
	return Date.parse(text);
}

/** Left as they are: their names belong to the client. */
const FOREIGN = new Set(["metadata"]);

/** Plain data of the program, at any depth; numbers under a name that ends in `At` are instants. */
export function snakeData(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(snakeData);
	if (typeof value === "bigint") return Number(value);
	if (value === null || typeof value !== "object") return value;
	return Object.fromEntries(
		Object.entries(value).map(([name, part]) => {
			if (FOREIGN.has(name)) return [name, part];
			const isInstant = typeof part === "number" && /(^a|A)t$/.test(name);
			return [snakeName(name), isInstant ? instant(part) : snakeData(part)];
		}),
	);
}

/** The one shape of lists. */
export function listBody<T>(plural: string, page: Page<T>, show: (item: T) => unknown) {
	return { [plural]: page.items.map(show), count: page.items.length, next_cursor: page.nextCursor };
}

/** Without the fields that are undefined or null: what a creation does not say. */
export function given<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
	return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null)) as {
		[K in keyof T]?: NonNullable<T[K]>;
	};
}
