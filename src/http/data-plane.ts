/**
 * What all exchanges of the data plane share, and the way in: which path, whether the process still takes requests. One `Exchange` per
 * request does the rest.
 */

import { randomBytes } from "node:crypto";
import {
	createServer,
	type IncomingMessage,
	type RequestListener as NodeListener,
	type Server,
	type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Arrival, Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { Refusal } from "../core/model/error-code.ts";
import type { Millis, NanoDollars } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { Engine } from "../engine/engine.ts";
import type { QuotaService } from "../engine/quota-service.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import type { WindowKeeper } from "../engine/window-keeper.ts";
import type { Upstreams } from "../ports/upstream.ts";
import { dataPath, dialectForPath } from "../protocol/dialects.ts";
import type { CapacityHold } from "./capacity-hold.ts";
import type { Classifier } from "./classifier.ts";
import { sendError } from "./error-response.ts";
import { Exchange } from "./exchange.ts";
import type { Journal, LedgerRowOf } from "./journal-row.ts";
import type { LiveExchanges } from "./live-exchanges.ts";
import { listModels } from "./models.ts";
import type { BodyLimits } from "./request-body.ts";

export interface DataPlaneSettings {
	readonly body: BodyLimits;
	readonly headerTimeoutMs: Millis;
	readonly streamHoldMs: Millis;
	readonly passthroughPaths: readonly string[];
	readonly engines: readonly {
		readonly idleTimeoutMs: Millis | undefined;
		readonly firstByteTimeoutMs: Millis | undefined;
		/** What the engine is told of the scheduler's order. */
		readonly enginePriority: "off" | "level" | "share";
		/** Whole answers are fetched as streams and put together. */
		readonly forceStream: boolean;
	}[];
}

/** Told once per request that ended, however it ended. */
export interface ExchangeRecord {
	readonly requestId: string;
	readonly queue: number;
	readonly outcome: string;
	readonly status: number;
	readonly code: string | undefined;
	readonly waitMs: Millis;
	readonly ttftMs: Millis | undefined;
	readonly durationMs: Millis;
	readonly usage: Usage | undefined;
	readonly accountId: string | undefined;
	readonly model: string | undefined;
	/** Of a request that was admitted. */
	readonly arrival: Arrival | undefined;
	/** Where it ran last; 0 when it never did. */
	readonly pool: number;
}

export interface DataPlane {
	/** A reload replaces it, the classifier and the prices: each request uses what it finds. */
	settings: DataPlaneSettings;
	readonly engine: Engine;
	readonly lifecycle: Lifecycle;
	classifier: Classifier;
	readonly upstreams: Upstreams;
	readonly journal: Journal;
	/** Of the providers' pools; the core's halves of one are its number modulo their count. */
	readonly poolNames: readonly string[];
	priceOf: (model: string, usage: Usage) => NanoDollars;
	/** Told of every request that was allocated; absent without `shadow_allocator`. */
	readonly shadow?: (arrival: Arrival) => void;
	/** Absent when `[time_windows] enabled = false`. */
	readonly windows?: WindowKeeper;
	/** Absent when `[quotas] enabled = false`. */
	readonly quotas?: QuotaService;
	/** Absent when `[quotas] enabled = false`. */
	readonly rates?: RateGate;
	readonly onEnd: (record: ExchangeRecord) => void;
	/** Told of an exception that should not have been. */
	readonly onBug: (error: unknown, requestId: string) => void;
	readonly exchanges: LiveExchanges;
	/** Requests per token that wait or run. */
	readonly tokenUse: Map<string, number>;
	/** Requests that wait for the capacity guard; absent when it never makes any wait. */
	readonly hold?: CapacityHold;
	draining: boolean;
	/**
	 * Tenths of retries allowed at the moment: every request adds one, up to a hundred, a retry takes ten. It begins with nine, so that
	 * the first request may be sent again and attempts stay within 1.1 × requests from the start.
	 */
	retryTenths: number;
}

export type { LedgerRowOf };

/** How long a client that sends garbage may go on, so that it can read the answer. */
const LINGER_MS: Millis = 1000;

let counter = 0;
const PROCESS = randomBytes(6).toString("hex");

/** Unique for good: time, process, counter. */
export function newRequestId(): string {
	counter = (counter + 1) % 2 ** 32;
	return `req_${Date.now().toString(36)}${PROCESS}${counter.toString(36)}`;
}

/** @param tls certificate and key (PEM): it then speaks HTTPS */
export function dataPlaneServer(plane: DataPlane, tls?: { readonly cert: Buffer; readonly key: Buffer }): Server {
	const options = {
		headersTimeout: plane.settings.headerTimeoutMs,
		// Slow bodies are seen by who reads them.
		requestTimeout: 0,
		connectionsCheckingInterval: Math.min(1000, plane.settings.headerTimeoutMs),
		keepAliveTimeout: 60_000,
		noDelay: true,
	};
	const handler = handlerOf(plane);
	const server: Server =
		tls === undefined ? createServer(options, handler) : createHttpsServer({ ...options, ...tls }, handler);
	server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
		// While an answer is under way on this connection, text of ours would end up in the middle of it.
		const answering = ((socket as { _httpMessage?: unknown })._httpMessage ?? null) !== null;
		if (!socket.writable || error.code === "ECONNRESET" || answering) {
			socket.destroy();
			return;
		}
		const status =
			error.code === "HPE_HEADER_OVERFLOW"
				? "431 Request Header Fields Too Large"
				: error.code === "ERR_HTTP_REQUEST_TIMEOUT"
					? "408 Request Timeout"
					: "400 Bad Request";
		const code = status.startsWith("431")
			? "headers_too_large"
			: status.startsWith("408")
				? "request_timeout"
				: "invalid_request";
		const body = JSON.stringify({
			error: {
				message: `not a readable HTTP request (${error.code ?? "malformed"})`,
				type: "invalid_request_error",
				code,
				param: null,
			},
		});
		socket.end(
			`HTTP/1.1 ${status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
		);
		// closing with unread bytes would reset the connection, and the answer with it
		socket.resume();
		setTimeout(() => socket.destroy(), LINGER_MS).unref();
	});
	return server;
}

function handlerOf(plane: DataPlane): NodeListener {
	return (request: IncomingMessage, response: ServerResponse) => {
		const url = request.url ?? "/";
		const query = url.indexOf("?");
		const path = query < 0 ? url : url.slice(0, query);
		const dialect = dialectForPath(path);
		const requestId = newRequestId();
		const refuse = (refusal: Refusal) => {
			request.resume();
			sendError(response, dialect, refusal, requestId);
		};
		const found = dataPath(path);
		const known = found !== undefined || plane.settings.passthroughPaths.includes(path);
		if (path === "/v1/models" || path.startsWith("/v1/models/")) {
			if (request.method !== "GET") refuse(wrongMethod(request.method, path, "GET"));
			else listModels(plane, request, response, path, requestId);
		} else if (!known) {
			refuse({
				code: "not_found",
				message: `path ${JSON.stringify(path.slice(0, 200))} is not served here`,
				retryable: false,
			});
		} else if (request.method !== "POST") {
			refuse(wrongMethod(request.method, path, "POST"));
		} else if (plane.draining) {
			refuse({ code: "draining", message: "this gateway is shutting down", retryAfterMs: 1000 });
		} else {
			new Exchange(plane, request, response, { path, url, dialect, requestId }).start();
		}
	};
}

function wrongMethod(method: string | undefined, path: string, allowed: string): Refusal {
	return {
		code: "method_not_allowed",
		message: `${method} ${path} is not served; allowed: ${allowed}`,
		retryable: false,
	};
}
