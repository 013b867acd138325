/**
 * Schema rows of the parts above the pools: guard, preemption, windows, quotas, protection, failover, migration router. What of them is not
 * built yet stands in `availability.ts`. (Design: 01 §§3, 6-8, 02 §3, 03 §2.)
 */
import { key, optional, section } from "./schema-key.ts";
import { anyText, decimal, duration, httpUrl, integer, listOf, oneOf, toggle } from "./value-type.ts";

const fraction = decimal({ min: 0, max: 1 });
const rate = decimal({ above: 0, max: 1e12 });
const queue = integer({ min: 0, max: 99 });

export const weightedRouterSection = section(
	"allocator.weighted_router",
	"Splits accounts and every pool's capacity between the two allocators while migrating. Changes by reload: what waits follows its account.",
	{
		priorityWeight: key(
			"priority_weight",
			decimal({ min: 0, max: 1_000_000 }),
			"90",
			"Share of the priority allocator: with 90 beside 10, nine tenths; 0 leaves it nothing.",
		),
		bucketWeight: key(
			"bucket_weight",
			decimal({ min: 0, max: 1_000_000 }),
			"10",
			"Share of the bucket allocator; 0 leaves it nothing.",
		),
	},
);

export const capacityGuardSection = section(
	"capacity_guard",
	"Refuses external work while internal work needs the capacity.",
	{
		enabled: key("enabled", toggle, "false", "Whether the guard acts."),
		maxTps: optional("max_tps", rate, "Token rate that usage is a part of.", {
			unit: "tokens/s",
			note: "`max_tokens_per_sec` of the pool",
		}),
		internalLimitPct: key(
			"internal_limit_pct",
			fraction,
			"0.90",
			"Internal usage from which external tiers are refused, as a fraction.",
		),
		resumePct: key("resume_pct", fraction, "0.85", "Internal usage below which they are served again, as a fraction."),
		bufferPct: key("buffer_pct", fraction, "0.10", "Part of `max_tps` that is kept for `buffer_for`, as a fraction."),
		bufferFor: key("buffer_for", listOf(queue), "0", "Levels or buckets that the buffer is kept for."),
		externalTiers: key("external_tiers", listOf(anyText), "external,premium,spot", "Tiers that count as external."),
		action: key("action", oneOf(["reject", "queue"]), "reject", "What happens to external work meanwhile."),
	},
);

export const preemptionSection = section("preemption", "Takes space back from running work of bad levels.", {
	enabled: key("enabled", toggle, "false", "Whether work is ever taken back."),
	preemptPriorities: key("preempt_priorities", listOf(queue), "3,4", "Levels or buckets whose work may be taken back."),
	preemptorMaxPriority: key("preemptor_max_priority", queue, "1", "Worst level or bucket that may cause it."),
	maxPreemptionsPerRequest: key(
		"max_preemptions_per_request",
		integer({ min: 0, max: 100 }),
		"1",
		"How often one request may be put back.",
	),
	preemptMaxAgeMs: key(
		"preempt_max_age",
		duration(),
		"5s",
		"Age after which an answer that is not streamed is left alone.",
	),
	flowing: key("flowing", toggle, "false", "Whether a stream that its client already sees may be ended."),
});

export const timeWindowsSection = section(
	"time_windows",
	"Changes of policy by calendar; the windows themselves are data, kept through the admin API.",
	{
		enabled: key("enabled", toggle, "true", "Whether windows act."),
	},
);

export const quotasSection = section(
	"quotas",
	"Budgets of accounts and teams; the quotas themselves are data, kept through the admin API.",
	{
		enabled: key("enabled", toggle, "true", "Whether quotas act."),
		quotaResetDay: key(
			"quota_reset_day",
			integer({ min: 1, max: 28 }),
			"1",
			"Day of the month on which monthly budgets start again.",
		),
		timezone: key(
			"timezone",
			anyText,
			"UTC",
			"IANA time zone in which days and months begin, unless the account has its own.",
		),
		maxBorrowPct: key(
			"max_borrow_pct",
			decimal({ min: 0, max: 0.5 }),
			"0.5",
			"Most that a burstable quota may borrow on top, as a fraction.",
		),
		alertWebhook: optional("alert_webhook", httpUrl, "Receives an alert at 80, 90 and 100 % of a budget.", {
			note: "none",
		}),
		alertWebhookSecretEnv: optional(
			"alert_webhook_secret_env",
			anyText,
			"Environment variable that holds the key alerts are signed with.",
			{ note: "none" },
		),
		alertWebhookAllowPrivate: key(
			"alert_webhook_allow_private",
			toggle,
			"false",
			"Whether `alert_webhook` may lead to a loopback or private address; link-local ones are refused in any case.",
		),
	},
);

export const contextLengthSection = section(
	"protection.context_length",
	"Limits of the context that a request may use.",
	{
		defaultLimit: optional("default_limit", integer({ min: 1, max: 1_000_000_000 }), "Longest context of a request.", {
			unit: "tokens",
			note: "none",
		}),
		modelLimits: key("model_limits", listOf(anyText), "", "Limits per model, as `MODEL:tokens`."),
		truncationStrategy: key(
			"truncation_strategy",
			oneOf(["reject", "truncate_oldest", "truncate_middle", "webhook"]),
			"reject",
			"What happens to a longer request.",
		),
		webhookUrl: optional("webhook_url", httpUrl, "Shortens requests under `truncation_strategy = webhook`.", {
			note: "needed for that strategy",
		}),
	},
);

export const rateLimitSection = section(
	"protection.rate_limit",
	"Rates above which requests are refused, whoever sends them.",
	{
		maxRps: optional("max_rps", rate, "Requests of the whole gateway.", { unit: "requests/s", note: "none" }),
		maxTps: optional("max_tps", rate, "Tokens of the whole gateway.", { unit: "tokens/s", note: "none" }),
		modelMaxRps: key("model_max_rps", listOf(anyText), "", "Requests per model, as `MODEL:rate`."),
		modelMaxTps: key("model_max_tps", listOf(anyText), "", "Tokens per model, as `MODEL:rate`."),
	},
);

export const providersSection = section("providers", "How providers stand in for each other.", {
	failoverOrder: key(
		"failover_order",
		listOf(anyText),
		"",
		"Providers in the order in which a model's pools are tried; the others follow in the order of their sections.",
	),
	overflow: optional("overflow", anyText, "Provider that takes work while the others are full.", { note: "none" }),
	overflowAbove: key("overflow_above", fraction, "0.9", "Use of the others from which it does, as a fraction."),
	overflowMaxUsdPerHour: optional(
		"overflow_max_usd_per_hour",
		decimal({ min: 0, max: 1_000_000 }),
		"Most that overflow may cost.",
		{ unit: "USD/h", note: "no cap" },
	),
});
