/** Admin operation on capacity: what the guard sees, and how full each pool is (design 06 §2). */
import { z } from "zod";
import type { GuardSettings, GuardStatus } from "../../core/capacity/capacity-guard.ts";
import { MILLIS_PER_SECOND, type Millis } from "../../core/model/units.ts";
import { answer, type Operation, operation } from "./operation.ts";
import { running } from "./scheduler.ts";
import type { SchedulerStatus } from "./scheduler-admin.ts";
import { isRefusal } from "./validation.ts";

/** What the process knows beside the scheduler's own counters. */
export interface CapacityAdmin {
	guard(): GuardStatus;
	guardSettings(): GuardSettings;
	/** The soonest that a closed guard could open again, from now. */
	guardOpensInMs(): Millis;
	/** Of a tier that has a share of the guard's. */
	tierTps(tier: string): number;
	/** External requests that wait for the guard now, and those that it refused since the start. */
	guardHeld(): number;
	guardRejected(): number;
	/** Names of the time windows that hold now, in order. */
	activeWindows(): readonly string[];
	/** Part of a pool's space that is closed to all but the best queues. */
	headroom(pool: string): number;
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
	headroom_pct: z.number().describe("of its space, closed to all but the best queues"),
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
	active_time_windows: z.array(z.string()),
	guard: z.object({
		enabled: z.boolean(),
		action: z.enum(["reject", "queue"]),
		internal_limit_pct: z.number().describe("as a time window has it, where one moves it"),
		resume_pct: z.number(),
		buffer_pct: z.number(),
		buffer_for: z.array(z.number()),
		external_tiers: z.array(z.string()),
		opens_in_sec: z.number().nullable().describe("the soonest, while it is closed"),
		tier_shares: z
			.array(z.object({ tier: z.string(), share_pct: z.number(), current_tps: z.number() }))
			.describe("of time windows that hold"),
		held: z.number().int().describe("external requests that wait for it now"),
		rejected_total: z.number().int(),
	}),
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
		headroom_pct: percentOf(admin.headroom(pool)),
	};
}

function showGuard(admin: CapacityAdmin, isOpen: boolean): z.infer<typeof shownCapacity>["guard"] {
	const settings = admin.guardSettings();
	return {
		enabled: settings.enabled,
		action: settings.action,
		internal_limit_pct: percentOf(settings.internalLimit),
		resume_pct: percentOf(settings.resume),
		buffer_pct: percentOf(settings.buffer),
		buffer_for: [...settings.bufferFor],
		external_tiers: [...settings.externalTiers],
		opens_in_sec: isOpen ? null : Math.ceil(admin.guardOpensInMs() / MILLIS_PER_SECOND),
		tier_shares: [...(settings.tierShares ?? [])].map(([tier, share]) => ({
			tier,
			share_pct: percentOf(share),
			current_tps: admin.tierTps(tier),
		})),
		held: admin.guardHeld(),
		rejected_total: admin.guardRejected(),
	};
}

function percentOf(fraction: number): number {
	return Math.round(fraction * 1e6) / 1e4;
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
				active_time_window: admin.activeWindows()[0] ?? null,
				active_time_windows: [...admin.activeWindows()],
				guard: showGuard(admin, externalAllowed),
				providers: scheduler.pools.map((pool) => showProvider(scheduler.status(pool)!, admin)),
			} satisfies z.infer<typeof shownCapacity>);
		},
	),
];
