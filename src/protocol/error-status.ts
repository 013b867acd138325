/**
 * Which HTTP status each code is (design 03 §1), as data. 499 is only ever logged: its client is gone.
 */
import type { ErrorCode } from "../core/model/error-code.ts";
import type { DialectName } from "./dialect.ts";

export const ERROR_STATUS: Readonly<Record<ErrorCode, number>> = {
	invalid_request: 400,
	context_length_exceeded: 400,
	invalid_header_value: 400,
	exceeds_capacity: 400,
	missing_token: 401,
	unknown_token: 401,
	revoked_token: 403,
	expired_token: 403,
	account_suspended: 403,
	header_routing_not_allowed: 403,
	priority_not_allowed: 403,
	model_not_allowed: 403,
	not_found: 404,
	model_not_served: 404,
	method_not_allowed: 405,
	request_timeout: 408,
	body_too_large: 413,
	quota_exceeded: 429,
	rate_limited: 429,
	headers_too_large: 431,
	client_closed: 499,
	internal: 500,
	upstream_unavailable: 502,
	upstream_protocol_error: 502,
	queue_full: 503,
	queue_timeout: 503,
	queue_cleared: 503,
	deadline_unmeetable: 503,
	displaced: 503,
	capacity_guard: 503,
	preempted: 503,
	cancelled_by_operator: 503,
	draining: 503,
	stores_unavailable: 503,
	upstream_timeout: 504,
};

/** Anthropic's word for "no room now": its clients know 529, and 503 from it means an outage. */
export const ANTHROPIC_OVERLOADED_STATUS = 529;

export function errorStatus(code: ErrorCode, dialect: DialectName): number {
	const status = ERROR_STATUS[code];
	const outage = code === "draining" || code === "stores_unavailable";
	return dialect === "anthropic" && status === 503 && !outage ? ANTHROPIC_OVERLOADED_STATUS : status;
}
