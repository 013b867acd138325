-- Accounts, tokens, rules, ledger, audit. Written in the SQL that SQLite and PostgreSQL share: BIGINT for whole numbers and
-- instants (milliseconds since the Unix epoch), TEXT for words and JSON, DOUBLE PRECISION for fractions, 0/1 for truth.

CREATE TABLE accounts (
	id TEXT PRIMARY KEY,
	email TEXT NOT NULL,
	name TEXT NOT NULL,
	account_type TEXT NOT NULL,
	account_tier TEXT,
	organisation TEXT,
	team TEXT,
	status TEXT NOT NULL,
	metadata TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

CREATE TABLE api_tokens (
	id TEXT PRIMARY KEY,
	token_hash TEXT NOT NULL UNIQUE,
	token_prefix TEXT NOT NULL,
	account_id TEXT NOT NULL REFERENCES accounts (id),
	priority_tier TEXT NOT NULL,
	environment TEXT,
	workload_tag TEXT,
	name TEXT,
	description TEXT,
	quota_tokens_per_month BIGINT,
	quota_tps_limit DOUBLE PRECISION,
	priority_override BIGINT,
	weight_override DOUBLE PRECISION,
	max_priority BIGINT,
	may_use_critical BIGINT,
	allowed_models TEXT,
	max_parallel_requests BIGINT,
	total_requests BIGINT NOT NULL DEFAULT 0,
	last_used_at BIGINT,
	expires_at BIGINT,
	revoked_at BIGINT,
	revoked_reason TEXT,
	created_at BIGINT NOT NULL
);
CREATE INDEX api_tokens_by_account ON api_tokens (account_id);
CREATE INDEX api_tokens_by_creation ON api_tokens (created_at, id);

CREATE TABLE routing_rules (
	id TEXT PRIMARY KEY,
	rule_name TEXT NOT NULL UNIQUE,
	description TEXT,
	priority_order DOUBLE PRECISION NOT NULL,
	enabled BIGINT NOT NULL,
	match_tier TEXT,
	match_environment TEXT,
	match_account_type TEXT,
	match_account_tier TEXT,
	match_workload TEXT,
	match_model TEXT,
	match_tag TEXT,
	assign_priority BIGINT,
	assign_priority_in_range DOUBLE PRECISION,
	assign_weight DOUBLE PRECISION,
	assign_queue TEXT,
	max_tps DOUBLE PRECISION,
	max_rps DOUBLE PRECISION,
	max_queue_depth BIGINT,
	queue_timeout_ms DOUBLE PRECISION,
	quota_multiplier DOUBLE PRECISION
);

CREATE TABLE usage_ledger (
	request_id TEXT PRIMARY KEY,
	client_request_id TEXT,
	account_id TEXT NOT NULL,
	organisation TEXT,
	team TEXT,
	token_id TEXT,
	tier TEXT NOT NULL,
	environment TEXT,
	workload TEXT,
	routed_by TEXT NOT NULL,
	model TEXT NOT NULL,
	provider TEXT,
	operation TEXT NOT NULL,
	prompt_tokens BIGINT NOT NULL,
	completion_tokens BIGINT NOT NULL,
	cached_tokens BIGINT NOT NULL,
	usage_source TEXT NOT NULL,
	queue TEXT NOT NULL,
	wait_ms DOUBLE PRECISION NOT NULL,
	time_to_first_token_ms DOUBLE PRECISION,
	duration_ms DOUBLE PRECISION NOT NULL,
	outcome TEXT NOT NULL,
	error_code TEXT,
	cost_nano_dollars BIGINT NOT NULL,
	started_at BIGINT NOT NULL,
	settled_at BIGINT NOT NULL,
	-- UTC, YYYY-MM-DD, from settled_at: date functions differ between databases
	settled_day TEXT NOT NULL
);
CREATE INDEX usage_ledger_by_time ON usage_ledger (settled_at, request_id);
CREATE INDEX usage_ledger_by_account ON usage_ledger (account_id, settled_at);

CREATE TABLE audit_log (
	-- given by the writer inside its transaction, under the lock of policy_version
	id BIGINT PRIMARY KEY,
	at BIGINT NOT NULL,
	actor TEXT NOT NULL,
	action TEXT NOT NULL,
	subject TEXT NOT NULL,
	before_value TEXT,
	after_value TEXT,
	reason TEXT
);

-- One row, updated first in every policy transaction: its lock puts them in one order, so a reader of `version` misses none.
CREATE TABLE policy_version (
	id BIGINT PRIMARY KEY,
	version BIGINT NOT NULL,
	last_audit_id BIGINT NOT NULL,
	rules_seeded BIGINT NOT NULL
);
INSERT INTO policy_version (id, version, last_audit_id, rules_seeded) VALUES (1, 0, 0, 0);
