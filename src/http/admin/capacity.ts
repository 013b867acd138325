/** Admin operation on capacity: what the guard sees, and how full each pool is (design 06 §2). */
import { z } from "zod";
import type { GuardStatus } from "../../core/capacity/capacity-guard.ts";
import { answer, type Operation, operation } from "./operation.ts";
import { running } from "./scheduler.ts";
import type { SchedulerStatus } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";

/** What the process knows beside the scheduler's own counters. */
export interface CapacityAdmin {
	guard(): GuardStatus;
	/** Name of the time window that changes capacity now. */
	activeTimeWindow(): string | undefined;
	/** Requests that wait inside the engine of a pool, where something watches that. */
	engineQueue(pool: string): number | undefined;
	/** Whether nothing can be learnt of a pool, and estimates hold. */
	isDegraded(pool: string): boolean;
}

const shownProvider = z.object({
	pool: z.string(),
	mode: z.string(),
	current_tps: z.number(),
	max_tps: z.number().nullable(),
	utilization_pct: z.number(),
	active_requests: z.number(),
	max_concurrent: z.number().nullable(),
	in_flight_tokens: z.number(),
	max_inflight_tokens: z.number().nullable(),
	endpoints: z.number(),
	endpoints_up: z.number(),
	engine_queue: z.number().nullable(),
	degraded: z.boolean(),
});

const shownCapacity = z.object({
	max_tps: z.number().nullable(),
	internal_tps: z.number(),
	external_tps: z.number(),
	buffer_tps: z.number(),
	internal_usage_pct: z.number().nullable(),
	total_usage_pct: z.number().nullable(),
	external_allowed: z.boolean(),
	active_time_window: z.string().nullable(),
	providers: z.array(shownProvider),
});

function showProvider({ pool, capacity }: SchedulerStatus, admin: CapacityAdmin): z.infer<typeof shownProvider> {
	return {
		pool,
		mode: capacity.mode,
		current_tps: capacity.currentTps,
		max_tps: finite(capacity.maxTps),
		utilization_pct: capacity.utilizationPct,
		active_requests: capacity.activeRequests,
		max_concurrent: finite(capacity.maxConcurrent),
		in_flight_tokens: capacity.inFlightTokens,
		max_inflight_tokens: finite(capacity.maxInflightTokens),
		endpoints: capacity.endpoints,
		endpoints_up: capacity.endpointsUp,
		engine_queue: finite(admin.engineQueue(pool)),
		degraded: admin.isDegraded(pool),
	};
}

/** JSON knows no infinity. */
function finite(value: number | undefined): number | null {
	return value !== undefined && Number.isFinite(value) ? value : null;
}

export const capacityOperations: readonly Operation[] = [
	operation(
		{
			method: "GET",
			path: "/capacity/status",
			summary: "Internal and external usage, whether external work is let in, and how full each pool is",
			answer: shownCapacity,
		},
		(context) => {
			const scheduler = running(context);
			if (isRefusal(scheduler)) return scheduler;
			const admin = context.capacity!;
			const { maxTps, internalTps, externalTps, bufferTps, externalAllowed } = admin.guard();
			const percent = (tps: number) => (Number.isFinite(maxTps) ? (100 * tps) / maxTps : null);
			return answer({
				max_tps: finite(maxTps),
				internal_tps: internalTps,
				external_tps: externalTps,
				buffer_tps: bufferTps,
				internal_usage_pct: percent(internalTps),
				total_usage_pct: percent(internalTps + externalTps),
				external_allowed: externalAllowed,
				active_time_window: admin.activeTimeWindow() ?? null,
				providers: scheduler.pools.map((pool) => showProvider(scheduler.status(pool)!, admin)),
			} satisfies z.infer<typeof shownCapacity>);
		},
	),
];
