/**
 * One request at the mock LLM from admission to its last byte: listens to its sequences, writes what the socket will take, and
 * settles its ledger entry once.
 *
 * While the socket is full, tokens are only counted; their text is made when there is room, so that a slow reader costs no memory
 * beyond the socket's high-water mark. The engine goes on producing, as a real one would.
 */
import type { ServerResponse } from "node:http";
import { performance } from "node:perf_hooks";
import type { Millis } from "../core/model/units.ts";
import type { MockEngine } from "./mock-engine.ts";
import type { Fault } from "./mock-fault.ts";
import type { LedgerEntry, MockLedger } from "./mock-ledger.ts";
import type { MockMetrics } from "./mock-metrics.ts";
import type { MockRequest } from "./mock-request.ts";
import type { Wire } from "./mock-wire.ts";

export interface GenerationParts {
	readonly response: ServerResponse;
	readonly request: MockRequest;
	readonly wire: Wire;
	readonly fault: Fault;
	readonly engine: MockEngine;
	readonly ledger: MockLedger;
	readonly entry: LedgerEntry;
	readonly metrics: MockMetrics;
	/** Of the real clock. */
	readonly arrivedAtMs: number;
}

const epochOf = (at: Millis) => performance.timeOrigin + at;

/** Text made for one `write`; well below what would hold up the loop, above what a full socket takes. */
const MAX_TOKENS_PER_WRITE = 64;

export class Generation {
	readonly #parts: GenerationParts;
	readonly #ids: number[] = [];
	readonly #produced: number[];
	readonly #sent: number[];
	readonly #finishSent: boolean[];
	#unfinished: number;
	#started = false;
	#blocked = false;
	#stopped = false;
	#firstTokenAtMs: number | undefined;

	constructor(parts: GenerationParts) {
		this.#parts = parts;
		const { sequences } = parts.request;
		this.#produced = sequences.map(() => 0);
		this.#sent = sequences.map(() => 0);
		this.#finishSent = sequences.map(() => false);
		this.#unfinished = sequences.length;
	}

	start(): void {
		const { request, response, engine, entry } = this.#parts;
		response.on("close", this.#closed);
		if (request.stream) {
			// vLLM says 200 when it accepts a request, long before the first token.
			response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
			response.flushHeaders();
			response.on("drain", this.#drained);
		}
		if (this.#interrupted(0)) return;
		for (const [index, sequence] of request.sequences.entries()) {
			const id = engine.submit(sequence.promptTokens, Math.max(1, sequence.outputTokens), {
				produced: (tokens) => this.#progress(index, tokens),
				finished: (at) => this.#finish(at),
			});
			this.#ids.push(id);
			entry.submitted_at ??= epochOf(performance.now());
		}
	}

	#progress(index: number, tokens: number): void {
		const { request, entry, metrics, arrivedAtMs, fault } = this.#parts;
		if (this.#stopped) return;
		if (this.#firstTokenAtMs === undefined) {
			this.#firstTokenAtMs = performance.now();
			entry.prompt_tokens = request.promptTokens;
			metrics.firstToken((this.#firstTokenAtMs - arrivedAtMs) / 1000, request.promptTokens);
		}
		const limit = fault.cutAfter ?? fault.stallAfter ?? Number.POSITIVE_INFINITY;
		const made = Math.min(tokens, request.sequences[index]?.outputTokens ?? 0, limit);
		entry.completion_tokens += made - (this.#produced[index] as number);
		this.#produced[index] = made;
		if (request.stream) this.#write();
		if (made >= limit) this.#interrupted(made);
	}

	#finish(at: Millis): void {
		const { request, response, wire, entry } = this.#parts;
		// The writing of the last token may have settled it already.
		entry.finished_at = epochOf(at);
		if (this.#stopped || --this.#unfinished > 0) return;
		if (request.stream) {
			this.#write();
			return;
		}
		entry.sent_tokens = entry.completion_tokens;
		const body = wire.complete();
		response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
		response.end(body);
		this.#settleFinished();
	}

	/** Writes until the socket is full or nothing is left. */
	#write(): void {
		const { request, response, wire, entry } = this.#parts;
		while (!this.#blocked && !this.#stopped) {
			let text = "";
			if (!this.#started) {
				this.#started = true;
				text = wire.start();
			}
			let allFinished = true;
			let budget = MAX_TOKENS_PER_WRITE;
			for (let index = 0; index < request.sequences.length; index++) {
				const sent = this.#sent[index] as number;
				const next = Math.min(this.#produced[index] as number, sent + budget);
				if (next > sent) {
					text += wire.tokens(index, sent, next);
					this.#sent[index] = next;
					entry.sent_tokens += next - sent;
					budget -= next - sent;
				}
				if (next < (request.sequences[index]?.outputTokens ?? 0)) allFinished = false;
				else if (this.#finishSent[index] === false) {
					this.#finishSent[index] = true;
					text += wire.finish(index);
				}
			}
			if (allFinished) {
				response.end(text + wire.end());
				this.#settleFinished();
				return;
			}
			if (text === "") return;
			this.#blocked = !response.write(text);
		}
	}

	readonly #drained = (): void => {
		this.#blocked = false;
		this.#write();
	};

	/** The faults that strike after so many tokens. */
	#interrupted(tokens: number): boolean {
		const { fault, response, request, wire, ledger, entry } = this.#parts;
		if (fault.cutAfter !== undefined && tokens >= fault.cutAfter) {
			this.#stop();
			ledger.settle(entry, "failed");
			if (!request.stream) {
				const body = wire.complete();
				response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
			}
			// What was written before reaches the client; then the connection breaks without a word.
			response.write(request.stream ? ": cut\n\n" : "{", () => response.socket?.destroy());
			return true;
		}
		if (fault.stallAfter !== undefined && tokens >= fault.stallAfter) {
			this.#stop();
			return true;
		}
		return false;
	}

	#stop(): void {
		this.#stopped = true;
		for (const id of this.#ids) this.#parts.engine.cancel(id);
	}

	#settleFinished(): void {
		const { ledger, entry, metrics, request } = this.#parts;
		this.#stopped = true;
		ledger.settle(entry, "finished");
		const truncated = request.sequences.some((sequence) => sequence.truncated);
		metrics.ended(truncated ? "length" : "stop", this.#decodeSeconds(), Math.max(0, entry.completion_tokens - 1));
	}

	readonly #closed = (): void => {
		const { ledger, entry, metrics, response } = this.#parts;
		if (entry.status !== "running") return;
		this.#stop();
		if (!response.writableFinished)
			metrics.ended("abort", this.#decodeSeconds(), Math.max(0, entry.completion_tokens - 1));
		ledger.settle(entry, "aborted");
	};

	#decodeSeconds(): number {
		return this.#firstTokenAtMs === undefined ? 0 : (performance.now() - this.#firstTokenAtMs) / 1000;
	}
}
