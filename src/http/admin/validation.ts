/** What is wrong with an input, in sentences that name the field, its value and what is allowed. */
import type { z } from "zod";
import { type AdminRefusal, type FieldProblem, refuse } from "./admin-error.ts";

/** May hold a secret by mistake (a key where its hash belongs): never shown. */
const NEVER_SHOWN = /(^|\.)(sha256|token)$/;
const MAX_SENTENCES = 5;

export function check<T>(schema: z.ZodType<T>, value: unknown, place: string): T | AdminRefusal {
	const result = schema.safeParse(value, { reportInput: true });
	if (result.success) return result.data;
	const { issues } = result.error;
	const sentences = issues.slice(0, MAX_SENTENCES).map((issue) => sentence(issue, place));
	if (issues.length > MAX_SENTENCES) sentences.push(`and ${issues.length - MAX_SENTENCES} more`);
	return refuse("invalid_request", sentences.join("; "), paramOf(issues[0]!) ?? undefined);
}

/** Everything that is wrong with a value, each with its place; empty when it fits. */
export function problemsOf(schema: z.ZodType, value: unknown, place: string): readonly FieldProblem[] {
	const result = schema.safeParse(value, { reportInput: true });
	if (result.success) return [];
	return result.error.issues.flatMap((issue) => {
		const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
		if (issue.code !== "unrecognized_keys") return [{ path, message: sentence(issue, place) }];
		return issue.keys.map((name) => ({
			path: [...path, name],
			message: `${shown(name)} is not a field of ${path.length === 0 ? `the ${place}` : path.join(".")}`,
		}));
	});
}

export function isRefusal(value: unknown): value is AdminRefusal {
	return typeof value === "object" && value !== null && "kind" in value && value.kind === "refused";
}

type Issue = z.core.$ZodIssue;

function paramOf(issue: Issue): string | undefined {
	const path = issue.path.map(String).join(".");
	const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
	return [path, unknown].filter((part) => part !== undefined && part !== "").join(".") || undefined;
}

function sentence(issue: Issue, place: string): string {
	const path = issue.path.map(String).join(".");
	const field = path === "" ? `the ${place}` : path;
	if (issue.code === "unrecognized_keys") {
		return `${issue.keys.map(shown).join(", ")} is not a field of ${field}`;
	}
	if (issue.input === undefined && path !== "") return `${field} is missing: ${allowed(issue)}`;
	const value = NEVER_SHOWN.test(path) ? "" : ` ${shown(issue.input)}`;
	return `${field}${value} is not allowed: ${allowed(issue)}`;
}

function allowed(issue: Issue): string {
	switch (issue.code) {
		case "invalid_type":
			return `it must be ${article(issue.expected)}`;
		case "invalid_value":
			return `allowed are ${issue.values.map(String).join(", ")}`;
		case "too_small":
			return bound(issue.origin, issue.inclusive === false ? "more than" : "at least", issue.minimum);
		case "too_big":
			return bound(issue.origin, issue.inclusive === false ? "less than" : "at most", issue.maximum);
		case "invalid_union":
			return issue.errors.map((issues) => (issues[0] === undefined ? "" : allowed(issues[0]))).join(", or ");
		default:
			return issue.message;
	}
}

function bound(origin: string, words: string, limit: number | bigint): string {
	if (origin === "string") return `${words} ${limit} characters`;
	return origin === "array" ? `${words} ${limit} entries` : `${words} ${limit}`;
}

function article(type: string): string {
	if (type === "int") return "a whole number";
	return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`;
}

/** Short, on one line. */
function shown(value: unknown): string {
	const json = JSON.stringify(value) ?? "undefined";
	return json.length > 60 ? `${json.slice(0, 60)}…` : json;
}
