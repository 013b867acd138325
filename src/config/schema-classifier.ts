/**
 * Schema rows of layer 1: how the gateway finds out who a request is from. (Design: 02 §1, keys of 06 §9.)
 */
import { key, optional, section } from "./schema-key.ts";
import { cidr, duration, filePath, integer, listOf, oneOf, toggle } from "./value-type.ts";

export const headerClassifierSection = section(
	"classifier.header",
	"Classification by `X-TGW-*` headers from trusted peers.",
	{
		enabled: optional("enabled", toggle, "Whether these headers are looked at.", {
			note: "true when `trusted_cidrs` is set, else false",
		}),
		trustedCidrs: key("trusted_cidrs", listOf(cidr), "", "Peers whose `X-TGW-*` headers count."),
		untrusted: key(
			"untrusted",
			oneOf(["reject", "ignore"]),
			"reject",
			"What happens to such headers from anyone else: 403, or as if they were not there.",
		),
		requireToken: key(
			"require_token",
			toggle,
			"true",
			"Whether a header-routed request still needs a valid token, for billing.",
		),
		auditLogEnabled: key(
			"audit_log_enabled",
			toggle,
			"true",
			"Whether header-routed decisions go to the audit log, summed per peer and minute.",
		),
	},
);

export const tokenClassifierSection = section("classifier.token", "Classification by API token.", {
	enabled: key("enabled", toggle, "true", "Whether tokens are looked up."),
	file: optional(
		"file",
		filePath,
		"CSV file of tokens (`sha256,account_id,tier,environment,workload,name`); the database wins over it.",
		{ note: "no file" },
	),
	cacheTtlMs: key("cache_ttl", duration(), "300s", "Age at which a cached token is looked up again."),
	localLruSize: key(
		"local_lru_size",
		integer({ min: 1, max: 10_000_000 }),
		"10000",
		"Tokens kept in the memory of the process.",
	),
	enableSnapshotCache: key(
		"enable_snapshot_cache",
		toggle,
		"true",
		"Whether a copy of all active tokens is kept on disk for the time when no store answers.",
	),
	snapshotRefreshIntervalMs: key("snapshot_refresh_interval", duration(), "1h", "How often that copy is renewed."),
	failMode: key(
		"fail_mode",
		oneOf(["fail_close", "fail_open"], { fail_closed: "fail_close", fail_opened: "fail_open" }),
		"fail_close",
		"What an unknown token gets while no store answers: 503, or service at the lowest priority.",
	),
	failOpenQuotaLimit: key(
		"fail_open_quota_limit",
		integer({ min: 0, max: 1_000_000 }),
		"100",
		"Requests that one unknown token gets under `fail_open`.",
		{ unit: "requests" },
	),
	failOpenPriority: key("fail_open_priority", integer({ min: 0, max: 19 }), "4", "Level of those requests."),
	redisTtlMs: key("redis_ttl", duration(), "300s", "Life of a token's entry in Redis."),
	redisHealthCheckIntervalMs: key(
		"redis_health_check_interval",
		duration(),
		"10s",
		"How often Redis is tried while it is away.",
	),
	dbHealthCheckIntervalMs: key(
		"db_health_check_interval",
		duration(),
		"30s",
		"How often the database is tried while it is away.",
	),
});

export const defaultClassifierSection = section("classifier.default", "Requests without a token.", {
	enabled: optional("enabled", toggle, "Whether they are served, as account `default` at `default_priority`.", {
		note: "true when `classifier = hybrid` and the data plane listens on loopback only, else false",
	}),
});
