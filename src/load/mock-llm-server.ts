/**
 * An LLM server without a model: the engine model in real or scaled time behind the wire forms of OpenAI and Anthropic, for the
 * demo, the benchmark and tests.
 *
 * Routes: `/v1/chat/completions` `/v1/completions` `/v1/embeddings` `/v1/models` `/v1/messages` `/v1/messages/count_tokens`,
 * `/health`, `/metrics` (vLLM's names), `/mock/ledger[?request_id=…]`. Headers for tests: `x-mock-output-tokens: N` (where the
 * model would end by itself), `x-mock-tool-call: 1`, `x-mock-fault: SPEC` (mock-fault.ts).
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { performance } from "node:perf_hooks";
import type { EngineTotals } from "../simulate/engine-model.ts";
import type { EngineProfile } from "../simulate/engine-profiles.ts";
import { ENGINE_PROFILES } from "../simulate/engine-profiles.ts";
import { Random } from "../simulate/random.ts";
import { MockEngine } from "./mock-engine.ts";
import { errorBody, overloadEvent } from "./mock-error.ts";
import type { Fault } from "./mock-fault.ts";
import { NO_FAULT, parseFault } from "./mock-fault.ts";
import { Generation } from "./mock-generation.ts";
import type { LedgerReport } from "./mock-ledger.ts";
import { MockLedger } from "./mock-ledger.ts";
import { MockMetrics } from "./mock-metrics.ts";
import type { MockOperation, MockRequest } from "./mock-request.ts";
import { readMockRequest } from "./mock-request.ts";
import { wireOf } from "./mock-wire.ts";

export interface MockLlmOptions {
	readonly profile?: EngineProfile;
	/** 0 (default): any free one. */
	readonly port?: number;
	readonly host?: string;
	readonly seed?: number;
	/** 10 makes every step ten times as short. */
	readonly speed?: number;
	/** What `/v1/models` lists. Any other model is refused when given, served when not. */
	readonly models?: readonly string[];
	readonly fault?: Fault;
	/** Share of the requests that suffer `fault`; default all. */
	readonly faultRate?: number;
}

export interface EngineState {
	readonly running: number;
	readonly waiting: number;
	readonly kvUsed: number;
	readonly totals: EngineTotals;
}

export interface MockLlm {
	readonly url: string;
	readonly port: number;
	ledger(requestId?: string): LedgerReport;
	engine(): EngineState;
	/** Breaks what is running and frees the port. */
	close(): Promise<void>;
}

interface MockRefusal {
	readonly status: number;
	readonly message: string;
	readonly param?: string | null;
}

const NOT_FOUND: MockRefusal = { status: 404, message: "Not Found" };

const OPERATIONS: Readonly<Record<string, MockOperation>> = {
	"/v1/chat/completions": "chat",
	"/v1/completions": "completion",
	"/v1/embeddings": "embedding",
	"/v1/messages": "message",
	"/v1/messages/count_tokens": "count_tokens",
};

const DEFAULT_MODEL = "mock-model";
const MAX_BODY_BYTES = 128 * 1024 * 1024;
/** Below what clients keep idle connections for, as uvicorn's 5 s. */
const KEEP_ALIVE_MS = 5000;

/** Starts a mock LLM in this process; resolves when it listens. */
export async function startMockLlm(options: MockLlmOptions = {}): Promise<MockLlm> {
	const service = new MockLlmService(options);
	const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 }, (request, response) =>
		service.handle(request, response),
	);
	const host = options.host ?? "127.0.0.1";
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen(options.port ?? 0, host, () => {
			server.off("error", reject);
			resolve();
		});
	});
	const { port } = server.address() as AddressInfo;
	return {
		url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
		port,
		ledger: (requestId) => service.ledger.report(requestId),
		engine: () => {
			const { running, waiting, kvUsed, totals } = service.engine.model;
			return { running, waiting, kvUsed, totals };
		},
		close: () =>
			new Promise<void>((resolve, reject) => {
				service.engine.close();
				server.close((error) => (error === undefined ? resolve() : reject(error)));
				server.closeAllConnections();
			}),
	};
}

