/** What the admin plane and `/metrics` say of capacity beyond the scheduler's own counters. */
import type { CapacityGuard, GuardStatus } from "../core/capacity/capacity-guard.ts";
import type { SchedulingCore } from "../core/schedule/scheduling-core.ts";
import type { CapacityAdmin } from "../http/admin/capacity.ts";
import type { Clock } from "../ports/clock.ts";
import type { CapacityKeeper } from "./capacity-keeper.ts";

export function capacityAdminOf(
	guard: CapacityGuard,
	keeper: CapacityKeeper,
	core: SchedulingCore,
	clock: Clock,
	activeTimeWindow: () => string | undefined,
): CapacityAdmin {
	const adaptive = (name: string) => {
		const pool = core.pools.find((one) => one.name === name);
		return pool === undefined ? undefined : keeper.adaptiveOf(pool.index);
	};
	return {
		guard: () => guard.status(clock.now()),
		activeTimeWindow,
		engineQueue: (pool) => {
			const found = adaptive(pool);
			return found?.limit === undefined ? undefined : found.engineQueue;
		},
		isDegraded: (pool) => adaptive(pool)?.isBlind === true,
	};
}

export function guardMetrics({ internalTps, externalTps, maxTps }: GuardStatus): readonly string[] {
	return [
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
