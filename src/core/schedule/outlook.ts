/**
 * What would become of a request submitted now: for explanations, never for decisions. Exact where nothing else waits, and for a request that would
 * join others in its queue; where only other queues wait, schedulers that ignore the order of queues decide by what each has had,
 * and the answer is the likelier one: it waits.
 */
import type { Millis } from "../model/units.ts";
import type { Reason } from "./decision.ts";
import type { Pool } from "./pool.ts";
import type { SubmitRequest } from "./submit-request.ts";

export interface Outlook {
	/** Where it would go. */
	readonly pool: number;
	readonly queue: number;
	readonly kind: "dispatch" | "wait" | "shed";
	/** Why it would wait or be shed. */
	readonly reason: Reason;
	/** Requests waiting in its queue. */
	readonly ahead: number;
	/** Its queue holds all it may: one of those waiting in it, the newcomer included, would be given up. */
	readonly full: boolean;
	/** Rough time until it would start. */
	readonly startMs: Millis;
}

export function outlook(pool: Pool, request: SubmitRequest, startMs: Millis, now: Millis): Outlook {
	const { queue, sequences, promptTokens, startWithinMs } = request;
	const tokens = promptTokens + request.completionTokens;
	const ahead = pool.waiting(queue);
	const waits = (reason: Reason, kind: "wait" | "shed" = "wait"): Outlook => ({
		pool: pool.index,
		queue,
		kind,
		reason,
		ahead,
		full: ahead >= pool.queues[queue]!.maxDepth,
		startMs,
	});
	if (!pool.couldRun(sequences, tokens)) return waits("exceeds_capacity", "shed");
	if (startMs > startWithinMs) return waits("deadline_unmeetable", "shed");
	if (pool.queues[queue]!.paused) return waits("paused");
	if (ahead > 0) return waits("behind");
	const lack = pool.lackFor(queue, sequences, promptTokens, tokens, now);
	if (lack !== "none") return waits(lack);
	if (othersGoFirst(pool, queue, sequences, tokens)) return waits("behind");
	return { pool: pool.index, queue, kind: "dispatch", reason: "none", ahead, full: false, startMs: 0 };
}

/** Whether the room that is there is held for a request of another queue. */
function othersGoFirst(pool: Pool, queue: number, sequences: number, tokens: number): boolean {
	const ignoresOrder = pool.scheduler.ignoresOrder;
	for (let other = pool.active.next(0); other >= 0; other = pool.active.next(other + 1)) {
		if (!pool.ready(other)) continue;
		if (!ignoresOrder && other > queue) return false;
		if (!ignoresOrder) return true;
		return !(pool.isPrivileged(queue) && pool.endpoints.some((at) => at.up && at.fitsAhead(sequences, tokens)));
	}
	return false;
}