class MockLlmService {
	readonly engine: MockEngine;
	readonly ledger = new MockLedger();
	readonly #metrics = new MockMetrics();
	readonly #options: MockLlmOptions;
	readonly #maxModelLength: number;
	readonly #random: Random;
	readonly #createdSeconds = Math.floor(Date.now() / 1000);
	#requestCount = 0;

	constructor(options: MockLlmOptions) {
		const profile = options.profile ?? ENGINE_PROFILES["a100-8b"];
		this.#options = options;
		this.engine = new MockEngine(profile, options.speed ?? 1);
		this.#maxModelLength = profile.admission === "peak_future" ? profile.kvTokens - 1 : profile.kvTokens;
		this.#random = new Random(options.seed ?? 1);
	}

	handle(request: IncomingMessage, response: ServerResponse): void {
		const [path = "/", query = ""] = (request.url ?? "/").split("?", 2);
		const operation = Object.hasOwn(OPERATIONS, path) ? OPERATIONS[path] : undefined;
		if (operation !== undefined && request.method === "POST") {
			this.#receive(request, response, path, operation);
			return;
		}
		request.resume();
		if (operation !== undefined) refuse(response, path, { status: 405, message: "Method Not Allowed" });
		else if (request.method !== "GET" && request.method !== "HEAD") refuse(response, path, NOT_FOUND);
		else this.#look(response, path, new URLSearchParams(query));
	}

	#look(response: ServerResponse, path: string, query: URLSearchParams): void {
		const { models } = this.#options;
		switch (path) {
			case "/v1/models":
				send(response, 200, JSON.stringify({ object: "list", data: this.#models() }));
				break;
			case "/health":
				send(response, 200, "", "text/plain");
				break;
			case "/metrics": {
				const text = this.#metrics.text(this.engine, models?.[0] ?? DEFAULT_MODEL);
				send(response, 200, text, "text/plain; version=0.0.4; charset=utf-8");
				break;
			}
			case "/mock/ledger":
				send(response, 200, JSON.stringify(this.ledger.report(query.get("request_id") ?? undefined)));
				break;
			default:
				refuse(response, path, NOT_FOUND);
		}
	}

	#receive(request: IncomingMessage, response: ServerResponse, path: string, operation: MockOperation): void {
		const chunks: Buffer[] = [];
		let bytes = 0;
		request.on("data", (chunk: Buffer) => {
			bytes += chunk.length;
			if (bytes <= MAX_BODY_BYTES) chunks.push(chunk);
			else if (!response.headersSent) {
				response.setHeader("connection", "close");
				refuse(response, path, { status: 413, message: `the body is larger than ${MAX_BODY_BYTES} bytes` });
			}
		});
		request.on("error", () => response.destroy());
		request.on("end", () => {
			if (response.headersSent) return;
			this.#answer(request, response, path, operation, Buffer.concat(chunks));
		});
	}

	#answer(
		incoming: IncomingMessage,
		response: ServerResponse,
		path: string,
		operation: MockOperation,
		bytes: Buffer,
	): void {
		const arrivedAtMs = performance.now();
		const header = (name: string): string | undefined => {
			const value = incoming.headers[name];
			return typeof value === "string" ? value : undefined;
		};
		const examined = this.#examine(operation, bytes, header);
		if ("status" in examined) {
			refuse(response, path, examined);
			return;
		}
		const { request, fault } = examined;
		if (operation === "count_tokens") {
			send(response, 200, JSON.stringify({ input_tokens: request.promptTokens }));
			return;
		}
		this.#requestCount++;
		const requestId = header("x-request-id") ?? `mock-${this.#requestCount}`;
		const entry = this.ledger.open(requestId, path, request.model, request.stream);
		const generate = (): void => {
			if (response.destroyed) return;
			if (this.#struck(fault, response, path, request.stream)) {
				this.ledger.settle(entry, "failed");
				return;
			}
			const wire = wireOf({
				requestId,
				createdSeconds: Math.floor(Date.now() / 1000),
				request,
				withUsage: fault.noUsage !== true,
				withTerminator: fault.noDone !== true,
			});
			const { engine, ledger } = this;
			const metrics = this.#metrics;
			new Generation({ response, request, wire, fault, engine, ledger, entry, metrics, arrivedAtMs }).start();
		};
		if (fault.firstByteDelayMs === undefined) {
			generate();
			return;
		}
		const timer = setTimeout(generate, fault.firstByteDelayMs);
		response.once("close", () => {
			clearTimeout(timer);
			this.ledger.settle(entry, "aborted");
		});
	}

