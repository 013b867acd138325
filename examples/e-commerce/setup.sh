#!/bin/sh
# An online shop on its own GPUs: the company's production, staging and dev, and two customers who rent what is left.
# Makes the accounts, tokens and rules through the admin API, and writes the tokens to tokens.env. Needs curl and jq.
#
#   ADMIN_URL=http://127.0.0.1:8080 ADMIN_TOKEN_FILE=~/.local/share/tokligence/admin-token ./setup.sh [tokens.env]
set -eu
umask 077

ADMIN_URL=${ADMIN_URL:-http://127.0.0.1:8080}
ADMIN_TOKEN_FILE=${ADMIN_TOKEN_FILE:-${XDG_DATA_HOME:-$HOME/.local/share}/tokligence/admin-token}
TOKENS=${1:-tokens.env}

# In a file, not an argument: the process list shows arguments to everybody.
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
printf 'Authorization: Bearer %s\n' "$(cat "$ADMIN_TOKEN_FILE")" > "$headers"

# post PATH BODY: prints the answer, or stops with what the gateway says.
post() {
	if ! answer=$(curl -sS --fail-with-body -H @"$headers" -d "$2" "$ADMIN_URL/v1/admin/$1" 2>&1); then
		printf 'POST %s was refused: %s\n' "$1" "$answer" >&2
		exit 1
	fi
	printf '%s' "$answer"
}

# token NAME BODY: makes a token and keeps it under that name.
token() {
	answer=$(post tokens "$2")
	printf '%s=%s\n' "$1" "$(printf '%s' "$answer" | jq -r '.token')" >> "$TOKENS"
	printf '%s: %s\n' "$1" "$(printf '%s' "$answer" | jq -r '.token_prefix')"
}

: > "$TOKENS"
next_year=$(jq -nr 'now + 365 * 86400 | todate')

post accounts '{"id": "tokligence-internal", "name": "The shop", "email": "platform@example.com", "account_type": "internal"}' > /dev/null
post accounts '{"id": "customer-1-uuid", "name": "Customer 1", "email": "one@example.com", "account_type": "external", "account_tier": "gold"}' > /dev/null
post accounts '{"id": "customer-2-uuid", "name": "Customer 2", "email": "two@example.com", "account_type": "external"}' > /dev/null

token TOKLIGENCE_PRODUCTION_TOKEN '{"account_id": "tokligence-internal", "priority_tier": "internal", "environment": "production",
	"name": "E-commerce production", "quota_tps_limit": 300}'
token TOKLIGENCE_STAGING_TOKEN '{"account_id": "tokligence-internal", "priority_tier": "internal", "environment": "staging",
	"name": "E-commerce staging", "quota_tps_limit": 200}'
token TOKLIGENCE_DEV_TOKEN '{"account_id": "tokligence-internal", "priority_tier": "internal", "environment": "dev",
	"name": "E-commerce dev", "quota_tps_limit": 100}'
token CUSTOMER_1_TOKEN '{"account_id": "customer-1-uuid", "priority_tier": "premium",
	"quota_tokens_per_month": 10000000, "quota_tps_limit": 50, "expires_at": "'"$next_year"'"}'
token CUSTOMER_2_TOKEN '{"account_id": "customer-2-uuid", "priority_tier": "external",
	"quota_tokens_per_month": 5000000, "quota_tps_limit": 30, "expires_at": "'"$next_year"'"}'

# The product search must not wait for anybody; the nightly catalogue run may wait for everybody.
post routing-rules '{"rule_name": "Nightly catalogue", "priority_order": 6, "match_tier": "internal", "match_model": ["catalogue-small", "catalogue-large"],
	"assign_priority": 4, "assign_weight": 1, "queue_timeout_sec": 600}' > /dev/null
post routing-rules '{"rule_name": "Gold customers", "priority_order": 34, "match_tier": "premium", "match_account_tier": "gold",
	"assign_priority": 2, "assign_weight": 10}' > /dev/null

echo "tokens are in $TOKENS"
