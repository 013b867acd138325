/**
 * Schema rows of the process itself: where it listens, what it keeps, what it shows. (Design: keys of 06 §9.)
 */
import { key, openSection, optional, section } from "./schema-key.ts";
import {
	anyText,
	cidr,
	decimal,
	duration,
	environmentVariable,
	filePath,
	httpUrl,
	integer,
	listenAddress,
	listOf,
	oneOf,
	orWord,
	size,
	storeUrl,
	toggle,
	urlPath,
} from "./value-type.ts";

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

export const gatewaySection = section("gateway", "The data plane: where clients send their requests.", {
	listen: key("listen", listenAddress, "127.0.0.1:8081", "Address of the data plane."),
	tlsCert: optional(
		"tls_cert",
		filePath,
		"Certificate chain (PEM) of the data plane; read again when the file changes.",
		{ note: "plain HTTP" },
	),
	tlsKey: optional("tls_key", filePath, "Private key (PEM) of `tls_cert`.", { note: "plain HTTP" }),
	maxBodyBytes: key(
		"max_body",
		size,
		"20MB",
		"Largest request body, after decompression; a larger one is refused with 413.",
	),
	bodyTimeoutMs: key("body_timeout", duration(), "30s", "Time a client has to send its whole body."),
	headerTimeoutMs: key("header_timeout", duration(), "10s", "Time a client has to send its headers."),
	streamHoldMs: key(
		"stream_hold",
		duration(),
		"45s",
		"How long a waiting stream goes without headers before the gateway sends them and keeps it alive with pings.",
	),
	drainTimeoutMs: key(
		"drain_timeout",
		duration({ minMs: 0 }),
		"30s",
		"How long a stopping gateway lets requests in flight finish.",
	),
	passthroughPaths: key(
		"passthrough_paths",
		listOf(urlPath),
		"",
		"Further paths under `/v1/` that are scheduled with a fixed estimate and forwarded.",
	),
	trustedProxies: key("trusted_proxies", listOf(cidr), "", "Peers whose `X-Forwarded-For` is believed."),
});

export const adminSection = section("admin", "The admin plane: API, metrics, dashboard.", {
	listen: key(
		"listen",
		listenAddress,
		"127.0.0.1:8080",
		"Address of the admin plane; anything but loopback needs `token_env`.",
	),
	tokenEnv: optional("token_env", environmentVariable, "Environment variable that holds the admin token.", {
		note: "a token is made at first start and kept in the data folder",
		secret: true,
	}),
	tlsCert: optional(
		"tls_cert",
		filePath,
		"Certificate chain (PEM) of the admin plane; read again when the file changes.",
		{ note: "plain HTTP" },
	),
	tlsKey: optional("tls_key", filePath, "Private key (PEM) of `tls_cert`.", { note: "plain HTTP" }),
	metricsPublic: key(
		"metrics_public",
		orWord(toggle, "loopback"),
		"loopback",
		"Who reads `/metrics` without the admin token: everybody, nobody, or clients on loopback.",
	),
});

export const storageSection = section("storage", "What the gateway keeps, and where.", {
	dataDir: optional("data_dir", filePath, "Folder of the database, the journal and the admin token.", {
		note: "$XDG_DATA_HOME/tokligence",
	}),
	databaseUrl: optional("database_url", storeUrl, "PostgreSQL database for accounts, tokens, rules and the ledger.", {
		note: "embedded, in the data folder",
	}),
	redisUrl: optional("redis_url", storeUrl, "Redis that several gateways share their counters through.", {
		note: "none, one gateway",
	}),
	journalSync: key(
		"journal_sync",
		oneOf(["interval", "always"]),
		"interval",
		"When the journal reaches the disk: every `journal_sync_interval`, or before each answer.",
	),
	journalSyncIntervalMs: key(
		"journal_sync_interval",
		duration(),
		"50ms",
		"What a power failure can cost with `journal_sync = interval`.",
	),
	journalMaxBytes: key(
		"journal_max_bytes",
		size,
		"1GB",
		"Size up to which the journal grows while the database is away.",
	),
});

export const costSection = section("cost", "How tokens become cost, the amount that fairness is counted in.", {
	promptWeight: key("prompt_weight", decimal({ above: 0, max: 1000 }), "1", "Cost of a prompt token."),
	completionWeight: key(
		"completion_weight",
		decimal({ above: 0, max: 1000 }),
		"2",
		"Cost of a completion token, which occupies an engine longer.",
	),
	cachedWeight: key(
		"cached_weight",
		decimal({ min: 0, max: 1000 }),
		"0.1",
		"Cost of a prompt token that the engine had in its prefix cache.",
	),
	initialCompletion: key(
		"initial_completion",
		integer({ min: 1, max: 1_000_000 }),
		"256",
		"Expected completion of a model and flow that nothing was learnt about yet.",
		{ unit: "tokens" },
	),
});

export const modelsSection = openSection(
	"models",
	"Names that clients may use for models that are served under another name.",
	{},
	{
		spelling: "ALIAS",
		pattern: /^(\S{1,256})$/,
		type: anyText,
		doc: "The served model that requests for ALIAS go to.",
	},
);

const dollars = decimal({ min: 0, max: 1_000_000 });

export const pricingSection = section(
	"pricing.MODEL",
	"Prices of a model, for the ledger and for budgets in US dollars.",
	{
		promptUsdPerMillion: key("prompt_usd_per_million", dollars, "0", "Price of a million prompt tokens.", {
			unit: "USD",
		}),
		completionUsdPerMillion: key("completion_usd_per_million", dollars, "0", "Price of a million completion tokens.", {
			unit: "USD",
		}),
		cachedUsdPerMillion: optional(
			"cached_usd_per_million",
			dollars,
			"Price of a million prompt tokens from the prefix cache.",
			{
				unit: "USD",
				note: "the price of prompt tokens",
			},
		),
	},
);

export const observabilitySection = section("observability", "Logs, metrics, traces.", {
	logLevel: key("log_level", oneOf(LOG_LEVELS, { warning: "warn" }), "info", "Least serious message that is logged."),
	maxExposedBuckets: key(
		"max_exposed_buckets",
		integer({ min: 1, max: 100 }),
		"20",
		"Buckets with metrics of their own; those above appear while active, and in ranges.",
	),
	aggregateInactiveThresholdMs: key(
		"aggregate_inactive_threshold",
		duration(),
		"5m",
		"Idle time after which a bucket above `max_exposed_buckets` is only part of its range.",
	),
	bucketRangeAggregation: key(
		"bucket_range_aggregation",
		toggle,
		"true",
		"Metrics for ranges of ten buckets (`20-29`) above `max_exposed_buckets`.",
	),
	topAccounts: key(
		"top_accounts",
		integer({ min: 0, max: 1000 }),
		"20",
		"Accounts with metrics of their own, the busiest first.",
	),
	otlpEndpoint: optional("otlp_endpoint", httpUrl, "OpenTelemetry collector that spans are sent to.", {
		note: "no spans",
	}),
});
