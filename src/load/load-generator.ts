/**
 * Open-loop load over HTTP: every request starts at its time, whether or not the ones before have come back, so that a slow server
 * cannot slow its own load down (Schroeder et al., "Open versus closed", NSDI 2006).
 *
 * Works for both dialects, streaming or not, at little CPU: no event is parsed while it streams. The first token is found by a byte
 * search for a delta, usage and errors in the last bytes of the body.
 *
 * Bounded: at most `maxInFlight` at a time; what would exceed it is not sent and reported as `not_sent`. Units: milliseconds.
 */
import { performance } from "node:perf_hooks";
import { type Dispatcher, Pool } from "undici";
import type { Millis, Tokens } from "../core/model/units.ts";

export interface LoadRequest {
	/** After the start of the run; requests come in this order. */
	readonly atMs: Millis;
	/** Any word; results are grouped by it. */
	readonly tier: string;
	/** `/v1/chat/completions`, `/v1/messages`, … */
	readonly path: string;
	readonly body: string;
	readonly headers?: Readonly<Record<string, string>>;
	/** The client leaves after that long. */
	readonly abortAfterMs?: Millis;
}

export interface LoadResult {
	readonly tier: string;
	/** After the start of the run: when it was due. Times below count from here. */
	readonly atMs: Millis;
	/** 0 when no response came. */
	readonly status: number;
	/** Until the first token of a stream, or the first byte of any other response; NaN when there was none. */
	readonly ttftMs: Millis;
	readonly totalMs: Millis;
	/** 0 when the response did not say. */
	readonly promptTokens: Tokens;
	readonly completionTokens: Tokens;
	/** The error's code or type, `cut` for a stream without its end, a socket error's code, `not_sent`; absent on success. */
	readonly errorCode?: string;
	readonly aborted: boolean;
	readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface LoadOptions {
	readonly baseUrl: string;
	/** In order of `atMs`; may be endless when `signal` ends the run. */
	readonly requests: Iterable<LoadRequest>;
	readonly onResult: (result: LoadResult) => void;
	/** As each request goes out; not for those reported as `not_sent`. */
	readonly onSend?: (request: LoadRequest) => void;
	/** The first token of a stream (or first byte of any other response), as it comes; `ttftMs` counts from when the request was due. */
	readonly onFirstToken?: (request: LoadRequest, ttftMs: Millis) => void;
	readonly maxInFlight?: number;
	/** Stops sending and aborts what runs. */
	readonly signal?: AbortSignal;
}

export interface LoadSummary {
	readonly sent: number;
	readonly notSent: number;
	readonly elapsedMs: Millis;
}

const DEFAULT_MAX_IN_FLIGHT = 2000;
/** Room for a usage chunk and the terminator, or for an error body. */
const TAIL_BYTES = 4096;
const DELTA = Buffer.from('"delta":{');
const COMPLETION_TEXT = Buffer.from('"text":"');

/** Resolves when every request has come back. */
export function generateLoad(options: LoadOptions): Promise<LoadSummary> {
	return new LoadRun(options).run();
}

class LoadRun {
	readonly #options: LoadOptions;
	readonly #pool: Pool;
	readonly #iterator: Iterator<LoadRequest>;
	readonly #maxInFlight: number;
	readonly #running = new Set<Exchange>();
	#startedAt = 0;
	#next: LoadRequest | undefined;
	#timer: NodeJS.Timeout | undefined;
	#sent = 0;
	#notSent = 0;
	#resolve: (() => void) | undefined;

