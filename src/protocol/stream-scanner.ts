/**
 * Follows one streamed answer: has it begun, does it carry tokens, did it fail, is it complete, what did it use. Passes bytes on
 * unchanged, whole events at a time, except for the usage event that the gateway itself asked for.
 *
 * Cost: ordinary events are never decoded. An event's name decides by itself where there is one; unnamed events are searched for
 * `"usage"` and `"error"` in one pass (inside JSON strings these are written `\"usage\"`, so text cannot imitate them). Only until the
 * first token, and where a word was found, is an event parsed.
 *
 * Events are not tokens: engines merge tokens under load. `tokenEvents` is a lower bound for estimates; usage is what counts.
 */
import type { Usage } from "../core/model/usage.ts";
import { WordSearch } from "./byte-search.ts";
import { bytesEqualAscii, decodeUtf8 } from "./bytes.ts";
import type { Dialect, ReportedUsage } from "./dialect.ts";
import type { Engine } from "./engines/engine.ts";
import { tryParseJson } from "./json.ts";
import { type EventSink, nextLineEnd, SseSplitter } from "./sse.ts";
import { classifyErrorEvent, type UpstreamError } from "./upstream-error.ts";
import { toUsage } from "./usage.ts";

export interface StreamScannerOptions {
	readonly dialect: Dialect;
	readonly engine?: Engine;
	/** The client did not ask for usage: remove the event that only carries it. */
	readonly removeUsageEvent: boolean;
	/** Sequences that the engine runs for the request; 1 when absent. */
	readonly sequences?: number;
}

const KEYWORDS = new WordSearch(['"usage"', '"error"']);
const SPACE = 0x20;
const COLON = 0x3a;
const LOWER_N = 0x6e;
const OPEN_BRACKET = 0x5b;

export class StreamScanner implements EventSink {
	readonly #dialect: Dialect;
	readonly #engine: Engine | undefined;
	readonly #removeUsageEvent: boolean;
	readonly #sequences: number;
	readonly #splitter = new SseSplitter(this);
	#events = 0;
	#tokenEvents = 0;
	#terminated = false;
	#error: UpstreamError | undefined;
	#usage: ReportedUsage | undefined;
	/** Field values of the event at hand; reused to spare an allocation per event. */
	#name = "";
	#dataStart = 0;
	#dataEnd = 0;
	#dataLines = 0;

	constructor(options: StreamScannerOptions) {
		this.#dialect = options.dialect;
		this.#engine = options.engine;
		this.#removeUsageEvent = options.removeUsageEvent;
		this.#sequences = options.sequences ?? 1;
	}

	/** Takes the next chunk of the upstream's body; returns the bytes for the client, which end at an event boundary. */
	push(chunk: Uint8Array): Uint8Array[] {
		return this.#splitter.push(chunk);
	}

	/** The upstream's body has ended. Returns the bytes of an event that was never finished, to be passed on or dropped. */
	end(): Uint8Array {
		return this.#splitter.end();
	}

	/** Events with data so far; comments and pings without data are none. */
	get events(): number {
		return this.#events;
	}

	/** Events that carried generated text, at least one token each. */
	get tokenEvents(): number {
		return this.#tokenEvents;
	}

	/** The first error that the upstream reported inside the stream. */
	get error(): UpstreamError | undefined {
		return this.#error;
	}

	/** The dialect's end mark was seen. An ended body without it is a failure, whatever its status. */
	get terminated(): boolean {
		return this.#terminated;
	}

	get succeeded(): boolean {
		return this.#terminated && this.#error === undefined;
	}

	/** The last word on usage, or undefined when the engine has said nothing so far. */
	usage(): Usage | undefined {
		return this.#usage === undefined ? undefined : toUsage(this.#usage, this.#tokenEvents, this.#sequences);
	}

