/**
 * Everything that somebody set, from file, environment and flags, each with its place; and what is wrong with the way it was set. The last
 * assignment of a path wins, so the order of the calls is the order of precedence.
 */
import { isKeyAvailable, isSectionAvailable, isValueAvailable, NOT_AVAILABLE } from "./availability.ts";
import type { IniDocument } from "./ini.ts";
import { todaysSection, todaysSpelling } from "./old-spellings.ts";
import { type ConfigProblem, type Origin, shown } from "./problem.ts";
import {
	type FoundKey,
	findKey,
	findPath,
	isKnownSection,
	pathForVariable,
	SECTIONS,
	suggestKey,
	suggestSection,
} from "./schema.ts";
import { suggestionFor } from "./suggestion.ts";

export interface Assignment {
	readonly found: FoundKey;
	readonly text: string;
	readonly value: unknown;
	readonly origin: Origin;
}

export class Assignments {
	readonly problems: ConfigProblem[] = [];
	/** `TOKLIGENCE_*` variables that mean nothing here; a debug line, never an error. */
	readonly ignoredVariables: string[] = [];
	readonly #byPath = new Map<string, Assignment>();
	/** Lines of section headers, for problems about what is missing. */
	readonly #headers = new Map<string, number>();
	#file = "";

	get(path: string): Assignment | undefined {
		return this.#byPath.get(path);
	}

	all(): Iterable<Assignment> {
		return this.#byPath.values();
	}

	/** Sections written in the file, also empty ones. */
	headers(): ReadonlyMap<string, number> {
		return this.#headers;
	}

	/** The place of a path, else that of its section, else the file. */
	placeOf(path: string): string {
		const set = this.#byPath.get(path);
		if (set !== undefined) return set.origin.text;
		for (let name = path; name !== ""; name = name.slice(0, Math.max(0, name.lastIndexOf(".")))) {
			const line = this.#headers.get(name);
			if (line !== undefined) return `${this.#file}:${line}`;
		}
		return this.#file;
	}