	constructor(options: LoadOptions) {
		this.#options = options;
		this.#iterator = options.requests[Symbol.iterator]();
		this.#maxInFlight = options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT;
		this.#pool = new Pool(options.baseUrl, {
			connections: this.#maxInFlight,
			pipelining: 1,
			headersTimeout: 0,
			bodyTimeout: 0,
			keepAliveTimeout: 4000,
		});
	}

	async run(): Promise<LoadSummary> {
		const { signal } = this.#options;
		this.#startedAt = performance.now();
		this.#take();
		await new Promise<void>((resolve) => {
			this.#resolve = resolve;
			signal?.addEventListener("abort", this.#abort, { once: true });
			if (signal?.aborted === true) this.#abort();
			else this.#sendDue();
		});
		signal?.removeEventListener("abort", this.#abort);
		const elapsedMs = performance.now() - this.#startedAt;
		await this.#pool.destroy();
		return { sent: this.#sent, notSent: this.#notSent, elapsedMs };
	}

	#take(): void {
		const { done, value } = this.#iterator.next();
		this.#next = done === true ? undefined : value;
	}

	readonly #sendDue = (): void => {
		this.#timer = undefined;
		for (let now = this.#elapsed(); this.#next !== undefined && this.#next.atMs <= now; now = this.#elapsed()) {
			this.#send(this.#next);
			this.#take();
		}
		if (this.#next !== undefined)
			this.#timer = setTimeout(this.#sendDue, Math.max(0, this.#next.atMs - this.#elapsed()));
		this.#endIfDone();
	};

	#send(request: LoadRequest): void {
		if (this.#running.size >= this.#maxInFlight) {
			this.#notSent++;
			this.#options.onResult({
				tier: request.tier,
				atMs: request.atMs,
				status: 0,
				ttftMs: Number.NaN,
				totalMs: 0,
				promptTokens: 0,
				completionTokens: 0,
				errorCode: "not_sent",
				aborted: false,
				headers: {},
			});
			return;
		}
		this.#sent++;
		this.#options.onSend?.(request);
		const report = (result: LoadResult) => {
			this.#running.delete(exchange);
			this.#options.onResult(result);
			this.#endIfDone();
		};
		const exchange = new Exchange(request, this.#startedAt + request.atMs, report, this.#options.onFirstToken);
		this.#running.add(exchange);
		exchange.start(this.#pool);
	}

	readonly #abort = (): void => {
		clearTimeout(this.#timer);
		this.#timer = undefined;
		this.#next = undefined;
		for (const exchange of [...this.#running]) exchange.abort();
		this.#endIfDone();
	};

	#endIfDone(): void {
		if (this.#next === undefined && this.#running.size === 0) this.#resolve?.();
	}

	#elapsed(): Millis {
		return performance.now() - this.#startedAt;
	}
}

/** One request and its response. */
class Exchange implements Dispatcher.DispatchHandler {
	readonly #request: LoadRequest;
	readonly #dueAt: number;
	readonly #report: (result: LoadResult) => void;
	readonly #onFirstToken: LoadOptions["onFirstToken"];
	#controller: Dispatcher.DispatchController | undefined;
	#timer: NodeJS.Timeout | undefined;
	#status = 0;
	#headers: LoadResult["headers"] = {};
	#streams = false;
	#firstTokenAt = Number.NaN;
	/** The last bytes of the body: at least TAIL_BYTES of them once there were as many. */
	readonly #tail = Buffer.allocUnsafe(2 * TAIL_BYTES);
	#tailLength = 0;
	#aborted = false;
	#done = false;

	constructor(
		request: LoadRequest,
		dueAt: number,
		report: (result: LoadResult) => void,
		onFirstToken: LoadOptions["onFirstToken"],
	) {
		this.#onFirstToken = onFirstToken;
		this.#request = request;
		this.#dueAt = dueAt;
		this.#report = report;
	}

	start(pool: Pool): void {
		const { path, body, headers, abortAfterMs } = this.#request;
		if (abortAfterMs !== undefined) this.#timer = setTimeout(() => this.abort(), abortAfterMs);
		pool.dispatch({ path, method: "POST", body, headers: { "content-type": "application/json", ...headers } }, this);
	}

	/** The client leaves. */
	abort(): void {
		if (this.#done) return;
		this.#aborted = true;
		if (this.#controller === undefined) this.#end("aborted");
		else this.#controller.abort(new Error("the client left"));
	}

	onRequestStart(controller: Dispatcher.DispatchController): void {
		this.#controller = controller;
		if (this.#aborted) controller.abort(new Error("the client left"));
	}

	onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: LoadResult["headers"]): void {
		this.#status = status;
		this.#headers = headers;
		this.#streams = String(headers["content-type"]).startsWith("text/event-stream");
	}

	onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
		if (Number.isNaN(this.#firstTokenAt) && this.#showsToken(chunk)) {
			this.#firstTokenAt = performance.now();
			if (this.#status < 400) this.#onFirstToken?.(this.#request, this.#firstTokenAt - this.#dueAt);
		}
		this.#keepTail(chunk.length > TAIL_BYTES ? chunk.subarray(-TAIL_BYTES) : chunk);
	}

	#keepTail(chunk: Buffer): void {
		if (this.#tailLength + chunk.length > this.#tail.length) {
			this.#tail.copyWithin(0, this.#tailLength - TAIL_BYTES, this.#tailLength);
			this.#tailLength = TAIL_BYTES;
		}
		chunk.copy(this.#tail, this.#tailLength);
		this.#tailLength += chunk.length;
	}

	onResponseEnd(): void {
		const tail = this.#tail.toString("utf8", 0, this.#tailLength);
		if (this.#status >= 400) this.#end(errorCodeOf(tail) ?? `status_${this.#status}`);
		else if (!this.#streams) this.#end(undefined);
		else if (tail.includes("event: error\n") || tail.includes('data: {"error"'))
			this.#end(errorCodeOf(tail) ?? "error");
		else if (tail.includes("data: [DONE]") || tail.includes('"message_stop"')) this.#end(undefined);
		else this.#end("cut");
	}

	onResponseError(
		_controller: Dispatcher.DispatchController | undefined,
		error: Error & { readonly code?: string },
	): void {
		this.#end(this.#aborted ? "aborted" : (error.code ?? error.name));
	}

	#showsToken(chunk: Buffer): boolean {
		return !this.#streams || chunk.includes(DELTA) || chunk.includes(COMPLETION_TEXT);
	}

	#end(errorCode: string | undefined): void {
		if (this.#done) return;
		this.#done = true;
		clearTimeout(this.#timer);
		const tail = this.#tail.toString("utf8", 0, this.#tailLength);
		this.#report({
			tier: this.#request.tier,
			atMs: this.#request.atMs,
			status: this.#status,
			ttftMs: this.#firstTokenAt - this.#dueAt,
			totalMs: performance.now() - this.#dueAt,
			promptTokens: lastCount(tail, /"(?:prompt|input)_tokens":\s*(\d+)/g),
			completionTokens: lastCount(tail, /"(?:completion|output)_tokens":\s*(\d+)/g),
			...(errorCode !== undefined && { errorCode }),
			aborted: this.#aborted,
			headers: this.#headers,
		});
	}
}

function lastCount(text: string, pattern: RegExp): Tokens {
	let count = 0;
	for (const match of text.matchAll(pattern)) count = Number(match[1]);
	return count;
}

/** `error.code` as a word, else the type. */
function errorCodeOf(text: string): string | undefined {
	const error = text.slice(Math.max(0, text.lastIndexOf('"error"')));
	return /"code":\s*"([^"]+)"/.exec(error)?.[1] ?? /"type":\s*"([^"]+)"/.exec(error)?.[1];
}
