/** Clock and timers of the process, as the ports want them. */
import { performance } from "node:perf_hooks";
import type { Clock, Timers } from "../ports/clock.ts";

export const systemClock: Clock = { now: () => performance.now(), epochNow: () => Date.now() };

export const systemTimers: Timers = {
	after(delayMs, callback) {
		const timer = setTimeout(callback, delayMs);
		timer.unref();
		return () => clearTimeout(timer);
	},
};
