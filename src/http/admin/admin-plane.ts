/**
 * The listener of the admin plane. Health and metrics are answered at once; the admin API (its router, schemas and documents cost half a
 * start and 30 MB) is loaded by its first call. Invariant: what waits for the loading is answered in full, its body unread until then.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AdminRefusal, errorBody, refuse, statusOf } from "./admin-error.ts";

export const ADMIN_PREFIX = "/v1/admin";

/** Longer than the 60 s of most scrapers, so that they keep their connection. */
const KEEP_ALIVE_MS = 72_000;

export interface PlainAnswer {
	readonly status: number;
	readonly type: string;
	readonly body: string;
}

export interface AdminPlaneParts {
	/** Answers of `GET` by path. */
	readonly pages: Readonly<Record<string, (request: IncomingMessage) => PlainAnswer>>;
	/** Called once, by the first request below `/v1/admin`. */
	readonly loadApi: () => Promise<AdminApi>;
	readonly onError: (error: unknown) => void;
}

export interface AdminApi {
	handle(request: IncomingMessage, response: ServerResponse): void;
	close(): Promise<void>;
}

export interface AdminPlane {
	readonly server: Server;
	/** Ends all connections. */
	close(): Promise<void>;
}

export function adminPlane(parts: AdminPlaneParts, tls?: { readonly cert: Buffer; readonly key: Buffer }): AdminPlane {
	let api: Promise<AdminApi> | undefined;
	const listener = (request: IncomingMessage, response: ServerResponse) => {
		const path = request.url?.split("?")[0] ?? "/";
		if (path === ADMIN_PREFIX || path.startsWith(`${ADMIN_PREFIX}/`)) {
			api ??= parts.loadApi();
			api.then(
				({ handle }) => handle(request, response),
				(error: unknown) => {
					api = undefined;
					parts.onError(error);
					send(response, refusalAnswer(refuse("internal", "something went wrong here; the log says what")));
				},
			);
			return;
		}
		request.resume();
		const page = Object.hasOwn(parts.pages, path) ? parts.pages[path] : undefined;
		if (page === undefined) {
			const known = [...Object.keys(parts.pages), ADMIN_PREFIX].join(", ");
			send(response, refusalAnswer(refuse("not_found", `this path is not served; served are ${known}`)));
		} else if (request.method !== "GET" && request.method !== "HEAD") {
			send(response, refusalAnswer(refuse("method_not_allowed", `${request.method} is not served here; allowed: GET`)));
		} else send(response, page(request));
	};
	const server = tls === undefined ? createServer(listener) : createHttpsServer({ ...tls }, listener);
	server.keepAliveTimeout = KEEP_ALIVE_MS;
	return {
		server,
		close: async () => {
			const closed = new Promise<void>((resolve) => server.close(() => resolve()));
			server.closeAllConnections();
			await closed;
			await (await api?.catch(() => undefined))?.close();
		},
	};
}

export function refusalAnswer(refusal: AdminRefusal): PlainAnswer {
	return jsonAnswer(statusOf(refusal), errorBody(refusal));
}

export function jsonAnswer(status: number, body: unknown): PlainAnswer {
	return { status, type: "application/json; charset=utf-8", body: JSON.stringify(body) };
}

function send(response: ServerResponse, { status, type, body }: PlainAnswer): void {
	response
		.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": "no-store" })
		.end(body);
}
