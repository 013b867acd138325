-- Time windows and quotas (design 02 §3, 06 §2).

CREATE TABLE time_windows (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	schedule_type TEXT NOT NULL,
	schedule_expr TEXT NOT NULL,
	duration_sec BIGINT NOT NULL,
	timezone TEXT NOT NULL,
	enabled BIGINT NOT NULL,
	window_order DOUBLE PRECISION NOT NULL,
	-- JSON: [{target_type, target_value, adjustments}]
	rules TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

CREATE TABLE quotas (
	id TEXT PRIMARY KEY,
	account_id TEXT NOT NULL REFERENCES accounts (id),
	node TEXT NOT NULL,
	environment TEXT,
	quota_type TEXT NOT NULL,
	limit_dimension TEXT NOT NULL,
	limit_value DOUBLE PRECISION NOT NULL,
	allow_borrow BIGINT NOT NULL,
	max_borrow_pct DOUBLE PRECISION,
	lend BIGINT NOT NULL,
	reset_day BIGINT,
	timezone TEXT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);
CREATE INDEX quotas_by_account ON quotas (account_id);

CREATE TABLE quota_usage (
	quota_id TEXT NOT NULL REFERENCES quotas (id),
	window_start BIGINT NOT NULL,
	window_end BIGINT NOT NULL,
	used_value BIGINT NOT NULL,
	borrowed_value BIGINT NOT NULL,
	adjusted_value BIGINT NOT NULL,
	-- highest alert already sent in this window: 0, 80, 90, 100
	alerted_pct BIGINT NOT NULL,
	PRIMARY KEY (quota_id, window_start)
);
