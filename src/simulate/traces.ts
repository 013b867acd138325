/**
 * Readers for public request traces: who asked when, for how many prompt and output tokens.
 *
 * The format is told from the first line. Known: Azure's LLM inference traces (TIMESTAMP, ContextTokens, GeneratedTokens), Mooncake's
 * JSON lines, ServeGen samples and VTC's published runs (arrival_s, client, …), and the length-only files of Sarathi-Serve and
 * Vidur (num_prefill_tokens, num_decode_tokens), which have no times. Files may be gzipped.
 *
 * Invariants: arrivals are milliseconds since the first one's zero (Azure: since its first row) and never decrease; token counts are
 * whole and at least 0. A line that says otherwise throws a TraceError that names file and line.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Millis, Tokens } from "../core/model/units.ts";

export interface TraceRequest {
	/** 0 in a trace without times. */
	readonly arrivalMs: Millis;
	readonly promptTokens: Tokens;
	readonly outputTokens: Tokens;
	readonly client?: string;
	/** What the published run measured from arrival, where the trace says so. */
	readonly measuredFirstTokenMs?: Millis;
	readonly measuredTotalMs?: Millis;
}

export const TRACE_FORMATS = ["azure", "mooncake", "servegen", "vtc", "lengths"] as const;
export type TraceFormat = (typeof TRACE_FORMATS)[number];

export interface Trace {
	readonly file: string;
	readonly format: TraceFormat;
	/** False for files of lengths only: the caller chooses the arrivals. */
	readonly hasArrivals: boolean;
	/** Reads lazily, anew with each call. */
	requests(): Generator<TraceRequest, void>;
}

export class TraceError extends Error {
	override readonly name = "TraceError";
}

const HEADERS: Readonly<Record<string, TraceFormat>> = {
	"TIMESTAMP,ContextTokens,GeneratedTokens": "azure",
	"arrival_s,client,input_tokens,output_tokens": "servegen",
	"arrival_s,client,input_tokens,output_tokens,first_token_latency_s,request_latency_s": "vtc",
	"num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio": "lengths",
};

const GZIP_MAGIC = 0x1f8b;

/** Opens a trace file of any known format. */
export function openTrace(file: string): Trace {
	let bytes: Buffer;
	try {
		bytes = readFileSync(file);
		if (bytes.length > 2 && bytes.readUInt16BE(0) === GZIP_MAGIC) bytes = gunzipSync(bytes);
	} catch (error) {
		throw new TraceError(`${file}: cannot be read: ${(error as Error).message}`);
	}
	return parseTrace(file, bytes.toString("utf8"));
}

/** The same for text already in memory; `file` is used in messages only. */
export function parseTrace(file: string, text: string): Trace {
	const content = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
	const first = (content.split("\n", 1)[0] ?? "").trim();
	const format = first.startsWith("{") ? "mooncake" : Object.hasOwn(HEADERS, first) ? HEADERS[first] : undefined;
	if (format === undefined) {
		const shown = first.length > 80 ? `${first.slice(0, 80)}…` : first;
		throw new TraceError(
			`${file}:1: unknown trace format "${shown}"; known are JSON lines with timestamp, input_length, output_length, and the headers ${Object.keys(HEADERS).join(" | ")}`,
		);
	}
	return {
		file,
		format,
		hasArrivals: format !== "lengths",
		requests: () => requestsOf(file, content, format),
	};
}

function* requestsOf(file: string, content: string, format: TraceFormat): Generator<TraceRequest, void> {
	const lines = linesOf(content);
	let previous = Number.NEGATIVE_INFINITY;
	let origin: number | undefined;
	for (const line of lines) {
		if (line.number === 1 && format !== "mooncake") continue;
		if (line.text === "") continue;
		const at = `${file}:${line.number}`;
		let request = format === "mooncake" ? mooncakeRow(at, line.text) : csvRow(at, line.text, format);
		if (format === "azure") {
			origin ??= request.arrivalMs;
			request = { ...request, arrivalMs: request.arrivalMs - origin };
		}
		if (request.arrivalMs < previous) {
			throw new TraceError(
				`${at}: arrives at ${request.arrivalMs} ms, before the row above (${previous} ms); arrivals never decrease`,
			);
		}
		previous = request.arrivalMs;
		yield request;
	}
}

