/** Where requests run: forwarding to an endpoint of a pool, and what comes back. */
import type { Millis } from "../core/model/units.ts";

/** What happens to a forwarded request, in this order: `response` once, `data` many times, then `end` or `failed` once. */
export interface UpstreamListener {
	response(status: number, rawHeaders: readonly (Uint8Array | string)[]): void;
	data(chunk: Uint8Array): void;
	end(): void;
	/** `reached`: the engine may have seen the request. */
	failed(error: Error, reached: boolean): void;
}

/** A request under way. All calls are harmless after its end. */
export interface UpstreamCall {
	/** It went out on a connection: the engine may have seen it. */
	readonly reached: boolean;
	pause(): void;
	resume(): void;
	/** Breaks the connection; nothing is reported after it. */
	abort(): void;
}

export interface UpstreamAnswer {
	readonly status: number;
	/** Names in lower case. */
	readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
	readonly text: string;
}

export interface Upstreams {
	/** Sends a body to an endpoint of a pool; `headers` alternate name and value. The endpoint's key is added. */
	forward(
		pool: number,
		endpoint: number,
		path: string,
		headers: string[],
		body: Uint8Array,
		/** The answer was asked for as a stream. */
		stream: boolean,
		listener: UpstreamListener,
	): UpstreamCall;
	/** A small question, answered whole; rejects on failure or after `timeoutMs`. */
	get(pool: number, endpoint: number, path: string, timeoutMs: Millis): Promise<UpstreamAnswer>;
	/** Name of the engine that an endpoint runs, as far as known. */
	engineOf(pool: number, endpoint: number): string;
	/** Tells how a forwarded request went, for the endpoint's breaker. */
	report(pool: number, endpoint: number, outcome: ForwardOutcome): void;
	/** Whether an endpoint that is down is expected back soon: it loads, or has only just gone. */
	mayRecover(pool: number): boolean;
}

/** `ok`: it answers, be it with a refusal. `failed`: it answered badly, or broke off. `unreachable`: no connection. */
export type ForwardOutcome = "ok" | "failed" | "unreachable";
