/**
 * The scheduler of this process as the admin plane sees and steers it: reads the core's own counters, and makes changes as events of the core, so
 * that they are in force for what waits already.
 */
import type { CapacityGuard } from "../core/capacity/capacity-guard.ts";
import type { Pool } from "../core/schedule/pool.ts";
import { poolLoad } from "../core/schedule/pool-load.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { DecisionEvent, RecentDecisions } from "../engine/recent-decisions.ts";
import type {
	DecisionRecord,
	ExplainQuestion,
	Explanation,
	QueueChangeRequest,
	QueueStatus,
	RequestStatus,
	SchedulerAdmin,
	SchedulerStatus,
} from "../http/admin/scheduler-admin.ts";
import type { DataPlane } from "../http/data-plane.ts";
import type { Clock, Timers } from "../ports/clock.ts";
import { explainLive } from "./live-explain.ts";

export interface RunningSchedulerParts {
	readonly plane: DataPlane;
	readonly decisions: RecentDecisions;
	readonly clock: Clock;
	readonly timers: Timers;
	/** `off`, `static`, `engine`, …: where the limits of a pool come from. */
	readonly modeOf: (pool: number) => string;
	readonly guard: CapacityGuard;
	readonly engineText: (pool: number) => string | undefined;
}

export class RunningScheduler implements SchedulerAdmin {
	readonly #parts: RunningSchedulerParts;

	constructor(parts: RunningSchedulerParts) {
		this.#parts = parts;
	}

	get pools(): readonly string[] {
		return this.#core.pools.map((pool) => pool.name);
	}

	status(name: string): SchedulerStatus | undefined {
		const pool = this.#core.pools.find((one) => one.name === name);
		if (pool === undefined) return undefined;
		const now = this.#parts.clock.now();
		const { scheduler } = this.#core.settings;
		const { allocator } = pool;
		const load = poolLoad(pool, now);
		const { maxTokensPerSec } = pool.capacity;
		return {
			pool: name,
			allocator,
			scheduler,
			queues: pool.queues.map((_, queue) => this.#queue(pool.index, queue)),
			capacity: {
				currentTps: load.tokensPerSec,
				...(Number.isFinite(maxTokensPerSec) ? { maxTps: maxTokensPerSec } : {}),
				utilizationPct: 100 * load.saturation,
				activeRequests: pool.endpoints.reduce((total, endpoint) => total + endpoint.sequences, 0),
				mode: this.#parts.modeOf(pool.index),
				endpoints: pool.endpoints.length,
				endpointsUp: load.endpointsUp,
				maxConcurrent: load.sequencesMax,
				inFlightTokens: load.tokens,
				maxInflightTokens: load.tokensMax,
			},
			preemptionsTotal: pool.preemptions,
			...this.#routerOf(pool),
			preemption: {
				enabled: this.#core.settings.preemption !== undefined,
				victims: this.#core.settings.preemption?.victims ?? [],
				preemptorMax: this.#core.settings.preemption?.preemptorMax ?? -1,
				wastedTokens: pool.wastedTokens,
			},
		};
	}

	/** What a half should have and what came to it, since the start. */
	#routerOf(pool: Pool): Pick<SchedulerStatus, "router"> {
		const { halves, pools, settings } = this.#core;
		const half = Math.floor(pool.index / settings.pools.length);
		if (halves === undefined) return {};
		const arrived = (some: readonly Pool[]) =>
			some.flatMap(({ queues }) => queues).reduce((sum, { enqueued }) => sum + enqueued, 0);
		const all = arrived(pools);
		const own = arrived(pools.filter(({ allocator }) => allocator === pool.allocator));
		return { router: { sharePct: 100 * halves[half]!.share, ...(all === 0 ? {} : { trafficPct: (100 * own) / all }) } };
	}

