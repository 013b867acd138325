/**
 * Refusals of the admin plane as values, and their one form on the wire: `{"error":{"code","message","param"}}`. Messages name the
 * field, its value and what is allowed; causes are logged, never sent.
 */
import { redactTokens } from "../../core/identity/token-form.ts";
import type { WriteRefusal } from "../../ports/write-result.ts";
import { snakeName } from "./wire.ts";

const STATUS = {
	invalid_request: 400,
	missing_token: 401,
	unknown_token: 401,
	not_found: 404,
	method_not_allowed: 405,
	conflict: 409,
	body_too_large: 413,
	internal: 500,
	not_available: 501,
	stores_unavailable: 503,
} as const;

export type AdminErrorCode = keyof typeof STATUS;

export interface AdminRefusal {
	readonly kind: "refused";
	readonly code: AdminErrorCode;
	readonly message: string;
	/** The field at fault, as the client spells it. */
	readonly param?: string;
	/** Every single thing that is wrong, where there may be many. */
	readonly problems?: readonly FieldProblem[];
}

export interface FieldProblem {
	/** Names and places from the outside in, as the client spells them. */
	readonly path: readonly (string | number)[];
	/** One sentence. */
	readonly message: string;
}

export function refuse(code: AdminErrorCode, message: string, param?: string): AdminRefusal {
	return { kind: "refused", code, message, ...(param === undefined ? {} : { param }) };
}

export function statusOf(refusal: AdminRefusal): number {
	return STATUS[refusal.code];
}

export function errorBody({ code, message, param, problems }: AdminRefusal) {
	const redacted = problems?.map((problem) => ({ ...problem, message: redactTokens(problem.message) }));
	return {
		error: {
			code,
			message: redactTokens(message),
			param: param ?? null,
			...(redacted === undefined ? {} : { problems: redacted }),
		},
	};
}

/** `renamed`: fields whose name on the wire is another word. */
export function fromStore(refusal: WriteRefusal, renamed: Readonly<Record<string, string>> = {}): AdminRefusal {
	const { reason, message, field } = refusal;
	return refuse(reason, message, field === undefined ? undefined : (renamed[field] ?? snakeName(field)));
}
