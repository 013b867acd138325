/** Turns what the engine decides and how exchanges end into the events that operators read. */
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
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
		const position = kind === "wait" ? plane.engine.core.pools[pool]!.waiting(queue) : undefined;
		const arrival = plane.exchanges.get(requestId)?.arrival;
		this.#recent.add(() => ({
			at,
			requestId,
			event: kind,
			pool: plane.poolNames[pool]!,
			queue: plane.queues[queue]!.label,
			...(payer === queue || kind !== "dispatch" ? {} : { payer: plane.queues[payer]!.label }),
			...(kind === "dispatch" ? { endpoint } : {}),
			...(reason === "none" ? {} : { reason }),
			...(position === undefined ? {} : { position }),
			waitMs,
			...identityOf(arrival),
		}));
	};

	ended(record: ExchangeRecord): void {
		const { arrival, pool, usage } = record;
		const plane = this.#plane!;
		const at = this.#clock.epochNow();
		this.#recent.add(() => ({
			at,
			requestId: record.requestId,
			event: "end",
			...(record.accountId === undefined ? {} : { accountId: record.accountId }),
			...(arrival === undefined
				? {}
				: {
						...identityOf(arrival),
						...(arrival.metadata.tokenId === undefined ? {} : { tokenId: arrival.metadata.tokenId }),
						pool: plane.poolNames[pool]!,
						queue: plane.queues[arrival.submit.queue]!.label,
						routedBy: arrival.metadata.routedBy,
						rule: arrival.rule.rule.name,
						via: arrival.allocation.via,
						...(arrival.adjusted.windows.length === 0 ? {} : { windows: arrival.adjusted.windows }),
						weight: arrival.submit.weight,
						stream: arrival.facts.stream,
						estimatedTokens: arrival.submit.promptTokens + arrival.submit.completionTokens,
					}),
			waitMs: record.waitMs,
			outcome: record.outcome,
			...(record.code === undefined ? {} : { code: record.code }),
			durationMs: record.durationMs,
			...(record.ttftMs === undefined ? {} : { ttftMs: record.ttftMs }),
			...(usage === undefined ? {} : { promptTokens: usage.promptTokens, completionTokens: usage.completionTokens }),
		}));
	}
}

function identityOf(arrival: Arrival | undefined) {
	if (arrival === undefined) return {};
	const { accountId, tier, environment } = arrival.metadata;
	return { accountId, tier, ...(environment === undefined ? {} : { environment }), model: arrival.model };
}
