/** Turns what the engine decides and how exchanges end into the events that operators read. */
import type { DecisionObserver } from "../engine/engine.ts";
import type { RecentDecisions } from "../engine/recent-decisions.ts";
import type { DataPlane, ExchangeRecord } from "../http/data-plane.ts";
import type { Clock } from "../ports/clock.ts";

/** Events kept: some thousand requests. */
export const DECISIONS_KEPT = 10_000;

export class DecisionRecorder {
	readonly #recent: RecentDecisions;
	readonly #clock: Clock;
	/** Made after the engine, which reports from the first request on. */
	#plane: DataPlane | undefined;

	constructor(recent: RecentDecisions, clock: Clock) {
		this.#recent = recent;
		this.#clock = clock;
	}

	watch(plane: DataPlane): void {
		this.#plane = plane;
	}

	readonly decided: DecisionObserver = (kind, queue, reason, waitMs, payer, pool, endpoint, listener) => {
		const plane = this.#plane;
		const requestId = listener?.requestId;
		if (plane === undefined || requestId === undefined) return;
		const at = this.#clock.epochNow();
		const own = plane.engine.core.pools[pool]!;
		const position = kind === "wait" ? own.waiting(queue) : undefined;
		const metadata = listener?.arrival?.metadata;
		this.#recent.add({
			at,
			requestId,
			event: kind,
			pool: own.name,
			queue: own.queues[queue]!.settings.label,
			payer: payer === queue || kind !== "dispatch" ? undefined : own.queues[payer]!.settings.label,
			endpoint: kind === "dispatch" ? endpoint : undefined,
			reason: reason === "none" ? undefined : reason,
			position,
			waitMs,
			accountId: metadata?.accountId,
			tier: metadata?.tier,
			environment: metadata?.environment,
			model: listener?.arrival?.model,
		});
	};

	ended(record: ExchangeRecord): void {
		const { requestId, arrival, usage, waitMs, outcome, code, durationMs, ttftMs } = record;
		const pool = this.#plane!.engine.core.pools[record.pool]!;
		const metadata = arrival?.metadata;
		const submit = arrival?.submit;
		this.#recent.add({
			at: this.#clock.epochNow(),
			requestId,
			event: "end",
			accountId: record.accountId,
			tier: metadata?.tier,
			environment: metadata?.environment,
			model: arrival?.model,
			tokenId: metadata?.tokenId,
			pool: arrival && pool.name,
			queue: submit && pool.queues[record.queue]!.settings.label,
			routedBy: metadata?.routedBy,
			rule: arrival?.rule.rule.name,
			via: arrival?.allocation.via,
			windows: arrival === undefined || arrival.adjusted.windows.length === 0 ? undefined : arrival.adjusted.windows,
			weight: submit?.weight,
			stream: arrival?.facts.stream,
			estimatedTokens: submit && submit.promptTokens + submit.completionTokens,
			waitMs,
			outcome,
			code,
			durationMs,
			ttftMs,
			promptTokens: usage?.promptTokens,
			completionTokens: usage?.completionTokens,
		});
	}
}
