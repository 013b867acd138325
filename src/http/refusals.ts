/** The words and codes of refusals that the data plane makes of what the scheduler and the engines say. */
import type { ErrorCode, Refusal } from "../core/model/error-code.ts";
import type { Reason } from "../core/schedule/decision.ts";
import type { UpstreamErrorKind } from "../protocol/upstream-error.ts";

const OF_REASON: Partial<Record<Reason, readonly [code: ErrorCode, message: string]>> = {
	queue_full: ["queue_full", "the queue is full and this account has the most waiting in it"],
	exceeds_capacity: [
		"exceeds_capacity",
		"the request needs more capacity than there is: lower max_tokens or shorten the prompt",
	],
	deadline_unmeetable: ["deadline_unmeetable", "it could not start within X-Request-Deadline-Ms"],
	queue_timeout: ["queue_timeout", "it waited as long as its queue allows"],
	displaced: ["displaced", "the queue is full and made room for somebody who uses less of it"],
	queue_cleared: ["queue_cleared", "an operator cleared the queue"],
	cancelled: ["cancelled_by_operator", "an operator cancelled the request"],
	preempted: ["preempted", "its capacity was needed for more important work"],
	upstream_unavailable: ["upstream_unavailable", "no endpoint serves this model at the moment"],
};

/** Why the scheduler ended a request, for its client. */
export function refusalOfReason(reason: Reason, retryAfterMs: number): Refusal {
	const [code, message] = OF_REASON[reason] ?? (["internal", reason] as const);
	return { code, message, retryAfterMs };
}

/** A failure that the upstream worded inside a 200, in our codes. */
const OF_PROBLEM: Partial<Record<UpstreamErrorKind, ErrorCode>> = {
	busy: "upstream_unavailable",
	server: "upstream_unavailable",
	context: "context_length_exceeded",
	client: "invalid_request",
};

export function codeOfProblem(kind: UpstreamErrorKind): ErrorCode {
	return OF_PROBLEM[kind] ?? "upstream_protocol_error";
}

export function unserved(model: string): Refusal {
	return {
		code: "upstream_unavailable",
		message: `no endpoint that serves ${JSON.stringify(model)} answers`,
		retryAfterMs: 1000,
	};
}
