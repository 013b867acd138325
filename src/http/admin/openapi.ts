/** The OpenAPI document, made from the schemas that validate: it cannot say anything else than what is checked. */
import { z } from "zod";
import { ADMIN_PREFIX } from "./admin-plane.ts";
import type { Operation } from "./operation.ts";

type Json = Readonly<Record<string, unknown>>;

export function openApiDocument(operations: readonly Operation[]): Json {
	const paths: Record<string, Record<string, Json>> = {};
	for (const operation of operations) {
		const path = `${ADMIN_PREFIX}${operation.path}`;
		paths[path] = { ...paths[path], [operation.method.toLowerCase()]: describe(operation) };
	}
	return {
		openapi: "3.1.0",
		info: { title: "Tokligence Gateway admin API", version: "1" },
		security: [{ adminToken: [] }],
		paths,
		components: {
			securitySchemes: { adminToken: { type: "http", scheme: "bearer" } },
			schemas: {
				Error: schemaOf(
					z.object({
						error: z.object({ code: z.string(), message: z.string(), param: z.string().nullable() }),
					}),
					"output",
				),
			},
		},
	};
}

function describe(operation: Operation): Json {
	const { params, query, body, answer, status = 200 } = operation;
	const parameters = [...parametersIn("path", params), ...parametersIn("query", query)];
	const error = { description: "refused", content: jsonContent({ $ref: "#/components/schemas/Error" }) };
	return {
		summary: operation.summary,
		operationId: operationId(operation),
		tags: [operation.path.split("/")[1]],
		...(parameters.length === 0 ? {} : { parameters }),
		...(body === undefined
			? {}
			: {
					requestBody: { required: !body.safeParse(undefined).success, content: jsonContent(schemaOf(body, "input")) },
				}),
		responses: {
			[status]: { description: "done", content: jsonContent(schemaOf(answer, "output")) },
			default: error,
		},
	};
}

/** `get_tokens_token_id_usage`. */
function operationId({ method, path }: Operation): string {
	return `${method.toLowerCase()}${path.replaceAll(/[^a-z]+/g, "_").replace(/_$/, "")}`;
}

function jsonContent(schema: unknown): Json {
	return { "application/json": { schema } };
}

function parametersIn(place: "path" | "query", schema: z.ZodType | undefined): Json[] {
	if (schema === undefined) return [];
	const { properties = {}, required = [] } = schemaOf(schema, "input") as {
		properties?: Record<string, Json>;
		required?: string[];
	};
	return Object.entries(properties).map(([name, property]) => ({
		name,
		in: place,
		required: place === "path" || required.includes(name),
		schema: property,
	}));
}

function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
	const { $schema: _, ...json } = z.toJSONSchema(schema, { io });
	return json;
}
