-- What was used is summed from the ledger; this table keeps checkpoints of such sums, adjustments and alerts. It refers to no quota: budgets
-- that come with a token (quota_tokens_per_month) have their periods here too. Nothing was ever written to its predecessor.

DROP TABLE quota_usage;

CREATE TABLE quota_usage (
	quota_id TEXT NOT NULL,
	window_start BIGINT NOT NULL,
	window_end BIGINT NOT NULL,
	-- by everything that settled before counted_until; 0 there means that there is no checkpoint
	used_value BIGINT NOT NULL,
	counted_until BIGINT NOT NULL,
	adjusted_value BIGINT NOT NULL,
	-- highest alert already sent in this window: 0, 80, 90, 100
	alerted_pct BIGINT NOT NULL,
	PRIMARY KEY (quota_id, window_start)
);

-- sums over an organisation or a token, as over an account
CREATE INDEX usage_ledger_by_organisation ON usage_ledger (organisation, settled_at);
CREATE INDEX usage_ledger_by_token ON usage_ledger (token_id, settled_at);
