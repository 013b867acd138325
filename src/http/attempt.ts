/**
 * One run of a request on one endpoint: sends it, reads what comes back, watches for silence. It knows nothing of queues, tickets or the
 * ledger; its owner decides what each ending means.
 *
 * Of a stream, bytes that may not be passed on yet are held (headers must wait for the first event, the end for the journal); of any other
 * answer, all of it is. It ends once: by `answered`, `broke` or `gaveUp`, or by `abort`, after which its owner hears nothing more.
 */
import { performance } from "node:perf_hooks";
import type { ErrorCode } from "../core/model/error-code.ts";
import type { RequestFacts } from "../core/model/request-facts.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { UpstreamCall, UpstreamListener } from "../ports/upstream.ts";
import type { Dialect } from "../protocol/dialect.ts";
import type { Engine } from "../protocol/engines/engine.ts";
import { StreamScanner } from "../protocol/stream-scanner.ts";
import { responseHeader } from "./headers.ts";

const LARGEST_BUFFERED_ANSWER = 256 * 1024 * 1024;

export interface AttemptOwner {
	/** Tokens that the engine has just made; `first` of this run. */
	produced(tokens: Tokens, first: boolean): void;
	/** Bytes of a stream for the client. False: it takes no more until `resume`. */
	deliver(bytes: readonly Uint8Array[]): boolean;
	/** The answer is there to its end. */
	answered(): void;
	/** The connection failed; `reached`: the engine may have seen the request. */
	broke(error: Error, reached: boolean): void;
	/** Aborted from here. */
	gaveUp(code: ErrorCode, message: string): void;
}

export interface AttemptSettings {
	readonly dialect: Dialect;
	readonly engine: Engine;
	readonly facts: RequestFacts;
	/** The engine streams, the client gets the answer whole. */
	readonly assembles: boolean;
	/** Longest silence between bytes of the answer, and before the first one. */
	readonly idleTimeoutMs: Millis | undefined;
	readonly firstByteTimeoutMs: Millis | undefined;
}

export class Attempt implements UpstreamListener {
	readonly assembles: boolean;
	/** 0 until the answer has begun. */
	status = 0;
	rawHeaders: readonly (Uint8Array | string)[] = [];
	/** Of an answer that is a stream. */
	scanner: StreamScanner | undefined;
	held: Uint8Array[] = [];
	tokensSeen: Tokens = 0;
	readonly #settings: AttemptSettings;
	readonly #owner: AttemptOwner;
	#call: UpstreamCall | undefined;
	#heldBytes = 0;
	#lastDataAt: Millis = performance.now();
	/** The body of the answer has begun: some engines send headers while the request still waits in their queue. */
	#answering = false;
	#paused = false;
	#over = false;
	/** When it ended, had it gone out. */
	#reached = false;
	#idleTimer: NodeJS.Timeout | undefined;

	constructor(settings: AttemptSettings, owner: AttemptOwner) {
		this.#settings = settings;
		this.#owner = owner;
		this.assembles = settings.assembles;
	}

