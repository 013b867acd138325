/**
 * INI text as lines: a reader that knows where everything stands, and an editor that changes only what it is told to (comments, order, line
 * endings, byte order mark and even broken lines come out as they went in: `parseIni(text).text() === text` for every text).
 *
 * Grammar: `[section]`, `key = value`, comments from `#` or `;` at the start of a line or after white space, `"quoted # values"` with `\"` and
 * `\\`. No continuation lines. Nothing here becomes a property name of an object, so `__proto__` is a key like any other. Work per line is linear.
 */
import { InvariantError } from "../core/model/invariant-error.ts";

/** Characters of one line; a longer one is a problem, not a value. */
const MAX_LINE_LENGTH = 65_536;
/** Characters of a whole file. */
export const MAX_INI_LENGTH = 4 * 1024 * 1024;
/** Broken lines that are reported one by one; a binary file has thousands. */
const MAX_LINE_PROBLEMS = 20;

const CONTROL_CHARACTER = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/;

export interface IniProblem {
	/** Counted from 1. */
	readonly line: number;
	readonly severity: "error" | "warning";
	readonly section?: string;
	readonly key?: string;
	readonly message: string;
	/** The beginning of a line that cannot be read. */
	readonly text?: string;
}

export interface IniEntry {
	readonly line: number;
	readonly section: string;
	readonly key: string;
	/** Without quotes, comment and surrounding white space. */
	readonly value: string;
}

export interface IniSection {
	readonly line: number;
	readonly name: string;
}

type Content =
	| { readonly kind: "blank" | "comment" }
	/** A broken header hides the entries below it: nobody knows where they belong. */
	| { readonly kind: "broken"; readonly message: string; readonly header?: boolean }
	| { readonly kind: "section"; readonly name: string; readonly start: number; readonly end: number }
	| EntryContent;

interface EntryContent {
	readonly kind: "entry";
	readonly key: string;
	readonly keyStart: number;
	readonly value: string;
	/** Where the value stands in the line, quotes included: what an edit replaces. */
	readonly start: number;
	readonly end: number;
}

interface Line {
	raw: string;
	eol: string;
	content: Content;
}

/** A parsed file that can be edited in place. Line numbers are those of the present text. */
export class IniDocument {
	readonly #bom: string;
	readonly #lines: Line[];
	readonly #eol: string;