	#examine(
		operation: MockOperation,
		bytes: Buffer,
		header: (name: string) => string | undefined,
	): { readonly request: MockRequest; readonly fault: Fault } | MockRefusal {
		let body: unknown;
		try {
			body = JSON.parse(bytes.toString("utf8"));
		} catch (error) {
			return { status: 400, message: `the body is not JSON: ${(error as Error).message}` };
		}
		const seed = this.#options.seed ?? 1;
		const request = readMockRequest(operation, body, { seed, maxModelLength: this.#maxModelLength, header });
		if ("problem" in request) return { status: 400, message: request.problem, param: request.param };
		const { models } = this.#options;
		if (models !== undefined && !models.includes(request.model)) {
			return { status: 404, message: `The model \`${request.model}\` does not exist.`, param: "model" };
		}
		const fault = this.#faultOf(header("x-mock-fault"));
		if (typeof fault === "string") return { status: 400, message: fault, param: "x-mock-fault" };
		if (operation === "count_tokens") return { request, fault };
		const { model } = this.engine;
		const unfit = request.sequences.find((one) => !model.fits(one.promptTokens, Math.max(1, one.outputTokens)));
		if (unfit === undefined) return { request, fault };
		const message = `a prompt of ${unfit.promptTokens} tokens does not fit on ${model.profile.name}`;
		return { status: 400, message, param: "input_tokens" };
	}

	/** The faults that answer in place of the engine. */
	#struck(fault: Fault, response: ServerResponse, path: string, stream: boolean): boolean {
		const anthropic = isAnthropic(path);
		if (fault.status !== undefined) {
			if (fault.status === 429 || fault.status === 503) response.setHeader("retry-after", "1");
			refuse(response, path, { status: fault.status, message: `injected fault: status ${fault.status}` });
			return true;
		}
		if (fault.overload200 !== undefined) {
			if (stream) send(response, 200, overloadEvent(anthropic, fault.overload200), "text/event-stream; charset=utf-8");
			else {
				const status = fault.overload200 === "tgi" ? 429 : 503;
				refuse(response, path, { status, message: "The request queue is full." });
			}
			return true;
		}
		if (fault.garbage === true) {
			const bytes = Buffer.from(Array.from({ length: 256 }, () => this.#random.integer(0, 255)));
			response.writeHead(200, { "content-type": stream ? "text/event-stream; charset=utf-8" : "application/json" });
			response.end(Buffer.concat([Buffer.from('data: {"choices":[{]\n\n'), bytes]));
			return true;
		}
		return false;
	}

	#faultOf(specification: string | undefined): Fault | string {
		if (specification !== undefined) return parseFault(specification);
		const { fault, faultRate = 1 } = this.#options;
		return fault !== undefined && this.#random.chance(faultRate) ? fault : NO_FAULT;
	}

	#models(): object[] {
		return (this.#options.models ?? [DEFAULT_MODEL]).map((id) => ({
			id,
			object: "model",
			created: this.#createdSeconds,
			owned_by: "tokligence-mock",
			root: id,
			parent: null,
			max_model_len: this.#maxModelLength,
		}));
	}
}

function isAnthropic(path: string): boolean {
	return path.startsWith("/v1/messages");
}

function refuse(response: ServerResponse, path: string, { status, message, param = null }: MockRefusal): void {
	send(response, status, errorBody(isAnthropic(path), status, message, param));
}

function send(response: ServerResponse, status: number, body: string, type = "application/json"): void {
	response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
	response.end(body);
}
