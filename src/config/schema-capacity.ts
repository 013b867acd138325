/**
 * Schema rows of capacity and of the providers that have it. Capacity keys stand in `[capacity]` for every provider, in `[provider.NAME]` for
 * one and in `[provider.NAME.family.FAMILY]` for some of its models; the nearest one wins. (Design: 01 §2, 03 §2, 06 §9.)
 */
import { key, optional, section } from "./schema-key.ts";
import {
	anyText,
	decimal,
	duration,
	environmentVariable,
	filePath,
	httpUrl,
	integer,
	listOf,
	oneOf,
	orOff,
	orWord,
	toggle,
	urlPath,
} from "./value-type.ts";

export const CAPACITY_MODES = ["static", "engine", "measured", "adaptive"] as const;
export const ENGINES = ["auto", "vllm", "sglang", "tgi", "ollama", "llamacpp"] as const;
export const PROVIDER_TYPES = ["openai", "anthropic", "ollama"] as const;

const tokens = integer({ min: 1, max: 1_000_000_000_000 });
const requests = integer({ min: 1, max: 1_000_000 });
const rate = decimal({ above: 0, max: 1e12 });

export const capacityKeys = {
	maxConcurrent: optional("max_concurrent", requests, "Sequences in flight.", {
		unit: "sequences",
		note: "what the engine says, else 64",
	}),
	maxInflightTokens: optional(
		"max_inflight_tokens",
		tokens,
		"Sum of the outstanding charges in flight: the KV-cache budget.",
		{ unit: "tokens", note: "what the engine says, else none" },
	),
	maxPrefillTokens: key(
		"max_prefill_tokens",
		orWord(tokens, "auto", "off"),
		"auto",
		"Prompt tokens of queues outside `headroom_for` that may be on their way to a first token, per endpoint; `auto` learns the prefill rate.",
		{ unit: "tokens" },
	),
	prefillWindowMs: key(
		"prefill_window",
		duration(),
		"100ms",
		"Time of prefill that `max_prefill_tokens = auto` lets such prompts take.",
	),
	maxTokensPerSec: optional("max_tokens_per_sec", rate, "Ceiling of the token rate.", {
		unit: "tokens/s",
		note: "none",
	}),
	maxRps: optional("max_rps", rate, "Ceiling of the request rate.", { unit: "requests/s", note: "none" }),
	burstSeconds: key("burst_seconds", decimal({ above: 0, max: 3600 }), "2", "Burst of the rate ceilings.", {
		unit: "s",
	}),
	maxContextLength: optional(
		"max_context_length",
		tokens,
		"Longest prompt plus completion; a longer one is refused at once.",
		{ unit: "tokens", note: "what the engine says, else none" },
	),
	headroom: key(
		"headroom",
		orWord(decimal({ min: 0, below: 1 }), "auto"),
		"0.03",
		"Part of the space that is closed to all queues but `headroom_for`.",
	),
	headroomFor: key(
		"headroom_for",
		listOf(integer({ min: 0, max: 99 })),
		"0,1",
		"Levels or buckets that find the headroom free.",
	),
	headroomTargetWaitMs: key(
		"headroom_target_wait",
		duration(),
		"50ms",
		"P99 wait of those queues that `headroom = auto` aims at.",
	),
	headroomMax: key("headroom_max", decimal({ min: 0, below: 1 }), "0.2", "Most that `headroom = auto` takes."),
	mode: optional(
		"mode",
		oneOf(CAPACITY_MODES),
		"Where the limits come from: this file, the engine, a benchmark report, or a controller that follows the engine.",
		{
			note: "measured with `capacity_from`, engine where no space key is set, else static",
		},
	),
	capacityFrom: optional("capacity_from", filePath, "Benchmark report that `mode = measured` reads.", { note: "none" }),
	targetTtftP99Ms: optional(
		"target_ttft_p99",
		duration(),
		"P99 time from dispatch to first token of the `headroom_for` queues that adaptive capacity aims at.",
		{ note: "none" },
	),
	minConcurrent: key("min_concurrent", requests, "4", "Least that adaptive capacity goes down to.", {
		unit: "sequences",
	}),
	degradationMode: key(
		"degradation_mode",
		oneOf(["fail_open", "fail_closed", "cached"], { fail_close: "fail_closed", fail_opened: "fail_open" }),
		"fail_open",
		"What measured and adaptive capacity do when nothing can be learnt: the estimates below, nothing, or the last known.",
	),
	estimatedTokensPerSec: key("estimated_tokens_per_sec", rate, "5000", "Token rate under `fail_open`.", {
		unit: "tokens/s",
	}),
	estimatedMaxConcurrent: key("estimated_max_concurrent", requests, "20", "Sequences in flight under `fail_open`.", {
		unit: "sequences",
	}),
};

export const capacitySection = section(
	"capacity",
	"Capacity of every provider that does not say otherwise.",
	capacityKeys,
);

/** Keys of a provider beside its capacity. */
export const providerKeys = {
	type: key("type", oneOf(PROVIDER_TYPES), "openai", "Wire form that the provider speaks."),
	endpoints: optional(
		"endpoint",
		listOf(httpUrl, { min: 1, max: 1000 }),
		"Base URL; several are replicas of each other.",
		{ note: "`--upstream`, `TOKLIGENCE_UPSTREAM`, else http://127.0.0.1:8000, for an only provider" },
	),
	models: key("models", listOf(anyText), "*", "Models it serves, `*` standing for any text."),
	apiKeyEnv: optional("api_key_env", environmentVariable, "Environment variable that holds the provider's key.", {
		note: "no key is sent",
		secret: true,
	}),
	engine: key(
		"engine",
		oneOf(ENGINES, { "llama.cpp": "llamacpp" }),
		"auto",
		"Engine behind it, for its error shapes, metrics and cancellation.",
	),
	enginePriority: key(
		"engine_priority",
		oneOf(["off", "level", "share"]),
		"off",
		"Whether the engine is told the level, or whether the request runs inside its queue's guarantee.",
	),
	forceStream: key(
		"force_stream",
		toggle,
		"false",
		"Whether whole answers are fetched as streams and assembled, so that progress is seen.",
	),
	affinity: key(
		"affinity",
		oneOf(["none", "session", "prefix"]),
		"none",
		"Whether requests of one session prefer the endpoint that served it last.",
	),
	connectTimeoutMs: key("connect_timeout", duration(), "5s", "Time to connect."),
	firstByteTimeoutMs: key(
		"first_byte_timeout",
		orOff(duration()),
		"off",
		"Time to the first byte; off, because waiting inside the engine counts.",
	),
	idleTimeoutMs: key("idle_timeout", orOff(duration()), "60s", "Longest silence within an answer."),
	healthPath: optional("health_path", urlPath, "Path that answers 2xx while an endpoint is well.", {
		note: "of the engine",
	}),
};

export const providerSection = section("provider.NAME", "An upstream and its replicas: one pool.", {
	...providerKeys,
	...capacityKeys,
});

export const familySection = section(
	"provider.NAME.family.FAMILY",
	"Some models of a provider that have a pool of their own, `NAME/FAMILY`.",
	{
		models: optional("models", listOf(anyText, { min: 1 }), "Models of the family, `*` standing for any text.", {
			note: "needed",
			local: true,
		}),
		...capacityKeys,
	},
);
