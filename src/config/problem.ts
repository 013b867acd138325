/**
 * What is said about a configuration. `where` is the place of the value (`gateway.ini:9`, `TOKLIGENCE_…`, `--set`), so that a person can go there.
 */

export interface ConfigProblem {
	/** Errors stop the start; warnings and notes do not. */
	readonly severity: "error" | "warning" | "note";
	readonly where: string;
	readonly section?: string;
	readonly key?: string;
	/** What is wrong, what is allowed, what may have been meant. */
	readonly message: string;
}

/** Where a value comes from. */
export interface Origin {
	readonly kind: "default" | "file" | "environment" | "set" | "flag";
	readonly text: string;
	/** Line in the file. */
	readonly line?: number;
}

export const DEFAULT_ORIGIN: Origin = { kind: "default", text: "default" };

/** `file:line: [section] key: message`. */
export function formatProblem({ where, section, key, message }: ConfigProblem): string {
	const name = [section === undefined ? "" : `[${section}]`, key ?? ""].filter((part) => part !== "").join(" ");
	return [where, name, message].filter((part) => part !== "").join(": ");
}

/** Someone else's text inside a message: short, on one line, without control characters. */
export function shown(text: string): string {
	const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
	return JSON.stringify(short).replaceAll(/[\u007f-\u009f\u2028\u2029]/g, "?");
}
