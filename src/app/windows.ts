/** Time windows of a running gateway: what their boundaries change beyond single requests, and what is told of them. */
import type { ActiveWindows } from "../core/allocate/time-window.ts";
import type { Lifecycle } from "../core/lifecycle/lifecycle.ts";
import type { Engine } from "../engine/engine.ts";
import { WindowKeeper } from "../engine/window-keeper.ts";
import type { WindowStore } from "../ports/window-store.ts";
import { systemCalendar } from "./calendar.ts";
import { systemClock, systemTimers } from "./system.ts";

export interface WindowSurroundings {
	readonly store: WindowStore;
	readonly lifecycle: Lifecycle;
	readonly engine: Engine;
	/** The capacity guard's limits, as windows move them. */
	readonly configureGuard: (active: ActiveWindows) => void;
	readonly log: {
		info(fields: object, message: string): void;
		error(fields: object, message: string): void;
	};
}

export interface RunningWindows {
	readonly keeper: WindowKeeper;
	/** Lines of `/metrics`. */
	metrics(): Iterable<string>;
}

export function runWindows({ store, lifecycle, engine, configureGuard, log }: WindowSurroundings): RunningWindows {
	let factor = 1;
	const keeper: WindowKeeper = new WindowKeeper({
		store,
		offset: systemCalendar.offset,
		epochNow: systemClock.epochNow,
		timers: systemTimers,
		onChange: (active: ActiveWindows, began, ended) => {
			lifecycle.useWindows(active);
			configureGuard(active);
			if (active.capacityMultiplier !== factor) {
				factor = active.capacityMultiplier;
				engine.change((core, now) => core.scaleCapacity(factor, now));
			}
			log.info({ began, ended, hold: active.windows.map(({ name }) => name) }, "time windows");
		},
		onError: (error) => log.error({ error: String(error) }, "time windows"),
	});
	return {
		keeper,
		*metrics() {
			yield "# HELP tokligence_time_window_active Whether a time window holds.";
			yield "# TYPE tokligence_time_window_active gauge";
			const holding = new Set(keeper.active.windows.map(({ name }) => name));
			for (const name of keeper.names)
				yield `tokligence_time_window_active{window="${label(name)}"} ${holding.has(name) ? 1 : 0}`;
			yield "# HELP tokligence_time_window_applied_total How often a time window began.";
			yield "# TYPE tokligence_time_window_applied_total counter";
			for (const [name, { count }] of keeper.applied)
				yield `tokligence_time_window_applied_total{window="${label(name)}"} ${count}`;
		},
	};
}

function label(text: string): string {
	return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
