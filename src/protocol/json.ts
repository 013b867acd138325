/**
 * What the readers of this folder ask of parsed JSON. Values come from `JSON.parse`, so `__proto__` is at most an own key like any
 * other; only own properties are ever looked at.
 */
export type JsonObject = { readonly [key: string]: unknown };

export function isJsonObject(value: unknown): value is JsonObject {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The own property, or undefined for anything that is not an object or has none. */
export function member(value: unknown, name: string): unknown {
	return isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

export function stringMember(value: unknown, name: string): string | undefined {
	const found = member(value, name);
	return typeof found === "string" ? found : undefined;
}

export function numberMember(value: unknown, name: string): number | undefined {
	const found = member(value, name);
	return typeof found === "number" && Number.isFinite(found) ? found : undefined;
}

/** Parses without throwing; undefined is "not JSON" (a JSON text never means undefined). */
export function tryParseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
