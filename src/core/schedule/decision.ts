/**
 * What the core decides, as data. `next()` hands out objects that are reused: read one before the next call.
 */
import type { Millis } from "../model/units.ts";

/**
 * A request in the core, from submit to its end: a small integer (string ids cost several times the whole decision).
 * It carries a generation, so that a ticket used after its end is noticed.
 */
export type Ticket = number;

/** Of a ticket's 30 bits, the lower ones: the request's row, which no other live request has. */
export const ROW_BITS = 22;
export const ROW_LIMIT: number = 1 << ROW_BITS;

/** Rows are dense: an array by row is as long as most requests ever alive at once. */
export function rowOfTicket(ticket: Ticket): number {
	return ticket & (ROW_LIMIT - 1);
}

export const DECISION_KINDS = ["dispatch", "wait", "shed", "evict", "preempt", "requeue"] as const;

/**
 * - `dispatch`: send it to `endpoint` now; end it with `finish`, `cancel` or `takeBack`
 * - `wait`: it waits, `reason` says behind what
 * - `shed`: refused before waiting; the ticket is over
 * - `evict`: removed while waiting (or after an abort that may not be repeated); the ticket is over
 * - `preempt`: abort it upstream, then call `aborted`
 * - `requeue`: it waits again, at the head of its flow (preempted), in another pool (failover) or half (rerouted)
 */
export type DecisionKind = (typeof DECISION_KINDS)[number];

export const REASONS = [
	"none",
	// why a request waits
	"behind",
	"space",
	"rate",
	"window",
	"paused",
	"unavailable",
	// why one ends without having run
	"queue_full",
	"exceeds_capacity",
	"deadline_unmeetable",
	"queue_timeout",
	"displaced",
	"queue_cleared",
	"cancelled",
	"preempted",
	"upstream_unavailable",
	// why one is taken back or moves
	"preemption",
	"failover",
	"retry",
	"rerouted",
] as const;
export type Reason = (typeof REASONS)[number];

export interface Decision {
	kind: DecisionKind;
	ticket: Ticket;
	/** Pool of the request at this moment. */
	pool: number;
	/** Its queue in that pool. */
	queue: number;
	/** Queue whose capacity pays (another one when upgraded under `atleast`). */
	payer: number;
	/** Endpoint of a dispatch within its pool, else -1. */
	endpoint: number;
	reason: Reason;
	/** How long the request has waited so far, all its waits together. */
	waitMs: Millis;
}
