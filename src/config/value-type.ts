/**
 * How a value is written and what it becomes: one small parser per kind. A parser answers the value, or `undefined` for text that is not
 * allowed; `allowed` is the sentence that messages and the reference page show, so the two cannot disagree.
 *
 * Units inside the process: durations are milliseconds, sizes are bytes, fractions are 0 to 1.
 */
import { isIP } from "node:net";

/** What a parser answers: the value in a box, so that `undefined` ("off") can be a value. */
export type Parsed<T> = { readonly value: T } | undefined;

export interface ValueType<T> {
	/** One word for the reference page. */
	readonly name: string;
	/** What may be written, for people. */
	readonly allowed: string;
	readonly parse: (text: string) => Parsed<T>;
	/** Values worth suggesting for a slip of the hand. */
	readonly words?: readonly string[];
}

/** A host and a port to listen on. Port 0 is any free one. */
export interface ListenAddress {
	readonly host: string;
	readonly port: number;
}

export const toggle: ValueType<boolean> = {
	name: "boolean",
	allowed: "true or false",
	words: ["true", "false"],
	parse: (text) => {
		const word = text.toLowerCase();
		if (["true", "yes", "on", "1"].includes(word)) return { value: true };
		return ["false", "no", "off", "0"].includes(word) ? { value: false } : undefined;
	},
};

interface NumberRange {
	readonly min?: number;
	readonly max?: number;
	/** Strictly greater than this. */
	readonly above?: number;
	/** Strictly less than this. */
	readonly below?: number;
}

const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;

export function decimal(range: NumberRange = {}): ValueType<number> {
	return {
		name: "number",
		allowed: describeRange("a number", range),
		parse: (text) => within(NUMBER.test(text) ? Number(text) : Number.NaN, range),
	};
}

export function integer(range: NumberRange = {}): ValueType<number> {
	return {
		name: "integer",
		allowed: describeRange("a whole number", range),
		parse: (text) => {
			const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
			return Number.isSafeInteger(value) ? within(value, range) : undefined;
		},
	};
}

const DURATION_UNITS_MS = new Map([
	["", 1000],
	["ms", 1],
	["s", 1000],
	["m", 60_000],
	["h", 3_600_000],
	["d", 86_400_000],
]);
/** What a timer of the run time can hold: longer ones would fire at once. */
const MAX_DURATION_MS = 2_147_483_647;

/** Milliseconds; a bare number is seconds. */
export function duration(range: { readonly minMs?: number } = {}): ValueType<number> {
	const min = range.minMs ?? 1;
	return {
		name: "duration",
		allowed: `a duration like 300 (seconds), 100ms, 30s, 5m or 1h${min === 0 ? ", or 0" : ""}, at most 24d`,
		parse: (text) => within(scaled(text, DURATION_UNITS_MS), { min, max: MAX_DURATION_MS }),
	};
}

const SIZE_UNITS_BYTES = new Map([
	["", 1],
	["b", 1],
	...["k", "m", "g", "t"].flatMap((letter, index): [string, number][] => {
		const bytes = 1024 ** (index + 1);
		return [
			[letter, bytes],
			[`${letter}b`, bytes],
			[`${letter}ib`, bytes],
		];
	}),
]);

/** Bytes; units are powers of 1024. */
export const size: ValueType<number> = {
	name: "size",
	allowed: "a size like 1048576 (bytes), 512KB, 20MB or 1GB, at least 1KB",
	parse: (text) => within(Math.round(scaled(text, SIZE_UNITS_BYTES)), { min: 1024, max: Number.MAX_SAFE_INTEGER }),
};

/** One of a few words; `aliases` are other spellings of them. Letter case does not matter. */
export function oneOf<const W extends readonly string[]>(
	words: W,
	aliases: Readonly<Record<string, W[number]>> = {},
): ValueType<W[number]> {
	const byText = new Map<string, W[number]>([
		...words.map((word): [string, W[number]] => [word, word]),
		...Object.entries(aliases),
	]);
	return {
		name: "word",
		allowed: `one of ${words.join(", ")}`,
		words: [...byText.keys()],
		parse: (text) => {
			const value = byText.get(text.toLowerCase());
			return value === undefined ? undefined : { value };
		},
	};
}

/** A value of another type, or one of some words. */
export function orWord<T, const W extends string>(type: ValueType<T>, ...words: readonly W[]): ValueType<T | W> {
	return {
		name: type.name,
		allowed: `${type.allowed}, or ${words.join(" or ")}`,
		words: [...words, ...(type.words ?? [])],
		parse: (text) => {
			const word = words.find((candidate) => candidate === text.toLowerCase());
			return word === undefined ? type.parse(text) : { value: word };
		},
	};
}

/** A value of another type, or `off`, which becomes `undefined`. */
export function orOff<T>(type: ValueType<T>): ValueType<T | undefined> {
	return {
		name: type.name,
		allowed: `${type.allowed}, or off`,
		words: ["off"],
		parse: (text) => (text.toLowerCase() === "off" ? { value: undefined } : type.parse(text)),
	};
}

/** `a,b` or `[a, b]`; empty text is the empty list. */
export function listOf<T>(
	type: ValueType<T>,
	range: { readonly min?: number; readonly max?: number } = {},
): ValueType<readonly T[]> {
	const { min = 0, max = 1000 } = range;
	const count = min === max ? `${min}, each ` : min > 1 ? `at least ${min}, each ` : "";
	return {
		name: `list of ${type.name}`,
		allowed: `${count}${type.allowed}; several as a,b or [a, b]`,
		...(type.words === undefined ? {} : { words: type.words }),
		parse: (text) => {
			const parts = listParts(text);
			if (parts === undefined || parts.length < min || parts.length > max) return undefined;
			const values: T[] = [];
			for (const part of parts) {
				const parsed = part === "" ? undefined : type.parse(part);
				if (parsed === undefined) return undefined;
				values.push(parsed.value);
			}
			return { value: values };
		},
	};
}