function* linesOf(content: string): Generator<{ text: string; number: number }, void> {
	let start = 0;
	for (let number = 1; start < content.length; number++) {
		const newline = content.indexOf("\n", start);
		const end = newline === -1 ? content.length : newline;
		yield { text: content.slice(start, end).trim(), number };
		start = end + 1;
	}
}

function csvRow(at: string, text: string, format: TraceFormat): TraceRequest {
	const fields = text.split(",");
	const expected = format === "azure" ? 3 : format === "vtc" ? 6 : 4;
	if (fields.length !== expected) {
		throw new TraceError(`${at}: has ${fields.length} fields; a row of this trace has ${expected}`);
	}
	const field = (index: number): string => fields[index] as string;
	switch (format) {
		case "azure":
			return {
				arrivalMs: timestamp(at, field(0)),
				promptTokens: tokens(at, "ContextTokens", field(1)),
				outputTokens: tokens(at, "GeneratedTokens", field(2)),
			};
		case "lengths":
			return {
				arrivalMs: 0,
				promptTokens: tokens(at, "num_prefill_tokens", field(0)),
				outputTokens: tokens(at, "num_decode_tokens", field(1)),
			};
		default: {
			const request: TraceRequest = {
				arrivalMs: seconds(at, "arrival_s", field(0)),
				client: field(1),
				promptTokens: tokens(at, "input_tokens", field(2)),
				outputTokens: tokens(at, "output_tokens", field(3)),
			};
			if (format !== "vtc") return request;
			return {
				...request,
				measuredFirstTokenMs: seconds(at, "first_token_latency_s", field(4)),
				measuredTotalMs: seconds(at, "request_latency_s", field(5)),
			};
		}
	}
}

function mooncakeRow(at: string, text: string): TraceRequest {
	let row: unknown;
	try {
		row = JSON.parse(text);
	} catch {
		throw new TraceError(`${at}: is not JSON`);
	}
	if (typeof row !== "object" || row === null || Array.isArray(row))
		throw new TraceError(`${at}: is not a JSON object`);
	const { timestamp: arrival, input_length: input, output_length: output } = row as Record<string, unknown>;
	return {
		arrivalMs: number(at, "timestamp", String(arrival)),
		promptTokens: tokens(at, "input_length", String(input)),
		outputTokens: tokens(at, "output_length", String(output)),
	};
}

/** `2023-11-16 18:15:46.6805900`, taken as UTC; finer than a Date can hold. */
function timestamp(at: string, text: string): Millis {
	const parts = /^(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(\.\d+)?$/.exec(text.trim());
	const whole = parts === null ? Number.NaN : Date.parse(`${parts[1]}T${parts[2]}Z`);
	if (parts === null || Number.isNaN(whole)) {
		throw new TraceError(`${at}: TIMESTAMP "${text}" is not a time like 2023-11-16 18:15:46.6805900`);
	}
	return whole + Number(parts[3] ?? 0) * 1000;
}

function seconds(at: string, name: string, text: string): Millis {
	return number(at, name, text) * 1000;
}

function number(at: string, name: string, text: string): number {
	const value = text.trim() === "" ? Number.NaN : Number(text);
	if (!(Number.isFinite(value) && value >= 0)) {
		throw new TraceError(`${at}: ${name} is "${text}"; a number from 0 is allowed`);
	}
	return value;
}

function tokens(at: string, name: string, text: string): Tokens {
	const value = number(at, name, text);
	if (!Number.isInteger(value)) throw new TraceError(`${at}: ${name} is "${text}"; a whole number is allowed`);
	return value;
}
