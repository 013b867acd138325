/**
 * What the wire protocol says of one request, as far as scheduling needs it. Made by `protocol/` from the body, never changed.
 */
import type { Tokens } from "./units.ts";

export type Operation = "chat" | "completion" | "embedding" | "message" | "response" | "count_tokens" | "passthrough";

export interface RequestFacts {
	readonly operation: Operation;
	/** As the client named it; the alias table is applied later. */
	readonly model: string;
	readonly stream: boolean;
	/** The client asked for usage in its stream. */
	readonly wantsStreamUsage: boolean;
	/** Characters of text in the prompt (all parts, tools included); the estimator turns it into tokens. */
	readonly promptChars: number;
	/** Documented constants for images, audio and the like, already in tokens. */
	readonly promptExtraTokens: Tokens;
	/** `max_tokens`, `max_completion_tokens`, `max_output_tokens`; absent when the client gave none. */
	readonly maxTokens?: Tokens;
	/** Sequences that the engine will run: `n`, `best_of`, prompt arrays multiply. At least 1. */
	readonly sequences: number;
	readonly hasTools: boolean;
	/** For affinity: an id of the conversation if the body gives one away (hash of the first message). */
	readonly conversationKey?: string;
}
