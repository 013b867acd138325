/** A process clock that tests can move forward: for what takes a minute by design. */
import { performance } from "node:perf_hooks";
import { onTestFinished, vi } from "vitest";

/** Answers what moves it. Timers of Node stay on the real one. */
export function movableClock(): (ms: number) => void {
	const real = performance.now.bind(performance);
	let ahead = 0;
	const spy = vi.spyOn(performance, "now").mockImplementation(() => real() + ahead);
	onTestFinished(() => spy.mockRestore());
	return (ms) => {
		ahead += ms;
	};
}
