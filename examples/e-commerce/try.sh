#!/bin/sh
# Sends a request as everybody of tokens.env, and two by headers through the second gateway; prints who waited in which queue.
#
#   GATEWAY_URL=http://127.0.0.1:8081 HEADER_GATEWAY_URL=http://127.0.0.1:8091 MODEL=llama ./try.sh [tokens.env]
set -eu
umask 077

GATEWAY_URL=${GATEWAY_URL:-http://127.0.0.1:8081}
HEADER_GATEWAY_URL=${HEADER_GATEWAY_URL:-http://127.0.0.1:8091}
MODEL=${MODEL:-mock}
TOKENS=${1:-tokens.env}

headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

# ask WHO URL [HEADER…]: one request with these headers.
ask() {
	who=$1
	url=$2
	shift 2
	printf '%s\n' "$@" > "$headers"
	body=$(jq -n --arg model "$MODEL" '{model: $model, max_tokens: 16, messages: [{role: "user", content: "Where is my parcel?"}]}')
	answer=$(curl -sS -D - -o /dev/null -H @"$headers" -H 'Content-Type: application/json' -d "$body" "$url/v1/chat/completions" | tr -d '\r')
	status=$(printf '%s\n' "$answer" | awk 'NR == 1 { print $2 }')
	queue=$(printf '%s\n' "$answer" | awk 'tolower($1) == "x-tgw-queue:" { print $2 }')
	printf '%s status %s queue %s\n' "$who" "$status" "${queue:--}"
}

while IFS='=' read -r name value; do
	ask "$name" "$GATEWAY_URL" "Authorization: Bearer $value"
done < "$TOKENS"

# The gateway of another team says who its requests are for.
ask header-production "$HEADER_GATEWAY_URL" 'X-TGW-Source: internal' 'X-TGW-Environment: production'
ask header-spot "$HEADER_GATEWAY_URL" 'X-TGW-Source: spot' 'X-TGW-Workload: batch'