	/** @private Called by the splitter. */
	event(bytes: Uint8Array, start: number, end: number): boolean {
		this.#readFields(bytes, start, end);
		if (this.#dataLines === 0) return true;
		this.#events++;
		const { stream } = this.#dialect;
		const { terminator } = stream;
		if (terminator !== undefined && bytes[this.#dataStart] === OPEN_BRACKET) {
			if (bytesEqualAscii(bytes, this.#dataStart, this.#dataEnd, terminator)) this.#terminated = true;
			return true;
		}
		const interest = stream.interest(this.#name);
		if (interest === "skip") return true;
		const ordinary =
			interest === "token" ||
			(interest === "scan" &&
				this.#tokenEvents > 0 &&
				this.#dataLines === 1 &&
				!hasKeyword(bytes, this.#dataStart, this.#dataEnd));
		if (ordinary) {
			this.#tokenEvents++;
			return true;
		}
		return this.#read(bytes, start, end);
	}

	#read(bytes: Uint8Array, start: number, end: number): boolean {
		const text =
			this.#dataLines === 1
				? decodeUtf8(bytes.subarray(this.#dataStart, this.#dataEnd))
				: joinData(bytes.subarray(start, end));
		const meaning = this.#dialect.stream.read(this.#name, tryParseJson(text));
		if (meaning.tokenBearing) this.#tokenEvents++;
		if (meaning.terminator) this.#terminated = true;
		if (meaning.error !== undefined) this.#error ??= classifyErrorEvent(meaning.error, this.#engine);
		const reported = meaning.usage === undefined ? undefined : this.#dialect.readUsage(meaning.usage);
		if (reported !== undefined) this.#usage = this.#dialect.mergeUsage(this.#usage, reported);
		return !(meaning.usageOnly && this.#removeUsageEvent);
	}

	/** Finds the name and the last data line of an event. */
	#readFields(bytes: Uint8Array, start: number, end: number): void {
		this.#name = "";
		this.#dataLines = 0;
		let at = start;
		if (bytes[at] === 0xef && bytes[at + 1] === 0xbb && bytes[at + 2] === 0xbf) at += 3;
		while (at < end) {
			const lineEnd = endOfLine(bytes, at, end, this.#splitter.usesCr);
			if (startsWithField(bytes, at, lineEnd, "data")) {
				this.#dataLines++;
				this.#dataStart = valueStart(bytes, at + 4, lineEnd);
				this.#dataEnd = lineEnd;
			} else if (startsWithField(bytes, at, lineEnd, "event"))
				this.#name = eventName(bytes, valueStart(bytes, at + 5, lineEnd), lineEnd);
			at = lineEnd + 1;
		}
	}
}

/** The offset of the line's terminator. */
function endOfLine(bytes: Uint8Array, from: number, end: number, usesCr: boolean): number {
	if (usesCr) return nextLineEnd(bytes, from, end);
	const lf = bytes.indexOf(0x0a, from);
	return lf < 0 || lf > end ? end : lf;
}

function startsWithField(bytes: Uint8Array, start: number, end: number, name: string): boolean {
	const length = name.length;
	if (end - start < length || bytes[start] !== name.charCodeAt(0)) return false;
	for (let index = 1; index < length; index++) if (bytes[start + index] !== name.charCodeAt(index)) return false;
	return end - start === length || bytes[start + length] === COLON;
}

/** After the colon and one optional space. */
function valueStart(bytes: Uint8Array, colon: number, end: number): number {
	const start = Math.min(colon + 1, end);
	return start < end && bytes[start] === SPACE ? start + 1 : start;
}

const COMMON_NAMES = ["content_block_delta", "response.output_text.delta"] as const;

function eventName(bytes: Uint8Array, start: number, end: number): string {
	for (const name of COMMON_NAMES) if (bytesEqualAscii(bytes, start, end, name)) return name;
	return decodeUtf8(bytes.subarray(start, end));
}

/** Whether `"usage"` or `"error"` stands there with a value other than null. */
function hasKeyword(bytes: Uint8Array, start: number, end: number): boolean {
	let at = KEYWORDS.find(bytes, start, end);
	while (at >= 0) {
		let value = at + 7;
		while (value < end && (bytes[value] === SPACE || bytes[value] === COLON)) value++;
		if (bytes[value] !== LOWER_N) return true;
		at = KEYWORDS.find(bytes, value, end);
	}
	return false;
}

/** Several data lines are one payload, joined by newlines. */
function joinData(event: Uint8Array): string {
	return decodeUtf8(event)
		.split(/\r\n|\n|\r/)
		.filter((line) => line.startsWith("data:") || line === "data")
		.map((line) => line.slice(5).replace(/^ /, ""))
		.join("\n");
}