	constructor(text: string) {
		this.#bom = text.startsWith("\uFEFF") ? "\uFEFF" : "";
		this.#lines = splitLines(text.slice(this.#bom.length)).map(({ raw, eol }) => ({
			raw,
			eol,
			content: parseLine(raw),
		}));
		this.#eol = this.#lines.find((line) => line.eol !== "")?.eol ?? "\n";
	}

	text(): string {
		return this.#bom + this.#lines.map((line) => line.raw + line.eol).join("");
	}

	sections(): readonly IniSection[] {
		return this.#lines.flatMap(({ content }, index) =>
			content.kind === "section" ? [{ line: index + 1, name: content.name }] : [],
		);
	}

	/** Every `key = value` in order, duplicates included; those above the first header have section `""`, those below a broken one are left out. */
	entries(): readonly IniEntry[] {
		const entries: IniEntry[] = [];
		let section: string | undefined = "";
		for (const [index, { content }] of this.#lines.entries()) {
			if (content.kind === "section") section = content.name;
			if (content.kind === "broken" && content.header === true) section = undefined;
			if (content.kind === "entry" && section !== undefined)
				entries.push({ line: index + 1, section, key: content.key, value: content.value });
		}
		return entries;
	}

	/** What is wrong with the text itself, whatever the keys mean. */
	problems(): readonly IniProblem[] {
		return [...this.#brokenLines(), ...this.#duplicates()].sort((a, b) => a.line - b.line);
	}

	get(section: string, key: string): string | undefined {
		return this.entries().find((entry) => entry.section === section && entry.key === key)?.value;
	}

	/** Sets a key: in its place (a comment behind it stays), else at the end of its section, else in a new section at the end of the file. */
	set(section: string, key: string, value: string): void {
		const found = this.entries().find((entry) => entry.section === section && entry.key === key);
		if (found !== undefined) {
			this.#replace(found.line - 1, (content) => [content.start, content.end, quoteIniValue(value)]);
			return;
		}
		const text = `${checkedName(key)} = ${quoteIniValue(value)}`;
		const at = this.#endOfSection(section);
		if (at !== undefined) this.#insert(at, text);
		else {
			const last = this.#lines.at(-1);
			if (last !== undefined && last.content.kind !== "blank") this.#insert(this.#lines.length, "");
			this.#insert(this.#lines.length, `[${checkedName(section)}]`);
			this.#insert(this.#lines.length, text);
		}
	}

	/** Renames the key that stands on a line. */
	renameKey(line: number, key: string): void {
		this.#replace(line - 1, (content) => [content.keyStart, content.keyStart + content.key.length, checkedName(key)]);
	}

	/** Renames the section whose header stands on a line; what is below it stays. */
	renameSection(line: number, name: string): void {
		const found = this.#lines[line - 1];
		if (found?.content.kind !== "section") throw new InvariantError(`no section header on line ${line}`);
		const { start, end } = found.content;
		found.raw = found.raw.slice(0, start) + checkedName(name) + found.raw.slice(end);
		found.content = parseLine(found.raw);
	}

	/** Takes one line out. */
	removeLine(line: number): void {
		if (this.#lines[line - 1] === undefined) throw new InvariantError(`no line ${line}`);
		this.#lines.splice(line - 1, 1);
	}

	/** Moves the entry on a line, with the comments directly above it, to the end of another section (created when there is none). */
	moveEntry(line: number, section: string): void {
		if (this.#lines[line - 1]?.content.kind !== "entry") throw new InvariantError(`no entry on line ${line}`);
		let from = line - 1;
		while (this.#lines[from - 1]?.content.kind === "comment") from--;
		const moved = this.#lines.splice(from, line - from);
		let at = this.#endOfSection(section);
		if (at === undefined) {
			if (this.#lines.at(-1)?.content.kind !== "blank" && this.#lines.length > 0) this.#insert(this.#lines.length, "");
			this.#insert(this.#lines.length, `[${checkedName(section)}]`);
			at = this.#lines.length;
		}
		for (const { raw } of moved) this.#insert(at++, raw);
	}

	/** Puts a comment line above a line. */
	insertComment(line: number, comment: string): void {
		this.#insert(line - 1, `# ${comment.replaceAll(/[\r\n]+/g, " ")}`);
	}

	#brokenLines(): IniProblem[] {
		const problems: IniProblem[] = [];
		let more = 0;
		let above = true;
		for (const [index, { content, raw }] of this.#lines.entries()) {
			if (content.kind === "section" || (content.kind === "broken" && content.header === true)) above = false;
			let message = content.kind === "broken" ? content.message : undefined;
			if (content.kind === "entry" && above) message = "stands above the first [section], put it into one";
			if (message === undefined) continue;
			if (problems.length >= MAX_LINE_PROBLEMS) more++;
			else
				problems.push({
					line: index + 1,
					severity: "error",
					message,
					text: raw.trim().slice(0, 60),
					...(content.kind === "entry" ? { key: content.key } : {}),
				});
		}
		const last = problems.at(-1);
		if (more > 0 && last !== undefined)
			problems.push({ line: last.line, severity: "error", message: `and ${more} more lines that cannot be read` });
		return problems;
	}

	#duplicates(): IniProblem[] {
		const problems: IniProblem[] = [];
		const headers = new Map<string, number>();
		for (const { name, line } of this.sections()) {
			const first = headers.get(name);
			if (first === undefined) headers.set(name, line);
			else
				problems.push({
					line,
					severity: "warning",
					section: name,
					message: `this section began on line ${first}; both are read as one`,
				});
		}
		const keys = new Map<string, number>();
		for (const { section, key, line } of this.entries()) {
			const path = `${section}\n${key}`;
			const first = keys.get(path);
			if (first === undefined) keys.set(path, line);
			else
				problems.push({
					line,
					severity: "error",
					section,
					key,
					message: `already set on line ${first}, keep one of them`,
				});
		}
		return problems;
	}

	#replace(index: number, edit: (content: EntryContent) => readonly [number, number, string]): void {
		const line = this.#lines[index];
		if (line?.content.kind !== "entry") throw new InvariantError(`no entry on line ${index + 1}`);
		const [start, end, text] = edit(line.content);
		const rest = line.raw.slice(end);
		// A comment mark that touches the value would become part of it.
		line.raw = line.raw.slice(0, start) + text + (isCommentMark(rest[0]) ? " " : "") + rest;
		line.content = parseLine(line.raw);
	}

	/** Index behind the last entry (or the header) of the last stretch of a section. */
	#endOfSection(section: string): number | undefined {
		let at: number | undefined;
		let inside = section === "";
		for (const [index, { content }] of this.#lines.entries()) {
			if (content.kind === "section") inside = content.name === section;
			if (content.kind === "broken" && content.header === true) inside = false;
			if (inside && (content.kind === "section" || content.kind === "entry")) at = index + 1;
		}
		return at;
	}

	#insert(index: number, raw: string): void {
		const before = this.#lines[index - 1];
		if (before !== undefined && before.eol === "") before.eol = this.#eol;
		this.#lines.splice(index, 0, { raw, eol: this.#eol, content: parseLine(raw) });
	}
}

