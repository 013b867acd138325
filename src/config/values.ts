/**
 * Reads typed values out of the assignments, section by section, and keeps a list of what holds and where it came from (`config show`).
 */

import type { Assignments } from "./assignments.ts";
import { isKeyAvailable } from "./availability.ts";
import { DEFAULT_ORIGIN, type Origin } from "./problem.ts";
import { type Keys, type Section, sectionName, type ValuesOf } from "./schema-key.ts";

/** One line of `config show`. */
export interface EffectiveValue {
	readonly section: string;
	readonly key: string;
	/** As one would write it in the file; empty when nothing is set. Passwords in URLs are not shown. */
	readonly value: string;
	/** What holds when `value` is empty. */
	readonly note?: string;
	readonly source: Origin["kind"];
	/** `gateway.ini:9`, `TOKLIGENCE_BUCKET_COUNT`, `--set`, `default`. */
	readonly where: string;
}

export class Values {
	readonly #assignments: Assignments;
	readonly #effective = new Map<string, EffectiveValue>();

	constructor(assignments: Assignments) {
		this.#assignments = assignments;
	}

	/** All values of a section. Keys in `inherited` are also looked for in those sections, nearest first. */
	read<K extends Keys>(
		section: Section<K>,
		parameters: readonly string[] = [],
		inherited: readonly string[] = [],
	): ValuesOf<K> {
		const name = sectionName(section.name, parameters);
		const values: [string, unknown][] = [];
		for (const [property, key] of Object.entries(section.keys)) {
			const set = [name, ...(key.local === true ? [] : inherited)]
				.map((from) => this.#assignments.get(`${from}.${key.spelling}`))
				.find((assignment) => assignment !== undefined);
			values.push([property, set === undefined ? key.fallback : set.value]);
			this.#note(
				name,
				key.spelling,
				set?.text ?? key.defaultText ?? "",
				set?.origin ?? DEFAULT_ORIGIN,
				set === undefined ? key.defaultNote : undefined,
			);
		}
		return Object.fromEntries(values) as ValuesOf<K>;
	}

	/** The open keys of a section, in the order they were set. */
	readOpen<T>(section: Section<Keys, T>): readonly { readonly name: string; readonly value: T }[] {
		const found: { name: string; value: T }[] = [];
		for (const { found: key, value, text, origin } of this.#assignments.all()) {
			if (key.section.name !== section.name || key.openName === undefined) continue;
			found.push({ name: key.openName, value: value as T });
			this.#note(key.sectionName, key.spelling, text, origin);
		}
		return found;
	}

	/** What stands for the placeholders of a section, once per instance, in the order of the file. */
	instances(section: Section): readonly (readonly string[])[] {
		const found = new Map<string, readonly string[]>();
		for (const { found: key } of this.#assignments.all())
			if (key.section.name === section.name) found.set(key.parameters.join("."), key.parameters);
		return [...found.values()];
	}

	isSet(path: string): boolean {
		return this.#assignments.get(path) !== undefined;
	}

	/** Enters a default that follows from other values. */
	derive(section: string, key: string, value: string): void {
		const known = this.#effective.get(`${section}.${key}`);
		this.#note(section, key, value, DEFAULT_ORIGIN, known?.note);
	}

	effective(): readonly EffectiveValue[] {
		// What this version does not do has no effect: showing it would make a file that does not load.
		return [...this.#effective.values()].filter(({ section, key }) => isKeyAvailable(`${section}.${key}`));
	}

	#note(section: string, key: string, value: string, origin: Origin, note?: string): void {
		this.#effective.set(`${section}.${key}`, {
			section,
			key,
			value: withoutPasswords(value),
			...(note === undefined ? {} : { note }),
			source: origin.kind,
			where: origin.text,
		});
	}
}

/** `scheme://user:password@host` with the part before `@` hidden. */
export function withoutPasswords(text: string): string {
	return text.replaceAll(/:\/\/[^/\s@]*@/g, "://***@");
}
