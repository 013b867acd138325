/**
 * One request of the data plane from its first byte to its settlement: classify, read, admit, wait, forward, stream back, settle.
 *
 * States: reading → waiting → starting (journal) → running → over; running → waiting again when a dispatch came to nothing.
 * Whatever happens (client gone, upstream dead, refused, preempted, drained) it settles exactly once: `#over` moves once, the ticket is given back
 * once, the journal gets one end for each start.
 *
 * Headers to the client wait for the first upstream event, so that an engine's error inside a 200 becomes a real status. The end of a
 * good answer waits until the journal has it: what a client saw finished is on record.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { performance } from "node:perf_hooks";
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import type { ErrorCode, Refusal } from "../core/model/error-code.ts";
import type { QueueSettings } from "../core/model/policy.ts";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { EpochMillis, Millis, NanoDollars, Tokens } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import type { QuotaAmounts } from "../core/quota/quota.ts";
import type { Reason, Ticket } from "../core/schedule/decision.ts";
import type { RequestListener } from "../engine/engine.ts";
import type { SpentBudget } from "../engine/quota-service.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import type { LedgerRow } from "../ports/ledger-store.ts";
import type { ForwardOutcome } from "../ports/upstream.ts";
import type { Dialect } from "../protocol/dialect.ts";
import { ENGINES } from "../protocol/engines/detect-engine.ts";
import { readHintHeaders } from "../protocol/request-headers.ts";
import { assembleStream, canAssemble } from "../protocol/stream-assembler.ts";
import type { StreamScanner } from "../protocol/stream-scanner.ts";
import { classifyUpstreamResponse, type UpstreamError } from "../protocol/upstream-error.ts";
import { readBodyUsage } from "../protocol/usage.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import type { DataPlane } from "./data-plane.ts";
import { obeyedRetryAfter, sendError } from "./error-response.ts";
import { clientHeaders, responseHeader, withContentType } from "./headers.ts";
import { Holdings } from "./holdings.ts";
import { ledgerRow } from "./journal-row.ts";
import { quotaHeaders, spentRefusal } from "./quota-answers.ts";
import { codeOfProblem, refusalOfReason, unserved } from "./refusals.ts";
import { readBody } from "./request-body.ts";
import { readRequest } from "./request-reading.ts";
import { editedBody, requestForEndpoint } from "./upstream-request.ts";

const PING_INTERVAL_MS: Millis = 15_000;
const MAX_ATTEMPTS = 3;
/** How long a client that was refused may go on sending before its connection is broken. */
const LINGER_MS: Millis = 5000;

export interface ExchangeIdentity {
	readonly path: string;
	/** Path with query string. */
	readonly url: string;
	readonly dialect: Dialect;
	readonly requestId: string;
}

export interface ExchangeStatus {
	readonly arrival: Arrival;
	/** Else it runs, or is about to. */
	readonly waiting: boolean;
	readonly pool: number;
	readonly queue: number;
	readonly startedAt: EpochMillis;
	/** So far, or until it was dispatched. */
	readonly waitMs: Millis;
	/** Tokens seen of a stream. */
	readonly producedTokens: number;
}

export class Exchange implements RequestListener, AttemptOwner {
	readonly requestId: string;
	/** Among those under way. */
	place = -1;
	readonly #plane: DataPlane;
	readonly #request: IncomingMessage;
	readonly #response: ServerResponse;
	readonly #dialect: Dialect;
	readonly #path: string;
	readonly #url: string;
	readonly #startedAt = performance.now();
	readonly #startedEpoch = Date.now();
	#metadata: RoutingMetadata | undefined;
	#body: Uint8Array = new Uint8Array(0);
	#arrival: Arrival | undefined;
	#ticket: Ticket = -1;
	#state: "reading" | "waiting" | "starting" | "running" | "over" = "reading";
	/** Where it waits or runs. */
	#pool = 0;
	#queueIndex = -1;
	#endpoint = 0;
	#payer = 0;
	#waitMs: Millis = 0;
	/** Of that, before it was submitted. */
	#heldMs: Millis = 0;
	#ttftMs: Millis | undefined;
	#attempts = 0;
	#journaled = false;
	/** Since it was admitted. */
	#holdings: Holdings | undefined;
	/** Waits for its rate, not yet in a queue. */
	#atGate = false;
	/** The run under way, or the last one; undefined before the first and after one that came to nothing. */
	#attempt: Attempt | undefined;
	/** Tokens of this run that are in the usage of its tier already. */
	#counted = 0;
	/** Until then the engine may work on a run that was taken back. */
	#engineBusyUntil: Millis = 0;
	#holdTimer: NodeJS.Timeout | undefined;
	#retryTimer: NodeJS.Timeout | undefined;

