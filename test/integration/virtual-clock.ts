/**
 * The clock and the timers of a process, taken over: time stands still while anything is going on, and jumps to the next timer when nothing is. A server
 * in such a process, with its clients and what it calls, behaves as on a machine that is never short of CPU, however slow the real one.
 *
 * Going on is: an event of the loop (a socket, a worker) within the last turns, or a file operation under way. Data on the loopback interface is
 * there when its sender returns, so that a few empty turns say that all of it was read. Install it before the modules that use time are
 * loaded. `setImmediate`, microtasks and Node's own timers (keep-alive of its HTTP server) stay real. Units: milliseconds.
 */
import { performance } from "node:perf_hooks";
import type { Millis } from "../../src/core/model/units.ts";

const QUIET_TURNS = 4;
const FILE_OPERATIONS = /^FS/;

interface Entry {
	at: Millis;
	/** Timers of the same instant fire in the order in which they were set. */
	order: number;
	readonly call: () => void;
	readonly everyMs: Millis | undefined;
	alive: boolean;
}

/** Starts with the real time; from then on it is virtual. Returns the function that ends it (timers still set then never fire). */
export function installVirtualClock(): () => void {
	const timers: Entry[] = [];
	const before = (a: Entry, b: Entry) => a.at < b.at || (a.at === b.at && a.order < b.order);
	let now = performance.now();
	let order = 0;
	let stopped = false;

	function push(entry: Entry): void {
		let place = timers.push(entry) - 1;
		while (place > 0) {
			const parent = (place - 1) >> 1;
			if (!before(entry, timers[parent]!)) break;
			timers[place] = timers[parent]!;
			place = parent;
		}
		timers[place] = entry;
	}

	function pop(): Entry {
		const first = timers[0]!;
		const last = timers.pop()!;
		if (timers.length === 0) return first;
		let place = 0;
		for (let child = 1; child < timers.length; child = 2 * place + 1) {
			if (child + 1 < timers.length && before(timers[child + 1]!, timers[child]!)) child++;
			if (!before(timers[child]!, last)) break;
			timers[place] = timers[child]!;
			place = child;
		}
		timers[place] = last;
		return first;
	}

	// As Node counts: whole milliseconds, at least one.
	const due = (delayMs: unknown) => now + Math.max(1, Math.trunc(Number(delayMs)) || 1);

	class VirtualTimer {
		#entry: Entry;
		readonly #delayMs: unknown;

		constructor(call: () => void, delayMs: unknown, repeats: boolean) {
			this.#delayMs = delayMs;
			this.#entry = {
				at: due(delayMs),
				order: order++,
				call,
				everyMs: repeats ? due(delayMs) - now : undefined,
				alive: true,
			};
			push(this.#entry);
		}

		ref(): this {
			return this;
		}

		unref(): this {
			return this;
		}

		hasRef(): boolean {
			return true;
		}

		refresh(): this {
			this.#entry.alive = false;
			this.#entry = { ...this.#entry, at: due(this.#delayMs), order: order++, alive: true };
			push(this.#entry);
			return this;
		}

		close(): this {
			this.#entry.alive = false;
			return this;
		}

		[Symbol.dispose](): void {
			this.close();
		}
	}

	const clear = (timer: unknown) => {
		if (timer instanceof VirtualTimer) timer.close();
	};
	Object.assign(globalThis, {
		setTimeout: (call: (...args: unknown[]) => void, delayMs?: number, ...args: unknown[]) =>
			new VirtualTimer(() => call(...args), delayMs, false),
		setInterval: (call: (...args: unknown[]) => void, delayMs?: number, ...args: unknown[]) =>
			new VirtualTimer(() => call(...args), delayMs, true),
		clearTimeout: clear,
		clearInterval: clear,
	});
	const { timeOrigin } = performance;
	performance.now = () => now;
	Date.now = () => Math.floor(timeOrigin + now);

	/** All that is set for the next instant. */
	function fire(): void {
		while (timers.length > 0 && !timers[0]!.alive) pop();
		if (timers.length === 0) return;
		now = Math.max(now, timers[0]!.at);
		while (timers.length > 0 && timers[0]!.at <= now) {
			const entry = pop();
			if (!entry.alive) continue;
			if (entry.everyMs === undefined) entry.alive = false;
			else push(Object.assign(entry, { at: now + entry.everyMs, order: order++ }));
			entry.call();
		}
	}

	let events = -1;
	let quiet = 0;
	const turn = () => {
		if (stopped) return;
		const seen = performance.nodeTiming.uvMetricsInfo.events;
		if (seen !== events) quiet = 0;
		else if (++quiet >= QUIET_TURNS) {
			quiet = 0;
			if (!process.getActiveResourcesInfo().some((resource) => FILE_OPERATIONS.test(resource))) fire();
		}
		events = seen;
		setImmediate(turn);
	};
	setImmediate(turn);
	return () => {
		stopped = true;
	};
}
