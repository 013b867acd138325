/**
 * A wire form that clients speak: how its requests are read, what its usage and errors look like, how its streams are understood.
 * One folder per dialect with the same file names; `dialects.ts` lists them.
 */
import type { ErrorCode } from "../core/model/error-code.ts";
import type { Operation, RequestFacts } from "../core/model/request-facts.ts";
import type { Tokens } from "../core/model/units.ts";
import type { FieldReader } from "./field-reader.ts";

export const DIALECT_NAMES = ["openai", "anthropic"] as const;
export type DialectName = (typeof DIALECT_NAMES)[number];

/** Usage as one event or body reports it; absent fields were not said. `promptTokens` includes cached ones. */
export interface ReportedUsage {
	readonly promptTokens?: Tokens;
	readonly completionTokens?: Tokens;
	readonly cachedTokens?: Tokens;
}

/** What a formatted error says; the status is the number that the client will see. */
export interface WireError {
	readonly status: number;
	readonly code: ErrorCode;
	readonly message: string;
	readonly param?: string;
	/** The real time until a retry can succeed; the header may have to say less. */
	readonly retryAfterMs?: number;
	readonly requestId?: string;
}

/** What one event of a stream means. All fields but the last two are about the event alone. */
export interface EventMeaning {
	/** It carries generated text, reasoning or tool arguments. */
	readonly tokenBearing: boolean;
	/** The answer is complete. */
	readonly terminator: boolean;
	/** The upstream gave up; the parsed payload, for `upstream-error.ts`. */
	readonly error?: unknown;
	/** It exists only because usage was asked for. */
	readonly usageOnly: boolean;
	/** Its usage object as sent. */
	readonly usage?: unknown;
}

/** Events by their name, before any of their data is decoded: `token` is counted, `skip` ignored, `read` parsed, `scan` searched. */
export type EventInterest = "token" | "skip" | "read" | "scan";

export interface StreamReader {
	/** `name` is the `event:` field, empty when there was none. */
	interest(name: string): EventInterest;
	/** `data` is the parsed payload, undefined when it is no JSON. */
	read(name: string, data: unknown): EventMeaning;
	/** Payload of a terminator that is not JSON. */
	readonly terminator?: string;
}

export interface Dialect {
	readonly name: DialectName;
	/** Reads what scheduling needs; mistakes are left in the reader. */
	readRequest(operation: Operation, fields: FieldReader): RequestFacts | undefined;
	/** A usage object as this dialect's engines spell it; undefined when it says nothing. */
	readUsage(usage: unknown): ReportedUsage | undefined;
	/**
	 * Joins what a stream has said so far with a new report. OpenAI: the larger figure counts (engines under-report and repeat).
	 * Anthropic: totals replace totals.
	 */
	mergeUsage(before: ReportedUsage | undefined, next: ReportedUsage): ReportedUsage;
	/** JSON body of an error answer. */
	errorBody(error: WireError): string;
	/** An error inside a stream, as bytes of SSE, blank line included. */
	errorEvent(error: WireError): string;
	/** Keeps an idle stream open; every official client ignores it. */
	readonly ping: string;
	readonly stream: StreamReader;
}

export const UNREMARKABLE: EventMeaning = { tokenBearing: false, terminator: false, usageOnly: false };