	#queue(pool: number, queue: number): QueueStatus {
		const state = this.#core.pools[pool]!.queues[queue]!;
		const { label, name } = state.settings;
		return {
			index: queue,
			label,
			name,
			currentDepth: this.#core.pools[pool]!.waiting(queue),
			totalEnqueued: state.enqueued,
			totalDequeued: state.dispatched,
			totalTimeout: state.timedOut,
			totalDropped: state.dropped,
			avgWaitMs: state.dispatched === 0 ? 0 : state.waitMsTotal / state.dispatched,
			inFlight: state.inFlight,
			paused: state.paused,
			maxDepth: state.maxDepth,
			timeoutMs: state.timeoutMs,
			weight: this.#core.pools[pool]!.weights[queue]!,
			waitingTokens: state.waitingTokens,
			inFlightTokens: state.inFlightTokens,
			reservedTps: state.reservedTps ?? 0,
			limitTps: state.tokenRate?.ratePerSec ?? Number.POSITIVE_INFINITY,
			limitRps: state.requestRate?.ratePerSec ?? Number.POSITIVE_INFINITY,
		};
	}

	changeQueue(pool: string, queue: number, change: QueueChangeRequest): string | undefined {
		const index = this.#indexOf(pool);
		this.#parts.plane.engine.change((core, now) => core.configureQueue(index, queue, change, now));
		return undefined;
	}

	pause(pool: string, queue: number): void {
		const index = this.#indexOf(pool);
		this.#parts.plane.engine.change((core) => core.pause(index, queue));
	}

	resume(pool: string, queue: number): void {
		const index = this.#indexOf(pool);
		this.#parts.plane.engine.change((core, now) => core.resume(index, queue, now));
	}

	clear(pool: string, queue: number): number {
		const index = this.#indexOf(pool);
		return this.#parts.plane.engine.change((core, now) => core.clear(index, queue, now));
	}

	requests(): readonly RequestStatus[] {
		const found: RequestStatus[] = [];
		for (const exchange of this.#parts.plane.exchanges.list()) {
			const status = exchange.status;
			if (status === undefined) continue;
			const { metadata, model, facts, submit } = status.arrival;
			found.push({
				requestId: exchange.requestId,
				state: status.waiting ? "waiting" : "running",
				pool: this.#core.pools[status.pool]!.name,
				queue: this.#core.pools[status.pool]!.queues[status.queue]!.settings.label,
				accountId: metadata.accountId,
				...(metadata.tokenId === undefined ? {} : { tokenId: metadata.tokenId }),
				tier: metadata.tier,
				...(metadata.environment === undefined ? {} : { environment: metadata.environment }),
				model,
				stream: facts.stream,
				arrivedAt: status.startedAt,
				waitMs: status.waitMs,
				estimatedTokens: submit.promptTokens + submit.completionTokens,
				...(status.waiting || !facts.stream ? {} : { producedTokens: status.producedTokens }),
			});
		}
		return found;
	}

	cancel(requestId: string): boolean {
		const exchange = this.#parts.plane.exchanges.find(requestId);
		if (exchange?.status === undefined) return false;
		exchange.cancelByOperator();
		return true;
	}

	explain(question: ExplainQuestion): Explanation {
		const { plane, clock, guard, engineText } = this.#parts;
		const { tokenId } = question.metadata;
		const tokenInUse = tokenId === undefined ? 0 : (plane.tokenUse.get(tokenId) ?? 0);
		const { lifecycle, quotas, rates, windows, priceOf } = plane;
		const parts = {
			lifecycle,
			core: this.#core,
			tokenInUse,
			quotas,
			rates,
			windows,
			priceOf,
			guard,
			engineText,
		};
		return explainLive(question, parts, clock.now());
	}

	decision(requestId: string): DecisionRecord | undefined {
		const events = this.#parts.decisions.of(requestId);
		const alive = this.requests().find((request) => request.requestId === requestId);
		if (events.length === 0 && alive === undefined) return undefined;
		const end = events.find((event) => event.event === "end");
		const { sequence: _, event: __, at: endedAt, ...settled } = end ?? { sequence: 0, event: "end", at: undefined };
		return {
			...(alive ?? {}),
			...settled,
			requestId,
			state: alive?.state ?? "ended",
			...(endedAt === undefined ? {} : { endedAt }),
			decisions: events
				.filter((event) => event.event !== "end")
				.map(({ at, event, pool, queue, payer, endpoint, reason, position, waitMs }) => ({
					at,
					decision: event,
					pool,
					queue,
					payer: payer ?? null,
					endpoint: endpoint ?? null,
					reason: reason ?? null,
					position: position ?? null,
					waitMs,
				})),
		};
	}

	decisionsAfter(sequence: number): Iterable<DecisionEvent> {
		return this.#parts.decisions.after(sequence);
	}

	get latestDecision(): number {
		return this.#parts.decisions.latest;
	}

	nextDecision(timeoutMs: number): Promise<void> {
		return this.#parts.decisions.next((call) => void this.#parts.timers.after(timeoutMs, call));
	}

	get #core(): SchedulingCore {
		return this.#parts.plane.engine.core;
	}

	#indexOf(pool: string): number {
		return this.#core.pools.findIndex((one) => one.name === pool);
	}
}
