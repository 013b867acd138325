/** Flags that become fields of a body: `--max-depth 3` → `{ max_depth: 3 }`. One table per thing, so that create and update agree. */
import type { Command } from "commander";
import { numberOrText, textList } from "./store-access.ts";

export interface FieldFlag {
	/** Without the dashes. */
	readonly flag: string;
	/** On the wire. */
	readonly field: string;
	readonly kind: "text" | "number" | "list" | "switch" | "truth";
	readonly doc: string;
}

export function withFieldFlags(command: Command, flags: readonly FieldFlag[]): Command {
	for (const { flag, kind, doc } of flags) {
		if (kind === "switch") command.option(`--${flag}`, doc);
		else command.option(`--${flag} <${kind === "number" ? "n" : kind === "list" ? "a,b" : "value"}>`, doc);
	}
	return command;
}

/** The fields that were given. `none` clears one where `clearable`. */
export function fieldsOf(
	flags: readonly FieldFlag[],
	options: Readonly<Record<string, unknown>>,
	clearable = false,
): Record<string, unknown> {
	const fields: Record<string, unknown> = {};
	for (const { flag, field, kind } of flags) {
		const value = options[optionName(flag)];
		if (value === undefined) continue;
		fields[field] = clearable && value === "none" ? null : fieldValue(kind, value);
	}
	return fields;
}

function fieldValue(kind: FieldFlag["kind"], value: unknown): unknown {
	if (kind === "switch") return value === true;
	const text = String(value);
	if (kind === "number") return numberOrText(text);
	if (kind === "truth") return text === "true" ? true : text === "false" ? false : text;
	if (kind === "list") return textList(text);
	return text;
}

/** As commander names it: `data-dir` → `dataDir`. */
function optionName(flag: string): string {
	return flag.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}
