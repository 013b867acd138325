/** The process's clock: monotonic milliseconds, and a timer that copes with waits longer than Node's. */
import { performance } from "node:perf_hooks";
import type { EngineClock } from "../engine/engine.ts";

/** Longer `setTimeout`s fire at once. */
const LONGEST_MS = 2 ** 31 - 1;

export const realClock: EngineClock = {
	now: () => performance.now(),
	wakeAt(at, call) {
		let timer: NodeJS.Timeout;
		const arm = () => {
			const left = at - performance.now();
			if (left <= 0) {
				timer = setTimeout(call, 1);
			} else if (left > LONGEST_MS) {
				timer = setTimeout(arm, LONGEST_MS);
			} else {
				timer = setTimeout(call, Math.ceil(left));
			}
		};
		arm();
		return { cancel: () => clearTimeout(timer) };
	},
};
