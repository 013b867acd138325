/**
 * Rewrites the older spellings of a file to today's words. Comments stay; a key that moves to another section takes the comments directly above
 * it along. What cannot be rewritten without guessing is left and named.
 */
import { type IniDocument, parseIni } from "./ini.ts";
import { type TodaysSpelling, todaysSection, todaysSpelling } from "./old-spellings.ts";

export interface Upgrade {
	readonly text: string;
	/** One sentence per rewritten key or section. */
	readonly changes: readonly string[];
	/** One sentence per key that a person has to decide on. */
	readonly left: readonly string[];
}

export function upgradeConfig(text: string): Upgrade {
	const document = parseIni(text);
	const changes: string[] = [];
	const left = new Set<string>();
	renameWholeSections(document, changes);
	// Each round rewrites or gives up on one entry, so it ends; line numbers are looked up anew because entries move.
	for (;;) {
		const next = findOld(document, left);
		if (next === undefined) break;
		const { section, key, line, today } = next;
		const written = `[${section}] ${key}`;
		const wanted = `[${today.section}] ${today.key}`;
		if (document.get(today.section, today.key) !== undefined) {
			left.add(`${written}: ${wanted} is set already, remove one of them`);
			continue;
		}
		document.renameKey(line, today.key);
		if (today.section !== section) document.moveEntry(line, today.section);
		if (today.value !== undefined) document.set(today.section, today.key, today.value);
		changes.push(`${written} is now ${wanted}${today.value === undefined ? "" : ` = ${today.value}`}`);
	}
	removeEmptySections(document);
	return { text: document.text(), changes, left: [...left] };
}

interface OldEntry {
	readonly section: string;
	readonly key: string;
	readonly line: number;
	readonly today: TodaysSpelling;
}

function findOld(document: IniDocument, left: ReadonlySet<string>): OldEntry | undefined {
	for (const { section, key, value, line } of document.entries()) {
		const today = todaysSpelling(section, key, value);
		if (today === undefined || [...left].some((sentence) => sentence.startsWith(`[${section}] ${key}:`))) continue;
		return { section, key, line, today };
	}
	return undefined;
}

/** A section all of whose keys go to one section that is not there yet only changes its header: everything keeps its place. */
function renameWholeSections(document: IniDocument, changes: string[]): void {
	for (const { name, line } of document.sections()) {
		const headers = document.sections().map((section) => section.name);
		const entries = document.entries().filter((entry) => entry.section === name);
		const targets = entries.map((entry) => todaysSpelling(name, entry.key, entry.value));
		const target = targets[0]?.section;
		const whole =
			target !== undefined &&
			target !== name &&
			targets.every((today) => today?.section === target && today.value === undefined);
		if (!whole || headers.includes(target) || headers.filter((header) => header === name).length > 1) continue;
		document.renameSection(line, target);
		for (const [index, entry] of entries.entries()) {
			const today = targets[index];
			if (today !== undefined && today.key !== entry.key) document.renameKey(entry.line, today.key);
			changes.push(`[${name}] ${entry.key} is now [${target}] ${today?.key ?? entry.key}`);
		}
	}
}

function removeEmptySections(document: IniDocument): void {
	for (const { name, line } of [...document.sections()].reverse()) {
		const used = document.entries().some((entry) => entry.section === name);
		if (!used && todaysSection(name) !== undefined) document.removeLine(line);
	}
}
