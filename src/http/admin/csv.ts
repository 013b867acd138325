/**
 * CSV (RFC 4180). Cells that a spreadsheet would run as a formula get an apostrophe first: model names come from clients.
 */
export function csv(columns: readonly string[], rows: readonly Readonly<Record<string, unknown>>[]): string {
	const lines = [columns.join(","), ...rows.map((row) => columns.map((column) => cell(row[column])).join(","))];
	return `${lines.join("\r\n")}\r\n`;
}

function cell(value: unknown): string {
	if (value === null || value === undefined) return "";
	if (typeof value === "number") return String(value);
	const text = String(value);
	const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
	return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
