/**
 * The vocabulary of the schema: a key is its spelling in the file, its type, its default (written as one would write it in the file) and one
 * sentence; a section is a name and its keys. The typed configuration, the messages and the reference page are all derived from these rows.
 */
import { InvariantError } from "../core/model/invariant-error.ts";
import type { ValueType } from "./value-type.ts";

export interface Key<T> {
	/** As written in the file. */
	readonly spelling: string;
	readonly type: ValueType<T>;
	/** As one would write it in the file; absent when nothing is assumed. */
	readonly defaultText?: string;
	/** Says what holds when the key is not set and the default is not a constant. */
	readonly defaultNote?: string;
	readonly doc: string;
	/** Unit of a plain number. */
	readonly unit?: string;
	/** The value is never shown, not even in a message about it. */
	readonly secret?: boolean;
	/** Never taken over from an enclosing section. */
	readonly local?: boolean;
	/** Value when nobody sets it. */
	readonly fallback: T;
}

interface KeyOptions {
	readonly unit?: string;
	readonly note?: string;
	readonly secret?: boolean;
	readonly local?: boolean;
}

/** A key with a default. */
export function key<T>(
	spelling: string,
	type: ValueType<T>,
	defaultText: string,
	doc: string,
	options: KeyOptions = {},
): Key<T> {
	const parsed = type.parse(defaultText);
	if (parsed === undefined) throw new InvariantError(`default ${defaultText} of ${spelling} is not ${type.allowed}`);
	return { spelling, type, defaultText, doc, fallback: parsed.value, ...details(options) };
}

/** A key that may stay unset; `note` says what holds then. */
export function optional<T>(
	spelling: string,
	type: ValueType<T>,
	doc: string,
	options: KeyOptions = {},
): Key<T | undefined> {
	return { spelling, type, doc, fallback: undefined, ...details(options) };
}

function details({
	unit,
	note,
	secret,
	local,
}: KeyOptions): Pick<Key<unknown>, "unit" | "defaultNote" | "secret" | "local"> {
	return {
		...(unit === undefined ? {} : { unit }),
		...(note === undefined ? {} : { defaultNote: note }),
		...(secret === undefined ? {} : { secret }),
		...(local === undefined ? {} : { local }),
	};
}

// biome-ignore lint/suspicious/noExplicitAny: a table holds keys of every type; each row keeps its own.
export type Keys = Readonly<Record<string, Key<any>>>;

/** The values of some keys, under their names in code. */
export type ValuesOf<K extends Keys> = {
	readonly [N in keyof K]: K[N] extends Key<infer T> ? T : never;
};

/** Keys whose names the user makes up (`upgrade_quota_bucket_3`, an alias of `[models]`). */
export interface OpenKeys<T> {
	/** For people: `upgrade_quota_bucket_N`. */
	readonly spelling: string;
	/** The first group is the variable part. */
	readonly pattern: RegExp;
	readonly type: ValueType<T>;
	readonly doc: string;
	readonly unit?: string;
}

export interface Section<K extends Keys = Keys, T = unknown> {
	/** With placeholders in capitals for the parts that the user makes up: `provider.NAME.family.FAMILY`. */
	readonly name: string;
	readonly doc: string;
	readonly keys: K;
	readonly open?: OpenKeys<T>;
}

export function section<K extends Keys>(name: string, doc: string, keys: K): Section<K, never> {
	return { name, doc, keys };
}

export function openSection<K extends Keys, T>(name: string, doc: string, keys: K, open: OpenKeys<T>): Section<K, T> {
	return { name, doc, keys, open };
}

/** What a placeholder of a section name may be. */
const PLACEHOLDERS = new Map([
	["NAME", "([A-Za-z0-9_-]{1,64})"],
	["FAMILY", "([A-Za-z0-9_-]{1,64})"],
	["GROUP", "([a-z0-9_]{1,64})"],
	["N", "(0|[1-9]\\d{0,2})"],
	["MODEL", "(.{1,256})"],
]);

/** Matches a written section name; the groups are what stands for the placeholders. */
export function sectionPattern(name: string): RegExp {
	const parts = name.split(".").map((part) => PLACEHOLDERS.get(part) ?? part.replaceAll(/[^a-z0-9_]/gi, "\\$&"));
	return new RegExp(`^${parts.join("\\.")}$`);
}

/** The written name of a section with placeholders filled in. */
export function sectionName(name: string, parameters: readonly string[]): string {
	let next = 0;
	return name
		.split(".")
		.map((part) => (PLACEHOLDERS.has(part) ? (parameters[next++] ?? part) : part))
		.join(".");
}

export function hasPlaceholder(name: string): boolean {
	return name.split(".").some((part) => PLACEHOLDERS.has(part));
}