	/** @param forward sends the request and tells this listener what comes of it */
	start(forward: (listener: UpstreamListener) => UpstreamCall): void {
		const call = forward(this);
		if (this.#over) return;
		this.#call = call;
		this.#armIdle();
	}

	abort(): void {
		if (this.#over) return;
		const call = this.#call;
		this.#end();
		call?.abort();
	}

	resume(): void {
		this.#paused = false;
		this.#lastDataAt = performance.now();
		this.#call?.resume();
	}

	/** Its engine answers with a stream, whatever the client gets. */
	get isStreamed(): boolean {
		return this.assembles || this.#settings.facts.stream;
	}

	/** The whole body of an answer that is no stream. */
	body(): Uint8Array {
		return this.held.length === 1 ? this.held[0]! : Buffer.concat(this.held, this.#heldBytes);
	}

	/** What a run that reported nothing must have used: its prompt, and a token for every event seen. Undefined: its engine never saw it. */
	usageWithout(estimate: { readonly promptTokens: Tokens; readonly completionTokens: Tokens }): Usage | undefined {
		if (!(this.#call?.reached ?? this.#reached)) return undefined;
		const seen = this.scanner?.usage();
		const isComplete = this.status === 200 && this.scanner === undefined;
		return {
			promptTokens: seen?.promptTokens || estimate.promptTokens,
			completionTokens: isComplete ? estimate.completionTokens : Math.max(this.tokensSeen, seen?.completionTokens ?? 0),
			cachedTokens: seen?.cachedTokens ?? 0,
			source: "estimated",
		};
	}

	// --- what the upstream says

	response(status: number, rawHeaders: readonly (Uint8Array | string)[]): void {
		this.status = status;
		this.rawHeaders = rawHeaders;
		this.#lastDataAt = performance.now();
		if (status !== 200 || !this.isStreamed) return;
		if (responseHeader(rawHeaders, "content-type")?.startsWith("text/event-stream") !== true) return;
		const { dialect, engine, facts } = this.#settings;
		this.scanner = new StreamScanner({
			dialect,
			engine,
			removeUsageEvent: !this.assembles && !facts.wantsStreamUsage && dialect.name === "openai",
			sequences: facts.sequences,
		});
	}

	data(chunk: Uint8Array): void {
		if (this.#over) return;
		this.#lastDataAt = performance.now();
		this.#answering = true;
		const { scanner } = this;
		if (scanner === undefined || this.assembles) {
			this.#heldBytes += chunk.length;
			if (this.#heldBytes > LARGEST_BUFFERED_ANSWER) {
				this.#giveUp("upstream_protocol_error", `the answer is larger than ${LARGEST_BUFFERED_ANSWER} bytes`);
				return;
			}
		}
		if (scanner === undefined) {
			this.held.push(chunk);
			return;
		}
		const out = scanner.push(chunk);
		const tokens = scanner.tokenEvents - this.tokensSeen;
		if (tokens > 0) {
			const first = this.tokensSeen === 0;
			this.tokensSeen = scanner.tokenEvents;
			this.#owner.produced(tokens, first);
			// Room that these tokens made or took may have been given to a better request: then this run was aborted just now.
			if (this.#over) return;
		}
		if (scanner.error !== undefined && scanner.tokenEvents === 0) return;
		this.held.push(...out);
		if (scanner.events === 0 || scanner.terminated || this.assembles) return;
		const bytes = this.held;
		this.held = [];
		if (this.#owner.deliver(bytes) || this.#paused) return;
		this.#paused = true;
		this.#call?.pause();
	}

	end(): void {
		if (this.#over) return;
		this.#end();
		this.#owner.answered();
	}

	failed(error: Error, reached: boolean): void {
		if (this.#over) return;
		this.#end();
		// A connection that broke without an answer: nobody knows of any work, and the client got nothing.
		this.#reached = reached && this.status !== 0;
		this.#owner.broke(error, reached);
	}

	#giveUp(code: ErrorCode, message: string): void {
		this.abort();
		this.#owner.gaveUp(code, message);
	}

	#end(): void {
		this.#over = true;
		this.#reached = this.#call?.reached === true;
		this.#call = undefined;
		clearTimeout(this.#idleTimer);
	}

	/** One timer for silence: before the first byte (when wanted) and between bytes. */
	#armIdle(): void {
		const { idleTimeoutMs, firstByteTimeoutMs } = this.#settings;
		const longest = Math.min(idleTimeoutMs ?? Number.POSITIVE_INFINITY, firstByteTimeoutMs ?? Number.POSITIVE_INFINITY);
		if (!Number.isFinite(longest)) return;
		const check = () => {
			const limit = this.#answering ? idleTimeoutMs : firstByteTimeoutMs;
			const silent = performance.now() - this.#lastDataAt;
			if (limit !== undefined && !this.#paused && silent >= limit) {
				const what = this.#answering ? "fell silent" : "did not begin to answer";
				this.#giveUp("upstream_timeout", `the upstream ${what} for ${limit / 1000} s`);
				return;
			}
			const next = limit === undefined || this.#paused ? longest : Math.max(10, limit - silent);
			this.#idleTimer = setTimeout(check, Math.min(next, longest));
		};
		this.#idleTimer = setTimeout(check, longest);
	}
}
