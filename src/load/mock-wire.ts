/**
 * The answers of the mock LLM on the wire: what an OpenAI-compatible vLLM and the Anthropic API send, event by event.
 *
 * A wire makes text only; it never writes. Its pieces in order make a stream: `start`, for each sequence `tokens` … `finish`, `end`.
 */
import type { MockRequest } from "./mock-request.ts";
import { tokenText } from "./mock-text.ts";
import { anthropicWire } from "./mock-wire-anthropic.ts";
import { openaiWire } from "./mock-wire-openai.ts";

export interface Answer {
	/** Ends the id of the response, as vLLM does with `X-Request-Id`. */
	readonly requestId: string;
	readonly createdSeconds: number;
	readonly request: MockRequest;
	readonly withUsage: boolean;
	readonly withTerminator: boolean;
}

export interface Wire {
	start(): string;
	tokens(sequence: number, from: number, to: number): string;
	finish(sequence: number): string;
	end(): string;
	/** The whole answer of a request that does not stream. */
	complete(): string;
}

export function wireOf(answer: Answer): Wire {
	return answer.request.operation === "message" ? anthropicWire(answer) : openaiWire(answer);
}

/** Text of one token; in a tool call the tokens together spell the JSON of its arguments. */
export function fragment(request: MockRequest, sequence: number, index: number): string {
	const { seed, outputTokens } = sequenceAt(request, sequence);
	const text = tokenText(seed, index);
	if (request.toolCall === undefined) return text;
	const head = index === 0 ? `{${JSON.stringify(request.toolCall.argument)}:"` : "";
	return head + text + (index === outputTokens - 1 ? '"}' : "");
}

export function wholeText(request: MockRequest, sequence: number): string {
	let text = "";
	const { outputTokens } = sequenceAt(request, sequence);
	for (let index = 0; index < outputTokens; index++) text += fragment(request, sequence, index);
	return text;
}

export function sequenceAt(request: MockRequest, sequence: number): MockRequest["sequences"][number] {
	return request.sequences[sequence] as MockRequest["sequences"][number];
}

export function outputTokensOf(request: MockRequest): number {
	let sum = 0;
	for (const sequence of request.sequences) sum += sequence.outputTokens;
	return sum;
}