	addFile(file: string, document: IniDocument): void {
		this.#file = file;
		for (const { line, text, ...problem } of document.problems()) {
			const window = text?.startsWith("[[time_window") === true;
			const message = window
				? "time windows are no longer part of the file: create them through the admin API"
				: problem.message;
			this.problems.push({ ...problem, where: `${file}:${line}`, message });
		}
		const written = new Set(document.entries().map((entry) => entry.section));
		const known = new Map<string, boolean>();
		for (const { name, line } of document.sections()) {
			if (!this.#headers.has(name)) this.#headers.set(name, line);
			if (!known.has(name)) known.set(name, this.#acceptSection(file, name, line, written.has(name)));
		}
		for (const { section, key, value, line } of document.entries()) {
			const origin: Origin = { kind: "file", text: `${file}:${line}`, line };
			if (known.get(section) === true) this.add(section, key, value, origin);
		}
	}

	/** Whether the keys of a section are worth reading; if not, the section itself is the problem. */
	#acceptSection(file: string, name: string, line: number, hasKeys: boolean): boolean {
		const where = `${file}:${line}`;
		if (!isSectionAvailable(name)) {
			this.problems.push({ severity: "error", where, section: name, message: NOT_AVAILABLE });
			return false;
		}
		if (isKnownSection(name)) return true;
		const today = todaysSection(name);
		if (today !== undefined) {
			if (!hasKeys)
				this.problems.push({ severity: "error", where, section: name, message: olderSpelling(`[${today}]`) });
			return true;
		}
		const meant = suggestSection(name);
		const message = `unknown section${meant === undefined ? ", see the configuration reference for those there are" : `, did you mean ${meant}?`}`;
		this.problems.push({ severity: "error", where, section: name, message });
		return false;
	}

	/** One variable of the environment. Empty ones count as not set. */
	addVariable(name: string, text: string): void {
		const path = pathForVariable(name);
		if (path === undefined) this.ignoredVariables.push(name);
		else if (text.trim() !== "") this.addPath(path, text.trim(), { kind: "environment", text: name });
	}

	/** `section.key=value`, from `--set` or a line of `TOKLIGENCE_SET`. */
	addSet(assignment: string, origin: Origin): void {
		const equals = assignment.indexOf("=");
		const path = assignment.slice(0, Math.max(0, equals)).trim();
		if (path === "" || !path.includes(".")) {
			const key = equals < 0 ? assignment.trim() : path;
			const home = SECTIONS.find((section) => Object.values(section.keys).some((row) => row.spelling === key));
			const meant = home === undefined ? "" : `, did you mean ${home.name}.${key}=…?`;
			this.problems.push({
				severity: "error",
				where: origin.text,
				message: `${shown(assignment)} is not section.key=value${meant}`,
			});
			return;
		}
		this.addPath(path, assignment.slice(equals + 1).trim(), origin);
	}

	/** What a flag or a variable with a name of its own stands for. */
	addPath(path: string, text: string, origin: Origin): void {
		const found = findPath(path);
		if (found !== undefined) this.#addFound(found, text, origin);
		else {
			const dot = path.lastIndexOf(".");
			this.add(path.slice(0, dot), path.slice(dot + 1), text, origin);
		}
	}

	add(section: string, key: string, text: string, origin: Origin): void {
		const found = findKey(section, key);
		if (found !== undefined) {
			this.#addFound(found, text, origin);
			return;
		}
		const moved = todaysSpelling(section, key, text);
		if (moved !== undefined) {
			const value = moved.value === undefined ? "" : ` = ${moved.value}`;
			this.#error(origin, section, key, olderSpelling(`[${moved.section}] ${moved.key}${value}`));
			return;
		}
		if (!isKnownSection(section)) {
			const today = todaysSection(section);
			const meant = today === undefined ? suggestSection(section) : suggestKey(today, key);
			const wrong =
				today === undefined ? "unknown section" : `unknown key of a section that is called [${today}] today`;
			this.#error(origin, section, key, `${wrong}${meant === undefined ? "" : `, did you mean ${meant}?`}`);
			return;
		}
		const meant = suggestKey(section, key);
		this.#error(origin, section, key, `unknown key${meant === undefined ? "" : `, did you mean ${meant}?`}`);
	}

	#addFound(found: FoundKey, text: string, origin: Origin): void {
		const { path, sectionName, spelling, type, secret } = found;
		const unavailable = !isSectionAvailable(sectionName) || !isKeyAvailable(path) || !isValueAvailable(spelling, text);
		if (unavailable) {
			this.#error(origin, sectionName, spelling, NOT_AVAILABLE);
			return;
		}
		const parsed = type.parse(text);
		if (parsed === undefined) {
			const what = secret ? "the value" : text === "" ? "the value is empty, which" : shown(text);
			const meant = secret || text === "" ? undefined : suggestionFor(text, type.words ?? []);
			const hint = meant === undefined ? "" : `, did you mean ${meant}?`;
			this.#error(origin, sectionName, spelling, `${what} is not allowed; allowed: ${type.allowed}${hint}`);
			return;
		}
		const earlier = this.#byPath.get(path);
		if (earlier?.origin.kind === "file" && origin.kind === "file" && earlier.origin.line !== origin.line) {
			// The same key once with dots and once in its own section; equal spellings are the reader's business.
			const known = this.problems.some((problem) => problem.where === origin.text && problem.severity === "error");
			if (!known)
				this.#error(origin, sectionName, spelling, `already set on line ${earlier.origin.line}, keep one of them`);
			return;
		}
		this.#byPath.set(path, { found, text, value: parsed.value, origin });
	}

	#error(origin: Origin, section: string, key: string, message: string): void {
		this.problems.push({ severity: "error", where: origin.text, section, key, message });
	}
}

function olderSpelling(today: string): string {
	return `an older spelling, today it is ${today}; \`tokligence config upgrade\` rewrites the file`;
}