/** A range `[first, last]` of whole numbers, both inclusive; also written `first-last`. */
export const inclusiveRange: ValueType<readonly [number, number]> = {
	name: "range",
	allowed: "a range [first, last] of whole numbers, both included",
	parse: (text) => {
		const match = /^(?:\[\s*)?(\d{1,4})\s*[-,]\s*(\d{1,4})(?:\s*\])?$/.exec(text);
		const [first, last] = [Number(match?.[1] ?? Number.NaN), Number(match?.[2] ?? Number.NaN)];
		return first <= last ? { value: [first, last] } : undefined;
	},
};

/** A range `[start, end]` of fractions, half open. */
export const fractionRange: ValueType<readonly [number, number]> = {
	name: "range",
	allowed: "a range [start, end] with 0 <= start < end <= 1, end excluded",
	parse: (text) => {
		const parsed = listOf(decimal({ min: 0, max: 1 }), { min: 2, max: 2 }).parse(text);
		const [start = 1, end = 0] = parsed?.value ?? [];
		return start < end ? { value: [start, end] } : undefined;
	},
};

/** Any text but an empty one. */
export const anyText: ValueType<string> = { name: "text", allowed: "text", parse: nonEmpty(/./) };

export const filePath: ValueType<string> = {
	name: "path",
	allowed: "the path of a file or folder",
	parse: nonEmpty(/./),
};

export const environmentVariable: ValueType<string> = {
	name: "variable",
	allowed: "the name of an environment variable (letters, digits, underscores), never the secret itself",
	parse: nonEmpty(/^[A-Za-z_][A-Za-z0-9_]*$/),
};

/** `host:port`, `[::1]:port` or `:port` (every address). */
export const listenAddress: ValueType<ListenAddress> = {
	name: "address",
	allowed: "host:port with a port from 0 (any free one) to 65535, like 127.0.0.1:8081 or [::1]:8081",
	parse: (text) => {
		const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]*)):(\d{1,5})$/.exec(text);
		const host = match?.[1] ?? match?.[2];
		const port = Number(match?.[3] ?? Number.NaN);
		if (host === undefined || !(port <= 65_535) || (match?.[1] !== undefined && isIP(host) !== 6)) return undefined;
		return { value: { host: host === "" ? "0.0.0.0" : host, port } };
	},
};

/** An http(s) URL, without a trailing slash. */
export const httpUrl: ValueType<string> = {
	name: "url",
	allowed: "a URL with http:// or https:// and a host",
	parse: (text) => {
		if (!/^https?:\/\/[^\s/]/i.test(text) || !URL.canParse(text)) return undefined;
		return { value: text.replace(/\/+$/, "") };
	},
};

/** A URL of any scheme, for stores. */
export const storeUrl: ValueType<string> = {
	name: "url",
	allowed: "a URL like scheme://user@host:port/name",
	parse: (text) => (/^[a-z][a-z0-9+.-]*:\/\/\S+$/i.test(text) && URL.canParse(text) ? { value: text } : undefined),
};

/** An address block; a bare address is a block of one. */
export const cidr: ValueType<string> = {
	name: "address block",
	allowed: "an address block like 10.0.0.0/8, fd00::/8 or one address",
	parse: (text) => {
		const [address = "", prefix, ...rest] = text.split("/");
		const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : undefined;
		if (bits === undefined || rest.length > 0 || address.includes("%")) return undefined;
		const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
		return length <= bits ? { value: `${address}/${length}` } : undefined;
	},
};

/** A path of a route, beginning with a slash. */
export const urlPath: ValueType<string> = {
	name: "path",
	allowed: "a path that begins with /",
	parse: nonEmpty(/^\/\S*$/),
};

function nonEmpty(pattern: RegExp): (text: string) => Parsed<string> {
	return (text) => (pattern.test(text) ? { value: text } : undefined);
}

function listParts(text: string): string[] | undefined {
	const opened = text.startsWith("[");
	if (opened !== text.endsWith("]")) return undefined;
	const inner = (opened ? text.slice(1, -1) : text).trim();
	return inner === "" ? [] : inner.split(",").map((part) => part.trim());
}

function scaled(text: string, units: ReadonlyMap<string, number>): number {
	const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text);
	return Number(match?.[1] ?? Number.NaN) * (units.get((match?.[2] ?? "?").toLowerCase()) ?? Number.NaN);
}

function within(value: number, { min, max, above, below }: NumberRange): Parsed<number> {
	const fits =
		Number.isFinite(value) &&
		(min === undefined || value >= min) &&
		(max === undefined || value <= max) &&
		(above === undefined || value > above) &&
		(below === undefined || value < below);
	return fits ? { value } : undefined;
}

function describeRange(noun: string, { min, max, above, below }: NumberRange): string {
	const low = min !== undefined ? `from ${min}` : above !== undefined ? `greater than ${above}` : "";
	const high =
		max !== undefined
			? `${min !== undefined ? "to" : "up to"} ${max}`
			: below !== undefined
				? `less than ${below}`
				: "";
	const joint = low !== "" && high !== "" && !(min !== undefined && max !== undefined) ? " and" : "";
	return [noun, `${low}${joint}`, high].filter((part) => part !== "").join(" ");
}