	constructor(plane: DataPlane, request: IncomingMessage, response: ServerResponse, identity: ExchangeIdentity) {
		this.#plane = plane;
		this.#request = request;
		this.#response = response;
		this.#dialect = identity.dialect;
		this.#path = identity.path;
		this.#url = identity.url;
		this.requestId = identity.requestId;
	}

	get state(): string {
		return this.#state;
	}

	get arrival(): Arrival | undefined {
		return this.#arrival;
	}

	/** What operators see of it; undefined before it was admitted and after its end. */
	get status(): ExchangeStatus | undefined {
		const arrival = this.#arrival;
		if (arrival === undefined || this.#state === "reading" || this.#state === "over") return undefined;
		const waiting = this.#state === "waiting";
		return {
			arrival,
			waiting,
			pool: this.#pool,
			queue: this.#queueIndex,
			startedAt: this.#startedEpoch,
			waitMs: waiting ? this.ageMs : this.#waitMs,
			producedTokens: this.#attempt?.tokensSeen ?? 0,
		};
	}

	get ageMs(): Millis {
		return performance.now() - this.#startedAt;
	}

	// --- on the way in

	start(): void {
		this.#plane.exchanges.add(this);
		this.#plane.retryTenths = Math.min(100, this.#plane.retryTenths + 1);
		this.#response.on("close", () => this.#clientGone());
		this.#response.on("error", () => this.#clientGone());
		this.#guard(() => {
			const classified = this.#plane.classifier.classify(this.#request);
			if (!(classified instanceof Promise)) this.#classified(classified);
			else
				classified.then(
					(answer) => this.#guard(() => this.#classified(answer)),
					() => this.#refuse({ code: "internal", message: "the request could not be classified" }),
				);
		});
	}

	#classified(answer: Awaited<ReturnType<DataPlane["classifier"]["classify"]>>): void {
		if (this.#state === "over") return;
		if (answer.kind === "refused") {
			this.#refuse(answer.refusal);
			return;
		}
		this.#metadata = answer.metadata;
		readBody(this.#request, this.#plane.settings.body, (reading) => {
			if (this.#state !== "reading") return;
			if (!reading.ok) this.#refuse(reading.refusal);
			else this.#guard(() => this.#admit(reading.body, answer.metadata));
		});
	}

	#admit(body: Uint8Array, metadata: RoutingMetadata): void {
		const isPassthrough = this.#plane.settings.passthroughPaths.includes(this.#path);
		const read = readRequest(this.#path, this.#request.headers, body, isPassthrough);
		if ("code" in read) {
			this.#refuse(read);
			return;
		}
		const { lifecycle, tokenUse, windows } = this.#plane;
		windows?.look();
		const tokenId = metadata.tokenId;
		const admitted = lifecycle.admit(
			metadata,
			read.facts,
			{
				hints: readHintHeaders(this.#request.headers),
				bodyBytes: body.length,
				startWithinMs: read.startWithinMs,
				tokenInUse: tokenId === undefined ? 0 : (tokenUse.get(tokenId) ?? 0),
			},
			performance.now(),
		);
		if (admitted.kind === "refused") {
			this.#refuse(admitted.refusal);
			return;
		}
		const { arrival } = admitted;
		this.#arrival = arrival;
		this.waits(arrival.submit.pools[0]!, arrival.submit.queue);
		const holdings = new Holdings(this.#plane, this.requestId, arrival);
		this.#holdings = holdings;
		this.#plane.shadow?.(arrival);
		if (!this.#isServed(arrival)) {
			holdings.releaseLimits();
			this.#arrival = undefined;
			this.#refuse(unserved(arrival.model));
			return;
		}
		this.#body = isPassthrough ? body : editedBody(body, read.parsed, arrival, this.#dialect);
		holdings.takeToken();
		const spent = holdings.reserve(() => this.#quotaAmounts(this.#isFree ? NOTHING : this.#estimatedUsage()));
		if (spent === undefined) this.#enqueue(arrival);
		else if (spent instanceof Promise) {
			const since = performance.now();
			const go = (answer?: SpentBudget) => {
				this.#wasHeld(performance.now() - since);
				// It ended before there was anything to release.
				if (this.#state === "over") this.#plane.quotas?.release(this.requestId);
				else if (answer !== undefined) this.#refuse(spentRefusal(answer));
				else if (this.#isServed(arrival)) this.#enqueue(arrival);
				else this.#refuse(unserved(arrival.model));
			};
			spent.then(
				(answer) => this.#guard(() => go(answer)),
				() => this.#guard(go),
			);
		} else this.#refuse(spentRefusal(spent));
	}

	/** Everything lets it in: it waits for the scheduler. */
	#enqueue(arrival: Arrival): void {
		const { rates } = this.#plane;
		this.#state = "waiting";
		if (arrival.facts.stream) this.#armHold();
		if (rates?.concerns(arrival.metadata) === true && !this.#isFree) this.#passGate(rates, arrival);
		else this.#queue(arrival);
	}

	/** Waits before the scheduler while a rate quota of its is used up. */
	#passGate(rates: RateGate, arrival: Arrival): void {
		const { submit, metadata } = arrival;
		this.#atGate = true;
		if (rates.waitMs(metadata) > submit.startWithinMs) {
			this.#fail(refusalOfReason("deadline_unmeetable", 1000), "deadline_unmeetable");
			return;
		}
		const since = performance.now();
		const go = () => {
			this.#atGate = false;
			this.#wasHeld(performance.now() - since);
			this.#queue(arrival);
		};
		const entry = this.#holdings!.enterRate(rates, {
			id: this.requestId,
			tokens: submit.promptTokens + submit.completionTokens,
			timeoutMs: submit.timeoutMs,
			go: () => this.#guard(go),
			expire: () =>
				this.#guard(() =>
					this.#fail(
						{
							code: "queue_timeout",
							message: "its rate quota had no room for as long as it may wait",
							retryAfterMs: 1000,
						},
						"queue_timeout",
					),
				),
		});
		if (entry === "goes") go();
		else if (entry === "full")
			this.#fail(
				{ code: "queue_full", message: "too many requests wait for their rate quotas", retryAfterMs: 1000 },
				"queue_full",
			);
	}

	/** To the scheduler, unless the capacity guard keeps it out. */
	#queue(arrival: Arrival): void {
		const { hold } = this.#plane;
		const { queue, timeoutMs } = arrival.submit;
		// Queues of two halves are counted apart.
		if (!arrival.isKeptOut || hold === undefined) this.#submit(arrival);
		else
			hold.add(
				this,
				arrival.metadata.tier,
				128 * this.#pool + queue,
				timeoutMs,
				this.#plane.engine.core.pools[this.#pool]!.queues[queue]!.maxDepth,
			);
	}

	/** The capacity guard lets it in. */
	release(heldMs: Millis): void {
		if (this.#state !== "waiting") return;
		this.#guard(() => {
			this.#wasHeld(heldMs);
			this.#submit(this.#arrival!);
		});
	}

	/** Time before the scheduler is a part of the time that it may wait. */
	#wasHeld(heldMs: Millis): void {
		const { submit } = this.#arrival!;
		this.#heldMs += heldMs;
		submit.timeoutMs = Math.max(1, submit.timeoutMs - heldMs);
		submit.startWithinMs -= heldMs;
	}

	#submit(arrival: Arrival): void {
		const { submit } = arrival;
		if (submit.startWithinMs < 0) {
			this.#waitMs = this.#heldMs;
			this.#fail(refusalOfReason("deadline_unmeetable", 1000), "deadline_unmeetable");
			return;
		}
		const { engine, lifecycle } = this.#plane;
		// Rules may have changed while it was held.
		submit.rule = lifecycle.indexOf(arrival.rule);
		const ticket = engine.submit(submit, this);
		if (this.#state !== "over") this.#ticket = ticket;
		// A bug ended it from within.
		else if (engine.has(ticket)) engine.cancel(ticket);
	}

	#isServed(arrival: Arrival): boolean {
		const { engine, upstreams } = this.#plane;
		return arrival.submit.pools.some((pool) => engine.core.pools[pool]!.isUp || upstreams.mayRecover(pool));
	}

	/** An endpoint was given up: waiting for it is over, unless another one can serve. */
	endpointLost(): void {
		if (this.#state !== "waiting" || this.#arrival === undefined || this.#isServed(this.#arrival)) return;
		this.#fail(unserved(this.#arrival.model), "upstream_unavailable");
	}

	// --- decisions of the engine

	waits(pool: number, queue: number): void {
		this.#pool = pool;
		this.#queueIndex = queue;
	}

	dispatched(pool: number, queue: number, endpoint: number, payer: number, waitMs: Millis): boolean {
		this.waits(pool, queue);
		if (this.#state !== "over") this.#guard(() => this.#start(endpoint, payer, waitMs));
		return this.#state !== "over";
	}

	/** Records that it goes upstream, and sends it once the record is written. */
	#start(endpoint: number, payer: number, waitMs: Millis): void {
		this.#endpoint = endpoint;
		this.#payer = payer;
		this.#waitMs = this.#heldMs + waitMs;
		this.#state = "starting";
		this.#attempts++;
		const { journal } = this.#plane;
		if (!this.#journaled) {
			if (!journal.start(this.#row("unknown", this.#estimatedUsage(), undefined))) {
				// Submit has not returned yet when the dispatch comes from within it: the ticket is given back a turn later.
				queueMicrotask(() =>
					this.#fail({ code: "stores_unavailable", message: "the journal is full", retryAfterMs: 5000 }, "refused"),
				);
				return;
			}
			this.#journaled = true;
		}
		this.#afterJournal(() => this.#send());
	}

	ended(reason: Reason, waitMs: Millis): void {
		if (this.#state === "over") return;
		this.#waitMs = this.#heldMs + waitMs;
		this.#ticket = -1;
		this.#guard(() => {
			const { core } = this.#plane.engine;
			const wait =
				reason !== "upstream_unavailable" && reason !== "exceeds_capacity"
					? core.estimateStart(this.#arrival!.submit).p50Ms
					: 1000;
			this.#settleWithError(refusalOfReason(reason, Math.max(1000, wait)), reason);
		});
	}

	preempted(): void {
		// Its client may be gone already, and its place given back when the engine has noticed.
		if (this.#state !== "over") this.#guard(() => this.#giveWay());
	}

	#giveWay(): void {
		this.#attempt?.abort();
		clearTimeout(this.#retryTimer);
		if (this.#response.headersSent && (this.#attempt?.scanner?.events ?? 0) > 0) {
			this.#fail(refusalOfReason("preempted", 1000), "preempted", this.#usageSoFar(), true);
			return;
		}
		const lagMs = this.#cancelLagMs();
		this.#engineBusyUntil = performance.now() + lagMs;
		this.#state = "waiting";
		this.#forgetAttempt();
		this.#later(lagMs, () => {
			if (this.#ticket < 0) return;
			this.#plane.engine.aborted(this.#ticket);
			this.endpointLost();
		});
	}

	// --- upstream

	#send(): void {
		if (this.#state !== "starting") return;
		this.#state = "running";
		const { settings, upstreams, engine } = this.#plane;
		const arrival = this.#arrival!;
		const { enginePriority, forceStream, idleTimeoutMs, firstByteTimeoutMs } = settings.engines[this.#pool]!;
		const { facts } = arrival;
		const terms = {
			engine: this.#engineFacts(),
			enginePriority,
			assembles: forceStream && !facts.stream && canAssemble(facts.operation),
			queue: this.#queueIndex,
			queues: engine.core.pools[this.#pool]!.count,
			isGuaranteed: enginePriority === "share" && this.#isGuaranteed(),
		};
		const { body, headers } = requestForEndpoint(
			this.#body,
			this.#request.rawHeaders,
			this.requestId,
			arrival,
			this.#dialect,
			terms,
		);
		const attempt = new Attempt(
			{
				dialect: this.#dialect,
				engine: terms.engine,
				facts,
				assembles: terms.assembles,
				idleTimeoutMs,
				firstByteTimeoutMs,
			},
			this,
		);
		this.#attempt = attempt;
		attempt.start((listener) =>
			upstreams.forward(this.#pool, this.#endpoint, this.#url, headers, body, attempt.isStreamed, listener),
		);
	}

	/** It runs on its own queue's part of the pool, not on what others lend. */
	#isGuaranteed(): boolean {
		const queue = this.#queueIndex;
		const pool = this.#plane.engine.core.pools[this.#pool]!;
		return this.#payer === queue && pool.shareInFlight(queue) <= pool.floor(queue);
	}

	produced(tokens: Tokens, first: boolean): void {
		const { engine, lifecycle } = this.#plane;
		if (first) this.#ttftMs = this.ageMs;
		const used = tokens + (this.#counted === 0 ? this.#arrival!.submit.promptTokens : 0);
		this.#counted += used;
		lifecycle.used(this.#arrival!, used, performance.now());
		// Last: it may preempt this very request.
		engine.produced(this.#ticket, tokens);
	}

	deliver(bytes: readonly Uint8Array[]): boolean {
		const attempt = this.#attempt!;
		this.#sendHeaders(attempt);
		let taken = true;
		for (const one of bytes) taken = this.#response.write(one);
		if (!taken && this.#response.listenerCount("drain") === 0) this.#response.once("drain", () => attempt.resume());
		return taken;
	}

	answered(): void {
		const attempt = this.#attempt!;
		if (attempt.scanner === undefined) this.#endWhole(attempt);
		else this.#endStream(attempt, attempt.scanner);
	}

	broke(error: Error, reached: boolean): void {
		if (error.name === "InvariantError") this.#plane.onBug(error, this.requestId);
		const attempt = this.#attempt!;
		if (attempt.scanner?.terminated === true) {
			// The answer is whole: some engines break the connection right after it.
			this.#endStream(attempt, attempt.scanner);
			return;
		}
		this.#report(reached ? "failed" : "unreachable");
		const nothingSent = !this.#response.headersSent && attempt.status === 0;
		const { code } = error as NodeJS.ErrnoException;
		const stale = !reached || code === "ECONNRESET" || code === "UND_ERR_SOCKET";
		if (nothingSent && stale && this.#retry(0, reached)) return;
		if (attempt.status !== 0) this.#failUpstream("upstream_protocol_error", "the upstream broke off its answer");
		else this.#failUpstream("upstream_unavailable", "the upstream cannot be reached");
	}

	gaveUp(code: ErrorCode, message: string): void {
		const attempt = this.#attempt!;
		if (attempt.scanner?.terminated === true) {
			// The answer is whole: its engine did not close what it had ended.
			this.#endStream(attempt, attempt.scanner);
			return;
		}
		if (code === "upstream_timeout") this.#report("failed");
		this.#fail({ code, message, retryAfterMs: 1000 }, "upstream_error", this.#usageSoFar(), true);
	}

	#endWhole(attempt: Attempt): void {
		if (this.#response.headersSent) {
			// Held open as a stream, answered with something else.
			this.#failUpstream("upstream_protocol_error", `the upstream answered a stream with status ${attempt.status}`);
			return;
		}
		const body = attempt.body();
		const problem = classifyUpstreamResponse(attempt.status, body, this.#engineFacts());
		if (problem !== undefined) {
			this.#upstreamProblem(attempt, problem, body);
			return;
		}
		this.#report("ok");
		const usage = this.#isFree ? NOTHING : (readBodyUsage(this.#dialect, body) ?? this.#usageSoFar());
		this.#ttftMs ??= performance.now() - this.#startedAt;
		this.#settle("completed", usage, undefined);
		this.#sendWhole(attempt.status, clientHeaders(attempt.rawHeaders, this.#headersWith(usage), body.length), body);
	}

	#endStream(attempt: Attempt, scanner: StreamScanner): void {
		const tail = scanner.end();
		if (attempt.assembles && scanner.error === undefined && scanner.terminated) {
			this.#endAssembled(attempt, scanner, tail);
			return;
		}
		if (scanner.error !== undefined && (!this.#response.headersSent || scanner.tokenEvents === 0)) {
			this.#upstreamProblem(attempt, scanner.error, undefined);
			return;
		}
		this.#report(scanner.terminated ? "ok" : "failed");
		const usage = scanner.usage() ?? this.#usageSoFar();
		if (!scanner.terminated && scanner.error === undefined) {
			this.#fail(
				{ code: "upstream_protocol_error", message: "the upstream's stream ended without its end mark" },
				"upstream_error",
				usage,
			);
			return;
		}
		this.#settle(
			scanner.error === undefined ? "completed" : "upstream_error",
			usage,
			scanner.error === undefined ? undefined : "upstream_protocol_error",
		);
		this.#afterJournal(() => {
			if (this.#response.destroyed) return;
			this.#sendHeaders(attempt);
			for (const bytes of attempt.held) this.#response.write(bytes);
			this.#response.end(tail);
		});
	}

	/** The client asked for the answer whole: it gets what its stream said. */
	#endAssembled(attempt: Attempt, scanner: StreamScanner, tail: Uint8Array | undefined): void {
		const chunks = tail === undefined ? attempt.held : [...attempt.held, tail];
		const whole = assembleStream(this.#arrival!.facts.operation, Buffer.concat(chunks).toString("utf8"));
		if (whole === undefined) {
			this.#failUpstream("upstream_protocol_error", "the upstream's stream makes no whole answer");
			return;
		}
		this.#report("ok");
		const usage = scanner.usage() ?? this.#usageSoFar();
		this.#settle("completed", usage, undefined);
		const body = Buffer.from(JSON.stringify(whole));
		const raw = withContentType(attempt.rawHeaders, "application/json");
		this.#sendWhole(attempt.status, clientHeaders(raw, this.#headersWith(usage), body.length), body);
	}

	/** The engine answered with an error: retried when that can help, else passed on as it came, if it is the client's business. */
	#upstreamProblem(attempt: Attempt, problem: UpstreamError, body: Uint8Array | undefined): void {
		this.#report(problem.countsForBreaker ? "failed" : "ok");
		if (problem.retryable && !this.#response.headersSent) {
			const retryAfter = Number(responseHeader(attempt.rawHeaders, "retry-after"));
			if (this.#retry(Number.isFinite(retryAfter) ? Math.min(retryAfter, 5) * 1000 : 0)) return;
		}
		const provider = JSON.stringify(this.#provider);
		if (problem.kind === "auth")
			this.#failUpstream(
				"upstream_unavailable",
				`provider ${provider} refuses the key it is given (api_key_env)`,
				NOTHING,
			);
		else if (problem.kind === "not_found")
			this.#failUpstream("model_not_served", `provider ${provider} answered: ${problem.message}`, NOTHING);
		else if (body === undefined || attempt.status < 400)
			this.#failUpstream(codeOfProblem(problem.kind), `the upstream answered: ${problem.message}`);
		else {
			// The engine refused before it did any work.
			this.#settle("upstream_error", NOTHING, `upstream_${attempt.status}`);
			const headers = clientHeaders(
				attempt.rawHeaders,
				this.#ownHeaders(),
				body.length,
				obeyedRetryAfter(attempt.status),
			);
			this.#sendWhole(attempt.status, headers, body);
		}
	}

	#sendWhole(status: number, headers: string[], body: Uint8Array): void {
		this.#afterJournal(() => {
			if (this.#response.destroyed) return;
			this.#response.writeHead(status, headers);
			this.#response.end(body);
		});
	}

	/** Gives the ticket back for another attempt, within the budget of a tenth of all requests; one that reached no engine is free. */
	#retry(afterMs: Millis, costs = true): boolean {
		if (this.#attempts >= MAX_ATTEMPTS || this.#plane.draining) return false;
		if (costs) {
			if (this.#plane.retryTenths < 10) return false;
			this.#plane.retryTenths -= 10;
		}
		this.#forgetAttempt();
		this.#state = "waiting";
		const jitter = 20 + Math.random() * 80;
		this.#retryTimer = this.#later(afterMs + jitter, () => {
			this.#retryTimer = undefined;
			if (this.#ticket < 0) return;
			this.#plane.engine.takeBack(this.#ticket);
			this.endpointLost();
		});
		return true;
	}

	#forgetAttempt(): void {
		this.#attempt = undefined;
		this.#counted = 0;
	}

	// --- on the way out

	/** Asked for by an operator. */
	cancelByOperator(): void {
		const running = this.#state === "running";
		this.#attempt?.abort();
		this.#fail(
			{ code: "cancelled_by_operator", message: "an operator cancelled the request", retryable: false },
			"cancelled",
			running ? this.#usageSoFar() : NOTHING,
			running,
		);
	}

	/** The process stops and waits no longer. */
	endForDrain(): void {
		this.#attempt?.abort();
		this.#fail({ code: "draining", message: "this gateway is shutting down", retryAfterMs: 1000 }, "drained");
	}

	#clientGone(): void {
		if (this.#state === "over" || this.#response.writableFinished) return;
		const running = this.#state === "running";
		this.#attempt?.abort();
		const usage = running ? this.#usageSoFar() : NOTHING;
		this.#settle("client_closed", usage, "client_closed", running);
	}

	/** Ends a request that is no success; what its engine did so far is charged. */
	#fail(
		refusal: Refusal,
		outcome: string,
		usage: Usage = this.#state === "running" ? this.#usageSoFar() : NOTHING,
		lingers = false,
	): void {
		if (this.#state === "over") return;
		const journaled = this.#journaled;
		this.#settle(outcome, usage, refusal.code, lingers);
		if (journaled) this.#afterJournal(() => this.#sendError(refusal));
		else this.#sendError(refusal);
	}

	#failUpstream(code: ErrorCode, message: string, usage?: Usage): void {
		this.#fail({ code, message, retryAfterMs: 1000 }, "upstream_error", usage);
	}

	#sendError(refusal: Refusal): void {
		sendError(
			this.#response,
			this.#dialect,
			refusal,
			this.requestId,
			this.#arrival === undefined ? [] : this.#ownHeaders(),
		);
	}

	/** Runs something that must not happen before the journal has what was recorded so far. */
	#afterJournal(action: () => void): void {
		this.#plane.journal.afterFlush(() => this.#guard(action));
	}

	/** A bug in the middle of a request ends that request, with a record of it, and nothing else. */
	#guard(action: () => void): void {
		try {
			action();
		} catch (error) {
			this.#plane.onBug(error, this.requestId);
			this.#attempt?.abort();
			if (this.#state === "over") this.#response.destroy();
			else
				this.#fail(
					{ code: "internal", message: "the gateway failed; its log says why" },
					"internal",
					undefined,
					this.#state === "running",
				);
		}
	}

	#later(delayMs: Millis, action: () => void): NodeJS.Timeout {
		return setTimeout(() => this.#guard(action), delayMs);
	}

	/** Each of these is done, whatever becomes of the others. */
	#doAll(...actions: readonly (() => void)[]): void {
		for (const action of actions) {
			try {
				action();
			} catch (error) {
				this.#plane.onBug(error, this.requestId);
			}
		}
	}

	#report(outcome: ForwardOutcome): void {
		this.#plane.upstreams.report(this.#pool, this.#endpoint, outcome);
	}

	/** Counting tokens generates nothing. */
	get #isFree(): boolean {
		return this.#arrival!.facts.operation === "count_tokens";
	}

	/** Refused before it had a ticket. */
	#refuse(refusal: Refusal): void {
		this.#request.resume();
		this.#settleWithError(refusal, "refused");
	}

	#settleWithError(refusal: Refusal, outcome: string): void {
		this.#settle(outcome, NOTHING, refusal.code);
		if (!this.#request.complete) {
			// The rest of the body is read and dropped for a moment: a connection reset at once would take the answer with it.
			this.#response.setHeader("connection", "close");
			this.#response.once("finish", () => setTimeout(() => this.#request.destroy(), LINGER_MS).unref());
		}
		this.#sendError(refusal);
	}

	/** The one end: ticket, token use, timers, journal, records. `lingers`: the engine may go on for a while after the abort. */
	#settle(outcome: string, usage: Usage, errorCode: string | undefined, lingers = false): void {
		if (this.#state === "over") return;
		const before = this.#state;
		this.#state = "over";
		clearTimeout(this.#holdTimer);
		clearTimeout(this.#retryTimer);
		const { exchanges, onEnd, hold } = this.#plane;
		exchanges.remove(this);
		const arrival = this.#arrival;
		const ticket = this.#ticket;
		this.#ticket = -1;
		// Ended while it waited, and not by the scheduler, which would have said how long.
		const wasHeld = hold?.remove(this) === true;
		if (before === "waiting" && (ticket >= 0 || this.#atGate || wasHeld)) this.#waitMs = this.ageMs;
		if (arrival !== undefined)
			this.#doAll(
				() => this.#holdings!.releaseToken(),
				() => this.#holdings!.releaseRate(this.#journaled ? usage.promptTokens + usage.completionTokens : 0),
				() => this.#releaseTicket(ticket, arrival, usage, lingers),
				() => this.#holdings!.releaseLimits(),
			);
		const row = arrival === undefined ? undefined : this.#endRecord(outcome, usage, errorCode);
		if (arrival !== undefined)
			this.#doAll(() =>
				this.#holdings!.releaseQuota(row && { amounts: this.#quotaAmounts(usage, row), settledAt: row.settledAt }),
			);
		this.#doAll(() =>
			onEnd({
				requestId: this.requestId,
				queue: arrival === undefined ? -1 : this.#queueIndex,
				outcome,
				status: this.#response.statusCode,
				waitMs: before === "reading" ? 0 : this.#waitMs,
				durationMs: performance.now() - this.#startedAt,
				ttftMs: this.#ttftMs,
				code: errorCode,
				usage: ticket >= 0 ? usage : undefined,
				accountId: this.#metadata?.accountId,
				model: arrival?.model,
				arrival,
				pool: this.#pool,
			}),
		);
	}

	/** Its place in a queue or on an endpoint; that of an endpoint not before the engine is done. */
	#releaseTicket(ticket: Ticket, arrival: Arrival, usage: Usage, lingers: boolean): void {
		if (ticket < 0) return;
		const { engine, lifecycle } = this.#plane;
		if (engine.core.isWaiting(ticket)) engine.cancel(ticket);
		else {
			const lagMs = lingers ? this.#cancelLagMs() : this.#engineBusyUntil - performance.now();
			if (lagMs > 0) setTimeout(() => this.#doAll(() => engine.finish(ticket, usage)), lagMs);
			else engine.finish(ticket, usage);
		}
		if (usage !== NOTHING) this.#holdings!.settleLimits(usage);
		lifecycle.used(arrival, usage.promptTokens + usage.completionTokens - this.#counted, performance.now());
	}

	/** One end in the journal for its start. */
	#endRecord(outcome: string, usage: Usage, errorCode: string | undefined): LedgerRow | undefined {
		if (!this.#journaled) return undefined;
		let row: LedgerRow | undefined;
		this.#doAll(() => {
			row = this.#row(outcome, usage, errorCode);
			this.#plane.journal.end(row);
		});
		return row;
	}

	// --- small parts

	#row(outcome: string, usage: Usage, errorCode: string | undefined) {
		const arrival = this.#arrival!;
		return ledgerRow({
			requestId: this.requestId,
			clientRequestId: clientRequestId(this.#request),
			arrival,
			provider: this.#provider,
			queue: this.#queueOf(this.#queueIndex).label,
			usage,
			waitMs: this.#waitMs,
			ttftMs: this.#ttftMs,
			durationMs: performance.now() - this.#startedAt,
			outcome,
			errorCode,
			cost: this.#priceOf(usage),
			startedAt: this.#startedEpoch,
		});
	}

	/** As it was when the request was admitted: a window that ends meanwhile changes nothing. */
	#priceOf(usage: Usage): NanoDollars {
		const { model, adjusted } = this.#arrival!;
		const price = this.#plane.priceOf(model, usage);
		return adjusted.costMultiplier === 1 ? price : Math.round(price * adjusted.costMultiplier);
	}

	#quotaAmounts(usage: Usage, row?: LedgerRow): QuotaAmounts {
		return {
			tokens: usage.promptTokens + usage.completionTokens,
			requests: 1,
			nanoDollars: row?.costNanoDollars ?? this.#priceOf(usage),
		};
	}

	#estimatedUsage(): Usage {
		const { promptTokens, completionTokens } = this.#arrival!.submit;
		return { promptTokens, completionTokens, cachedTokens: 0, source: "estimated" };
	}

	/** Of a run that reported nothing. */
	#usageSoFar(): Usage {
		return this.#attempt?.usageWithout(this.#arrival!.submit) ?? NOTHING;
	}

	#ownHeaders(): string[] {
		const arrival = this.#arrival!;
		const headers = [
			"X-Request-ID",
			this.requestId,
			"X-TGW-Queue",
			this.#queueOf(this.#queueIndex).label,
			"X-Priority-Level",
			String(this.#queueIndex),
			"X-Queue-Wait-Ms",
			String(Math.round(this.#waitMs)),
			"X-TGW-Routed-By",
			arrival.metadata.routedBy,
		];
		if (this.#state !== "waiting" && this.#payer !== this.#queueIndex && this.#attempts > 0) {
			headers.push("X-TGW-Bucket-Used", this.#queueOf(this.#payer).label);
		}
		if (arrival.metadata.tokenId !== undefined) headers.push("X-Token-ID", arrival.metadata.tokenId);
		if (this.#plane.quotas?.concerns(arrival.metadata) === true) {
			const budgets = this.#plane.quotas.viewsOf(arrival.metadata);
			headers.push(...quotaHeaders(budgets, this.#dialect.name, Date.now()));
		}
		return headers;
	}

	#headersWith(usage: Usage): string[] {
		const headers = this.#ownHeaders();
		headers.push("X-Tokens-Used", String(usage.promptTokens + usage.completionTokens));
		return headers;
	}

	#sendHeaders(attempt: Attempt): void {
		clearTimeout(this.#holdTimer);
		if (this.#response.headersSent) return;
		this.#response.writeHead(attempt.status, clientHeaders(attempt.rawHeaders, this.#ownHeaders(), undefined));
	}

	/** A stream that waits long gets its headers and pings, so that no wall on the way gives up on it. */
	#armHold(): void {
		this.#holdTimer = this.#later(this.#plane.settings.streamHoldMs, () => {
			if (this.#state === "over") return;
			if (!this.#response.headersSent) {
				const headers = this.#ownHeaders();
				headers.push("content-type", "text/event-stream", "cache-control", "no-cache");
				this.#response.writeHead(200, headers);
			}
			const ping = () => {
				this.#response.write(this.#dialect.ping);
				this.#holdTimer = this.#later(PING_INTERVAL_MS, ping);
			};
			ping();
		});
	}

	/** A queue of its pool. */
	#queueOf(queue: number): QueueSettings {
		return this.#plane.engine.core.pools[this.#pool]!.queues[queue]!.settings;
	}

	/** Name of its pool; the halves of one have the same. */
	get #provider(): string {
		const { poolNames } = this.#plane;
		return poolNames[this.#pool % poolNames.length]!;
	}

	/** How long the engine may go on after an abort. */
	#cancelLagMs(): Millis {
		const { stream, nonStream } = this.#engineFacts().cancelLagMs;
		return (this.#attempt?.isStreamed ?? this.#arrival!.facts.stream) ? stream : nonStream;
	}

	#engineFacts() {
		return (
			ENGINES[this.#plane.upstreams.engineOf(this.#pool, this.#endpoint) as keyof typeof ENGINES] ?? ENGINES.generic
		);
	}
}

const NOTHING: Usage = { promptTokens: 0, completionTokens: 0, cachedTokens: 0, source: "measured" };

function clientRequestId(request: IncomingMessage): string | undefined {
	const id = request.headers["x-request-id"];
	return typeof id === "string" ? id.slice(0, 128) : undefined;
}
