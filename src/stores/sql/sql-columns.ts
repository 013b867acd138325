/**
 * Maps objects of the ports to rows and back by a table of columns, so that every field is written and read by one line.
 * Absent fields are NULL, truth is 0/1, lists and objects are JSON.
 */
import type { SqlRow, SqlValue } from "./sql-database.ts";

type ColumnKind = "plain" | "boolean" | "json";

export interface Column {
	readonly field: string;
	readonly name: string;
	readonly kind: ColumnKind;
}

export function column(field: string, kind: ColumnKind = "plain", name = snakeCase(field)): Column {
	return { field, name, kind };
}

function snakeCase(field: string): string {
	return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export function toSqlValues(columns: readonly Column[], object: object): SqlValue[] {
	const source = object as Readonly<Record<string, unknown>>;
	return columns.map(({ field, kind }) => {
		const value = source[field];
		if (value === undefined || value === null) return null;
		if (kind === "json") return JSON.stringify(value);
		if (kind === "boolean") return value === true ? 1 : 0;
		// PostgreSQL has no U+0000 in a text, and one such name must not keep a whole batch of rows out
		if (typeof value === "string" && value.includes("\0")) return value.replaceAll("\0", "\uFFFD");
		return value as SqlValue;
	});
}

/** NULLs become absent fields. */
export function fromSqlRow<T>(columns: readonly Column[], row: SqlRow): T {
	const object: Record<string, unknown> = {};
	for (const { field, name, kind } of columns) {
		const value = row[name];
		if (value === null || value === undefined) continue;
		object[field] = kind === "json" ? JSON.parse(value as string) : kind === "boolean" ? value === 1 : value;
	}
	return object as T;
}

export function columnNames(columns: readonly Column[]): string {
	return columns.map(({ name }) => name).join(", ");
}

export function insertSql(table: string, columns: readonly Column[], conflict = ""): string {
	return `INSERT INTO ${table} (${columnNames(columns)}) VALUES (${columns.map(() => "?").join(", ")}) ${conflict}`.trim();
}

/** Sets every column where `id = ?`. */
export function updateSql(table: string, columns: readonly Column[]): string {
	return `UPDATE ${table} SET ${columns.map(({ name }) => `${name} = ?`).join(", ")} WHERE id = ?`;
}
