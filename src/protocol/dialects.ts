/**
 * The dialects, and which path of the data plane speaks which (design 03 §1).
 */
import type { Operation } from "../core/model/request-facts.ts";
import { ANTHROPIC_PING, anthropicErrorBody, anthropicErrorEvent } from "./anthropic/errors.ts";
import { readAnthropicRequest } from "./anthropic/request.ts";
import { anthropicStream } from "./anthropic/stream.ts";
import { mergeAnthropicUsage, readAnthropicUsage } from "./anthropic/usage.ts";
import type { Dialect, DialectName } from "./dialect.ts";
import { OPENAI_PING, openaiErrorBody, openaiErrorEvent } from "./openai/errors.ts";
import { readOpenaiRequest } from "./openai/request.ts";
import { openaiStream } from "./openai/stream.ts";
import { mergeOpenaiUsage, readOpenaiUsage } from "./openai/usage.ts";

export const openaiDialect: Dialect = {
	name: "openai",
	readRequest: readOpenaiRequest,
	readUsage: readOpenaiUsage,
	mergeUsage: mergeOpenaiUsage,
	errorBody: openaiErrorBody,
	errorEvent: openaiErrorEvent,
	ping: OPENAI_PING,
	stream: openaiStream,
};

export const anthropicDialect: Dialect = {
	name: "anthropic",
	readRequest: readAnthropicRequest,
	readUsage: readAnthropicUsage,
	mergeUsage: mergeAnthropicUsage,
	errorBody: anthropicErrorBody,
	errorEvent: anthropicErrorEvent,
	ping: ANTHROPIC_PING,
	stream: anthropicStream,
};

export const DIALECTS: Readonly<Record<DialectName, Dialect>> = { openai: openaiDialect, anthropic: anthropicDialect };

export interface DataPath {
	readonly path: string;
	readonly dialect: Dialect;
	readonly operation: Operation;
}

export const DATA_PATHS: readonly DataPath[] = [
	{ path: "/v1/chat/completions", dialect: openaiDialect, operation: "chat" },
	{ path: "/v1/completions", dialect: openaiDialect, operation: "completion" },
	{ path: "/v1/embeddings", dialect: openaiDialect, operation: "embedding" },
	{ path: "/v1/responses", dialect: openaiDialect, operation: "response" },
	{ path: "/v1/messages", dialect: anthropicDialect, operation: "message" },
	{ path: "/v1/messages/count_tokens", dialect: anthropicDialect, operation: "count_tokens" },
];

const BY_PATH = new Map(DATA_PATHS.map((entry) => [entry.path, entry]));

/** The path without its query string. */
export function dataPath(path: string): DataPath | undefined {
	return BY_PATH.get(path);
}

/** Which form an error takes where no request was understood: by the path's prefix. */
export function dialectForPath(path: string): Dialect {
	return path === "/v1/messages" || path.startsWith("/v1/messages/") ? anthropicDialect : openaiDialect;
}
