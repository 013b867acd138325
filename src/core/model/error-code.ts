/**
 * Every refusal or failure that a client can see, by its public code. HTTP statuses and wording live in http/error-response;
 * docs/errors.md lists exactly these (a test compares them).
 */
export const ERROR_CODES = [
	"invalid_request",
	"context_length_exceeded",
	"invalid_header_value",
	"exceeds_capacity",
	"missing_token",
	"unknown_token",
	"revoked_token",
	"expired_token",
	"account_suspended",
	"header_routing_not_allowed",
	"priority_not_allowed",
	"model_not_allowed",
	"not_found",
	"model_not_served",
	"method_not_allowed",
	"request_timeout",
	"body_too_large",
	"headers_too_large",
	"quota_exceeded",
	"rate_limited",
	"client_closed",
	"internal",
	"upstream_unavailable",
	"upstream_protocol_error",
	"upstream_timeout",
	"queue_full",
	"queue_timeout",
	"queue_cleared",
	"deadline_unmeetable",
	"displaced",
	"capacity_guard",
	"preempted",
	"cancelled_by_operator",
	"draining",
	"stores_unavailable",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** A refusal as a value: what to tell the client, and when it may try again. */
export interface Refusal {
	readonly code: ErrorCode;
	/** Names the thing, its value and what is allowed. */
	readonly message: string;
	/** The field or header at fault. */
	readonly param?: string;
	/** Honest time until a retry can succeed; the edge clamps it to what clients obey. */
	readonly retryAfterMs?: number;
	/** `false` when a retry cannot help within a minute. */
	readonly retryable?: boolean;
}
