/**
 * Reads typed fields of a request body. The first wrong one becomes a refusal that names the field, its value and what is allowed;
 * `null` counts as absent, as the official clients send it.
 */
import type { Refusal } from "../core/model/error-code.ts";
import { isJsonObject, type JsonObject } from "./json.ts";

const MAX_SHOWN = 60;

export class FieldReader {
	readonly body: JsonObject;
	#refusal: Refusal | undefined;

	constructor(body: JsonObject) {
		this.body = body;
	}

	/** The first thing that was wrong. */
	get refusal(): Refusal | undefined {
		return this.#refusal;
	}

	refuse(param: string, message: string): undefined {
		this.#refusal ??= { code: "invalid_request", message, param, retryable: false };
		return undefined;
	}

	/** The field's own value; undefined when absent or null. */
	value(name: string): unknown {
		return Object.hasOwn(this.body, name) ? (this.body[name] ?? undefined) : undefined;
	}

	/** Says that `name` holds something else than `allowed`. */
	wrong(name: string, value: unknown, allowed: string): undefined {
		return this.refuse(name, `${name}: ${show(value)} is not allowed; allowed: ${allowed}`);
	}

	missing(name: string, allowed: string): undefined {
		return this.refuse(name, `${name} is missing; allowed: ${allowed}`);
	}

	boolean(name: string): boolean {
		const value = this.value(name);
		if (value === undefined || typeof value === "boolean") return value ?? false;
		this.wrong(name, value, "true or false");
		return false;
	}

	text(name: string): string | undefined {
		const value = this.value(name);
		if (value === undefined || typeof value === "string") return value;
		return this.wrong(name, value, "a string");
	}

	wholeNumber(name: string, min: number, max: number): number | undefined {
		const value = this.value(name);
		if (value === undefined) return undefined;
		if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
		return this.wrong(name, value, `a whole number from ${min} to ${max}`);
	}

	object(name: string): JsonObject | undefined {
		const value = this.value(name);
		if (value === undefined || isJsonObject(value)) return value;
		return this.wrong(name, value, "an object");
	}

	list(name: string): readonly unknown[] | undefined {
		const value = this.value(name);
		if (value === undefined || Array.isArray(value)) return value;
		return this.wrong(name, value, "a list");
	}
}

/** A value as a message can carry it: short, on one line, whatever was sent. */
export function show(value: unknown): string {
	if (value === undefined) return "nothing";
	if (Array.isArray(value)) return `a list of ${value.length}`;
	if (typeof value === "object" && value !== null) return "an object";
	if (typeof value !== "string") return String(value);
	return JSON.stringify(value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}…` : value);
}