/** Never fails: what cannot be read is in `problems()`. */
export function parseIni(text: string): IniDocument {
	return new IniDocument(text);
}

/** The text of a value that reads back as `value`. */
export function quoteIniValue(value: string): string {
	if (CONTROL_CHARACTER.test(value) || /[\r\n]/.test(value))
		throw new InvariantError("an INI value is one line of text");
	const plain = value === value.trim() && !value.startsWith('"') && !/(^|\s)[#;]/.test(value);
	return plain ? value : `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function checkedName(name: string): string {
	if (name === "" || name !== name.trim() || /[\r\n=[\]#;]/.test(name) || CONTROL_CHARACTER.test(name))
		throw new InvariantError(`${JSON.stringify(name)} cannot be a section or key`);
	return name;
}

function splitLines(text: string): { raw: string; eol: string }[] {
	const lines: { raw: string; eol: string }[] = [];
	let from = 0;
	for (const match of text.matchAll(/\r\n|\n|\r/g)) {
		lines.push({ raw: text.slice(from, match.index), eol: match[0] });
		from = match.index + match[0].length;
	}
	if (from < text.length) lines.push({ raw: text.slice(from), eol: "" });
	return lines;
}

function parseLine(raw: string): Content {
	if (raw.length > MAX_LINE_LENGTH)
		return broken(`the line has ${raw.length} characters, at most ${MAX_LINE_LENGTH} are read`);
	const control = CONTROL_CHARACTER.exec(raw);
	if (control !== null) {
		const code = control[0].charCodeAt(0).toString(16).padStart(2, "0");
		return broken(`holds the control character 0x${code}; is this a text file?`);
	}
	const trimmed = raw.trim();
	if (trimmed === "") return { kind: "blank" };
	if (isCommentMark(trimmed[0])) return { kind: "comment" };
	return trimmed.startsWith("[") ? parseHeader(raw) : parseEntry(raw);
}

function parseHeader(raw: string): Content {
	const open = raw.indexOf("[");
	const close = raw.indexOf("]", open);
	if (raw[open + 1] === "[")
		return broken(`${quote(raw.trim())} has double brackets, sections are written [name]`, true);
	const rest = close < 0 ? "" : raw.slice(close + 1).trim();
	if (close < 0 || (rest !== "" && !isCommentMark(rest[0])))
		return broken(`${quote(raw.trim())} is no section header, those are written [name]`, true);
	const inner = raw.slice(open + 1, close);
	const name = inner.trim();
	if (name === "") return broken("a section header needs a name: [name]", true);
	const start = open + 1 + inner.indexOf(name);
	return { kind: "section", name, start, end: start + name.length };
}

function parseEntry(raw: string): Content {
	const equals = raw.indexOf("=");
	const key = equals < 0 ? "" : raw.slice(0, equals).trim();
	if (key === "") return broken(`${quote(raw.trim())} is neither a [section] nor key = value`);
	const keyStart = raw.indexOf(key);
	let start = equals + 1;
	while (start < raw.length && isSpace(raw[start])) start++;
	return raw[start] === '"' ? parseQuoted(raw, key, keyStart, start) : parsePlain(raw, key, keyStart, start);
}

function parsePlain(raw: string, key: string, keyStart: number, start: number): Content {
	let end = start;
	// A mark counts after white space only, so that http://host/#part stays whole.
	while (end < raw.length && !(isCommentMark(raw[end]) && (end === start || isSpace(raw[end - 1])))) end++;
	// `key =# comment`: an empty value.
	while (end > start && isSpace(raw[end - 1])) end--;
	return { kind: "entry", key, keyStart, value: raw.slice(start, end), start, end };
}

function parseQuoted(raw: string, key: string, keyStart: number, start: number): Content {
	let value = "";
	let at = start + 1;
	for (; at < raw.length && raw[at] !== '"'; at++) {
		if (raw[at] === "\\" && (raw[at + 1] === '"' || raw[at + 1] === "\\")) at++;
		value += raw[at];
	}
	const rest = raw.slice(at + 1).trim();
	if (at >= raw.length) return broken(`the value of ${quote(key)} lacks its closing quote`);
	if (rest !== "" && !isCommentMark(rest[0])) return broken(`text stands behind the closing quote of ${quote(key)}`);
	return { kind: "entry", key, keyStart, value, start, end: at + 1 };
}

function broken(message: string, header = false): Content {
	return { kind: "broken", message, header };
}

function isCommentMark(character: string | undefined): boolean {
	return character === "#" || character === ";";
}

function isSpace(character: string | undefined): boolean {
	return character !== undefined && character.trim() === "";
}

function quote(text: string): string {
	return text.length > 60 ? `${JSON.stringify(text.slice(0, 60))}…` : JSON.stringify(text);
}
