/**
 * Connections to one endpoint of a provider: one undici pool, and what a forwarded request reports back.
 *
 * Low-level `dispatch`: no streams, no header objects, back-pressure through the controller. Time-outs are the caller's (an
 * engine's queue counts as silence); idle connections are dropped before the engine does it. Retries are decided above.
 */
import { type Dispatcher, Pool } from "undici";
import type { Millis } from "../core/model/units.ts";
import type { UpstreamAnswer, UpstreamCall, UpstreamListener } from "../ports/upstream.ts";

export interface UpstreamOptions {
	readonly connectTimeoutMs: Millis;
	readonly keepAliveMs: Millis;
}

export class Upstream {
	readonly origin: string;
	readonly #basePath: string;
	readonly #pool: Pool;

	/** @param endpoint base URL; a path in it is kept before the request's path, but for a last `/v1`, which every request brings itself */
	constructor(endpoint: string, options: UpstreamOptions) {
		const url = new URL(endpoint);
		this.origin = url.origin;
		this.#basePath = url.pathname.replace(/\/+$/, "").replace(/\/v1$/, "");
		this.#pool = new Pool(url.origin, {
			connections: null,
			pipelining: 1,
			headersTimeout: 0,
			bodyTimeout: 0,
			keepAliveTimeout: options.keepAliveMs,
			keepAliveMaxTimeout: options.keepAliveMs,
			connectTimeout: options.connectTimeoutMs,
			allowH2: false,
		});
	}

	/** Forwards a request; `headers` alternate name and value. `reuse`: whether its connection may serve another one afterwards. */
	forward(path: string, headers: string[], body: Uint8Array, reuse: boolean, listener: UpstreamListener): UpstreamCall {
		const call = new Call(listener);
		const request = { path: this.#basePath + path, method: "POST", headers, body } as const;
		this.#pool.dispatch(reuse ? request : { ...request, reset: true }, call);
		return call;
	}

	/** A small request answered whole, for health and models; rejects on failure or after `timeoutMs`. */
	async get(path: string, headers: Record<string, string>, timeoutMs: Millis): Promise<UpstreamAnswer> {
		const response = await this.#pool.request({
			path: this.#basePath + path,
			method: "GET",
			headers,
			signal: AbortSignal.timeout(timeoutMs),
		});
		return { status: response.statusCode, headers: response.headers, text: await response.body.text() };
	}

	close(): Promise<void> {
		return this.#pool.destroy();
	}
}

class Call implements Dispatcher.DispatchHandler, UpstreamCall {
	readonly #listener: UpstreamListener;
	#controller: Dispatcher.DispatchController | undefined;
	#over = false;
	#aborted = false;
	#abortedBefore = false;

	constructor(listener: UpstreamListener) {
		this.#listener = listener;
	}

	get reached(): boolean {
		return this.#controller !== undefined && !this.#abortedBefore;
	}

	pause(): void {
		if (!this.#over) this.#controller?.pause();
	}

	resume(): void {
		if (!this.#over) this.#controller?.resume();
	}

	abort(): void {
		if (this.#over) return;
		this.#over = true;
		this.#aborted = true;
		this.#controller?.abort(new Error("aborted by the gateway"));
	}

	onRequestStart(controller: Dispatcher.DispatchController): void {
		this.#controller = controller;
		if (!this.#aborted) return;
		// Before a connection was free.
		this.#abortedBefore = true;
		controller.abort(new Error("aborted by the gateway"));
	}

	onResponseStart(controller: Dispatcher.DispatchController, status: number): void {
		if (this.#over || status < 200) return;
		this.#listener.response(status, (controller.rawHeaders ?? []) as readonly (Buffer | string)[]);
	}

	onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
		if (!this.#over) this.#listener.data(chunk);
	}

	onResponseEnd(): void {
		if (this.#over) return;
		this.#over = true;
		this.#listener.end();
	}

	onResponseError(_: Dispatcher.DispatchController, error: Error): void {
		if (this.#over) return;
		this.#over = true;
		// A request that never got a connection has no controller; one whose bytes went out may have been seen.
		this.#listener.failed(error, this.reached);
	}
}
