/**
 * The admin plane over HTTP (design 02 §5): authenticates, reads, validates, runs one operation, answers. Bodies are JSON whatever their
 * Content-Type says. Nothing below `/v1/admin` is answered without the admin token, not even that a path does not exist.
 */
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import { InvalidCursorError } from "../../ports/page.ts";
import { StoreError } from "../../ports/store-error.ts";
import { AdminAccess } from "./admin-access.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, errorBody, refuse, statusOf } from "./admin-error.ts";
import { ADMIN_PREFIX, type AdminApi } from "./admin-plane.ts";
import { docsPage } from "./docs-page.ts";
import { openApiDocument } from "./openapi.ts";
import type { Operation } from "./operation.ts";
import { adminOperations } from "./operations.ts";
import { check, isRefusal } from "./validation.ts";

const BODY_LIMIT_BYTES = 20_000_000;
const MAX_PARAM_LENGTH = 1000;
/** Who acts, as the bearer of the admin token says; for the audit log. */
const ACTOR_HEADER = "x-tokligence-actor";
const ACTOR_FORM = /^[\w.:@-]{1,100}$/;

/** A server with nothing but the admin API. */
export function adminServer(context: AdminContext): FastifyInstance {
	const app = fastify({
		logger: false,
		bodyLimit: BODY_LIMIT_BYTES,
		routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
	}) as FastifyInstance;
	void app.register(async (scope) => serve(scope, context), { prefix: ADMIN_PREFIX });
	return app;
}

/** The admin API behind somebody else's listener. */
export async function adminApi(context: AdminContext): Promise<AdminApi> {
	const app = adminServer(context);
	await app.ready();
	return { handle: (request, response) => app.routing(request, response), close: () => app.close() };
}

function serve(scope: FastifyInstance, context: AdminContext): void {
	const access = new AdminAccess(context.adminToken);
	scope.addHook("onRequest", async (request, reply) => {
		void reply.header("cache-control", "no-store");
		const isPage = request.method === "GET" && /\/(docs|openapi\.json)$/.test(request.url.split("?")[0]!);
		const refusal = access.check(request.headers.authorization, isPage);
		if (refusal !== undefined) {
			void reply.header("www-authenticate", isPage ? 'Basic realm="admin token as password"' : "Bearer");
			return sendRefusal(reply, refusal);
		}
		request.raw.headers["content-type"] = "application/json";
		return undefined;
	});
	scope.removeAllContentTypeParsers();
	scope.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) => {
		if (body === "") return done(null, undefined);
		try {
			return done(null, JSON.parse(body as string));
		} catch {
			return done(new BodyError());
		}
	});
	scope.setErrorHandler((error, request, reply) => {
		const refusal = refusalOf(error);
		const operation = `${request.method} ${request.routeOptions.url ?? request.url}`;
		if (refusal.code === "internal" || refusal.code === "stores_unavailable") context.onError?.(error, operation);
		return sendRefusal(reply, refusal);
	});
	scope.setNotFoundHandler((request, reply) => sendRefusal(reply, notFound(request)));

	for (const operation of adminOperations) {
		scope.route({
			method: operation.method,
			url: operation.path.replaceAll(/\{(\w+)\}/g, ":$1"),
			handler: (request, reply) => run(context, operation, request, reply),
		});
	}
	const document = openApiDocument(adminOperations);
	scope.get("/openapi.json", () => document);
	const page = docsPage(adminOperations, document);
	scope.get("/docs", (_request, reply) =>
		reply
			.header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
			.type("text/html; charset=utf-8")
			.send(page),
	);
}

async function run(
	context: AdminContext,
	operation: Operation,
	request: FastifyRequest,
	reply: FastifyReply,
): Promise<FastifyReply> {
	const params = operation.params === undefined ? undefined : check(operation.params, request.params, "path");
	if (isRefusal(params)) return sendRefusal(reply, params);
	const query = operation.query === undefined ? undefined : check(operation.query, request.query, "query");
	if (isRefusal(query)) return sendRefusal(reply, query);
	const body = operation.body === undefined ? undefined : check(operation.body, request.body, "body");
	if (isRefusal(body)) return sendRefusal(reply, body);
	const result = await operation.handle(context, { params, query, body, actor: actorOf(request) });
	if (result.kind === "refused") return sendRefusal(reply, result);
	if (result.contentType !== undefined) void reply.type(result.contentType);
	return reply.code(operation.status ?? 200).send(result.body);
}

function actorOf(request: FastifyRequest): string {
	const actor = request.headers[ACTOR_HEADER];
	return typeof actor === "string" && ACTOR_FORM.test(actor) ? actor : "admin";
}

function sendRefusal(reply: FastifyReply, refusal: AdminRefusal): FastifyReply {
	return reply.code(statusOf(refusal)).send(errorBody(refusal));
}

class BodyError extends Error {}

function refusalOf(error: unknown): AdminRefusal {
	if (error instanceof BodyError) return refuse("invalid_request", "the body is not JSON", "body");
	if (error instanceof InvalidCursorError) return refuse("invalid_request", error.message, "cursor");
	if (error instanceof StoreError) {
		return refuse("stores_unavailable", `the store does not take this now (${error.kind}); nothing was changed`);
	}
	const status = (error as { readonly statusCode?: number } | undefined)?.statusCode;
	if (status === 413) return refuse("body_too_large", `the body is larger than ${BODY_LIMIT_BYTES} bytes`);
	if (status === 400) return refuse("invalid_request", "the request cannot be read");
	return refuse("internal", "something went wrong here; the log says what");
}

function notFound({ method, url }: FastifyRequest): AdminRefusal {
	const path = url.split("?")[0]!.slice(ADMIN_PREFIX.length);
	const others = adminOperations.filter((operation) => pathMatches(operation.path, path));
	if (others.length === 0) {
		return refuse("not_found", `${ADMIN_PREFIX}${path} is not served; ${ADMIN_PREFIX}/docs lists what is`);
	}
	const allowed = others.map((operation) => operation.method).join(", ");
	return refuse("method_not_allowed", `${method} is not served here; allowed: ${allowed}`);
}

function pathMatches(template: string, path: string): boolean {
	const wanted = template.split("/");
	const parts = path.split("/");
	return wanted.length === parts.length && wanted.every((part, i) => part.startsWith("{") || part === parts[i]);
}
