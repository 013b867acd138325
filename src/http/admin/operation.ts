/**
 * One operation of the admin API: the schemas that check what comes in are the ones its documentation is made from. Handlers answer
 * with values; a refusal is one of them.
 */
import { z } from "zod";
import { MAX_PAGE_LIMIT, type PageRequest } from "../../ports/page.ts";
import type { AdminContext } from "./admin-context.ts";
import type { AdminRefusal } from "./admin-error.ts";

export interface Answer {
	readonly kind: "answer";
	readonly body: unknown;
	/** When it is not JSON. */
	readonly contentType?: string;
}

export interface OperationInput<P, Q, B> {
	readonly params: P;
	readonly query: Q;
	readonly body: B;
	/** Who does it, for the audit log. */
	readonly actor: string;
}

export interface OperationShape<P, Q, B> {
	readonly method: "GET" | "POST" | "PATCH" | "DELETE";
	/** Below `/v1/admin`, as OpenAPI writes it: `/tokens/{token_id}`. */
	readonly path: string;
	readonly summary: string;
	readonly params?: z.ZodType<P>;
	readonly query?: z.ZodType<Q>;
	readonly body?: z.ZodType<B>;
	/** Of success (200). */
	readonly status?: number;
	readonly answer: z.ZodType;
}

export interface Operation extends OperationShape<unknown, unknown, unknown> {
	handle(
		context: AdminContext,
		input: OperationInput<unknown, unknown, unknown>,
	): Promise<Answer | AdminRefusal> | Answer | AdminRefusal;
}

export function operation<P = undefined, Q = undefined, B = undefined>(
	shape: OperationShape<P, Q, B>,
	handle: (
		context: AdminContext,
		input: OperationInput<P, Q, B>,
	) => Promise<Answer | AdminRefusal> | Answer | AdminRefusal,
): Operation {
	return { ...shape, handle } as Operation;
}

export function answer(body: unknown, contentType?: string): Answer {
	return { kind: "answer", body, ...(contentType === undefined ? {} : { contentType }) };
}

/** Query fields that every list takes. */
export const pageQuery = {
	limit: z.coerce.number().int().min(1).max(MAX_PAGE_LIMIT).optional().describe("items of a page (100)"),
	cursor: z.string().max(1000).optional().describe("next_cursor of the page before"),
};

export function pageOf(query: {
	readonly limit?: number | undefined;
	readonly cursor?: string | undefined;
}): PageRequest {
	return {
		...(query.limit === undefined ? {} : { limit: query.limit }),
		...(query.cursor === undefined ? {} : { cursor: query.cursor }),
	};
}

export function listAnswer(plural: string, item: z.ZodType): z.ZodType {
	return z.object({ [plural]: z.array(item), count: z.number().int(), next_cursor: z.string().nullable() });
}
