/** What the admin plane and `/metrics` say of capacity beyond the scheduler's own counters. */
import type { CapacityGuard, GuardStatus } from "../core/capacity/capacity-guard.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { CapacityAdmin } from "../http/admin/capacity.ts";
import type { Clock } from "../ports/clock.ts";
import type { CapacityKeeper } from "./capacity-keeper.ts";

export interface CapacityParts {
	readonly guard: CapacityGuard;
	readonly keeper: CapacityKeeper;
	readonly core: SchedulingCore;
	readonly clock: Clock;
	/** In order. */
	readonly activeWindows: () => readonly string[];
	/** External requests that wait for the guard. */
	readonly held: () => number;
	readonly rejected: () => number;
}

export function capacityAdminOf(parts: CapacityParts): CapacityAdmin {
	const { guard, keeper, core, clock } = parts;
	const adaptive = (name: string) => {
		const pool = core.pools.find((one) => one.name === name);
		return pool === undefined ? undefined : keeper.adaptiveOf(pool.index);
	};
	return {
		guard: () => guard.status(clock.now()),
		guardSettings: () => guard.settings,
		guardOpensInMs: () => guard.opensInMs(clock.now()),
		tierTps: (tier) => guard.tierTps(tier, clock.now()),
		guardHeld: parts.held,
		guardRejected: parts.rejected,
		activeWindows: parts.activeWindows,
		headroom: (name) => core.pools.find((one) => one.name === name)?.capacity.headroom ?? 0,
		engineQueue: (pool) => {
			const found = adaptive(pool);
			return found?.limit === undefined ? undefined : found.engineQueue;
		},
		isDegraded: (pool) => adaptive(pool)?.isBlind === true,
	};
}

export function guardMetrics(
	{ internalTps, externalTps, maxTps, externalAllowed }: GuardStatus,
	held: number,
): readonly string[] {
	return [
		"# HELP tgw_external_allowed Whether the capacity guard lets external work in.",
		"# TYPE tgw_external_allowed gauge",
		`tgw_external_allowed ${externalAllowed ? 1 : 0}`,
		"# HELP tgw_external_held External requests that wait for the capacity guard.",
		"# TYPE tgw_external_held gauge",
		`tgw_external_held ${held}`,
		"# HELP tgw_capacity_internal_tps Tokens per second of internal tiers, over 5 s.",
		"# TYPE tgw_capacity_internal_tps gauge",
		`tgw_capacity_internal_tps ${internalTps}`,
		"# HELP tgw_capacity_external_tps Tokens per second of external tiers, over 5 s.",
		"# TYPE tgw_capacity_external_tps gauge",
		`tgw_capacity_external_tps ${externalTps}`,
		"# HELP tgw_capacity_max_tps What usage is a part of.",
		"# TYPE tgw_capacity_max_tps gauge",
		`tgw_capacity_max_tps ${Number.isFinite(maxTps) ? maxTps : "+Inf"}`,
	];
}
