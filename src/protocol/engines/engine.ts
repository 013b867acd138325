/**
 * What differs between the engines behind the gateway, as data and small functions; one file per engine, facts from their sources
 * (versions: design 07). Whoever talks to an engine asks here instead of asking for its name.
 */
import type { Operation } from "../../core/model/request-facts.ts";
import type { Millis, Tokens } from "../../core/model/units.ts";

export const ENGINE_NAMES = ["vllm", "sglang", "tgi", "ollama", "llamacpp", "generic"] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** What an engine says about its load; what it does not say is absent. */
export interface EngineLoad {
	readonly running?: number;
	readonly waiting?: number;
	/** Share of the KV cache in use, 0 to 1; of several ranks the fullest. */
	readonly kvUse?: number;
	/** Most requests that it runs at once. */
	readonly maxRunning?: number;
	/** Tokens that its KV cache holds. */
	readonly maxTokens?: Tokens;
}

export interface LoadSource {
	readonly path: string;
	/** Reading faster disturbs the engine or shows nothing new. */
	readonly pollMs: Millis;
	/** Undefined when the text is something else than expected. */
	readonly read: (text: string) => EngineLoad | undefined;
}

export interface ContextSource {
	readonly path: string;
	/** Sent by POST when present. */
	readonly requestBody?: (model: string) => string;
	readonly read: (answer: unknown, model: string) => Tokens | undefined;
}

/** How a priority travels to the engine. */
export interface ExpressedPriority {
	/** Value of the body's `priority`. */
	readonly body?: number;
	/** Name and value of a header. */
	readonly header?: readonly [string, string];
}

export interface EnginePriority {
	readonly direction: "lower_first" | "higher_first";
	/** `engine_priority = level`: queue `level` of `levels`, 0 is the best. */
	readonly ofLevel: (level: number, levels: number, operation: Operation) => ExpressedPriority;
	/** `engine_priority = share`: on guaranteed or on borrowed capacity, far enough apart for the engine to preempt. */
	readonly ofShare: (guaranteed: boolean, operation: Operation) => ExpressedPriority;
}

export interface Engine {
	readonly name: EngineName;
	/** Absent: the engine has none and its models list answers for it. */
	readonly healthPath: string;
	/** A failing health means "loading", not "broken": wait instead of failing over for good. */
	readonly unhealthyWhileLoading: boolean;
	/** After the connection was closed the engine may go on this long; the slot stays charged. */
	readonly cancelLagMs: { readonly stream: Millis; readonly nonStream: Millis };
	/** Whether a connection can be used again after a streamed answer. */
	readonly reuseAfterStream: boolean;
	/** Idle connections must be dropped before the engine does it. */
	readonly keepAliveMs: Millis;
	/** Best first. */
	readonly loadSources: readonly LoadSource[];
	readonly contextSources: readonly ContextSource[];
	readonly priority?: EnginePriority;
	/** When the engine's response headers of a stream arrive. */
	readonly headersMean: "accepted" | "started" | "first_output";
	/** Errors that this engine words or numbers in its own way; undefined leaves it to the common reading. */
	readonly classifyError?: (error: {
		readonly status: number;
		readonly words: string;
	}) => "busy" | "client" | undefined;
}

/** uvicorn and cpp-httplib close idle connections after 5 s. */
export const KEEP_ALIVE_MS: Millis = 4000;
/** Reading metrics more often delays cancellation on some engines (measured on llama.cpp). */
export const METRICS_POLL_MS: Millis = 2000;

/** Fields of a request body that jump an engine's queue or collide with other requests; never taken from clients. */
export const STRIPPED_BODY_FIELDS = ["priority", "rid"] as const;

const STRIPPED_HEADERS: ReadonlySet<string> = new Set([
	"x-vllm-priority",
	"x-data-parallel-rank",
	// llama.cpp would go on generating after the client has left.
	"x-conversation-id",
]);

/** Headers that clients may not send to an engine; `name` in lower case. */
export function isStrippedHeader(name: string): boolean {
	return STRIPPED_HEADERS.has(name) || name.startsWith("x-override-") || name.startsWith("x-tgw-");
}
