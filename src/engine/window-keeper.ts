/**
 * Which time windows hold now: looked at by every request (a comparison of two numbers), worked out again only at a boundary, when windows
 * change, or when the clock went back. One timer for the next boundary, for what is no request's business: capacities, metrics, the log.
 */
import { ActiveWindows, type TimeWindow } from "../core/allocate/time-window.ts";
import { boundaryAfter, parseSchedule, type Span, type Starts, spanAt } from "../core/allocate/time-window-schedule.ts";
import type { ZoneOffset } from "../core/model/civil-time.ts";
import type { EpochMillis, Millis } from "../core/model/units.ts";
import type { Timers } from "../ports/clock.ts";
import type { WindowStore } from "../ports/window-store.ts";

/** Timers do not notice when somebody sets the wall clock: it is looked at this often. */
const LONGEST_SLEEP_MS: Millis = 30_000;

/** A window, and when it holds next or now. */
export interface WindowState {
	readonly window: TimeWindow;
	readonly span: Span | undefined;
	/** The first start after now. */
	readonly nextStart: EpochMillis | undefined;
}

export interface WindowKeeperDependencies {
	readonly store: Pick<WindowStore, "all">;
	readonly offset: ZoneOffset;
	readonly epochNow: () => EpochMillis;
	readonly timers: Timers;
	/** Another set holds; `began` and `ended` are names of windows. */
	readonly onChange: (active: ActiveWindows, began: readonly string[], ended: readonly string[]) => void;
	readonly onError: (error: unknown) => void;
}

interface Known {
	readonly window: TimeWindow;
	readonly starts: Starts;
}

export class WindowKeeper {
	readonly #to: WindowKeeperDependencies;
	#known: readonly Known[] = [];
	#active = new ActiveWindows([]);
	#spans = new Map<string, Span>();
	/** The set holds in [from, until). */
	#from: EpochMillis = Number.POSITIVE_INFINITY;
	#until: EpochMillis = Number.NEGATIVE_INFINITY;
	/** Per window: newest start that was counted, and how many were. */
	readonly #applied = new Map<string, { newest: EpochMillis; count: number }>();
	#cancelTimer: (() => void) | undefined;
	#closed = false;

	constructor(dependencies: WindowKeeperDependencies) {
		this.#to = dependencies;
	}

	/** Reads the windows again; in force when it resolves. */
	async reload(): Promise<void> {
		const before = new Map(this.#known.map((known) => [JSON.stringify(known.window), known]));
		const windows = await this.#to.store.all();
		this.#known = windows.flatMap((window) => {
			const same = before.get(JSON.stringify(window));
			if (same !== undefined) return [same];
			if (!window.enabled) return [];
			const parsed = parseSchedule(window, this.#to.offset);
			if (parsed.ok) return [{ window, starts: parsed.starts }];
			this.#to.onError(new Error(`time window "${window.name}" is ignored: ${parsed.message}`));
			return [];
		});
		this.#evaluate(this.#to.epochNow());
	}

	/** The windows that hold now. */
	get active(): ActiveWindows {
		this.look();
		return this.#active;
	}

	/** Brings the set up to date; for every request. */
	look(): void {
		const now = this.#to.epochNow();
		if (now < this.#from || now >= this.#until) this.#evaluate(now);
	}

	/** Of all enabled windows. */
	get names(): readonly string[] {
		return this.#known.map(({ window }) => window.name);
	}

	/** How often each window began, by name, since the start of the process. */
	get applied(): ReadonlyMap<string, { readonly count: number }> {
		return this.#applied;
	}

	close(): void {
		this.#closed = true;
		this.#cancelTimer?.();
	}

	#evaluate(now: EpochMillis): void {
		const spans = new Map<string, Span>();
		const holding: TimeWindow[] = [];
		let until = Number.POSITIVE_INFINITY;
		for (const { window, starts } of this.#known) {
			const span = spanAt(starts, window.durationMs, now);
			if (span !== undefined) {
				spans.set(window.name, span);
				holding.push(window);
			}
			until = Math.min(until, span?.end ?? starts.next(now) ?? Number.POSITIVE_INFINITY);
		}
		const before = this.#spans;
		this.#spans = spans;
		this.#from = now;
		this.#until = until;
		const same =
			holding.length === this.#active.windows.length && holding.every((w) => this.#active.windows.includes(w));
		for (const [name, { start }] of spans) this.#count(name, start);
		if (!same) {
			this.#active = new ActiveWindows(holding);
			const began = [...spans.keys()].filter((name) => !before.has(name));
			const ended = [...before.keys()].filter((name) => !spans.has(name));
			this.#to.onChange(this.#active, began, ended);
		}
		this.#arm(now);
	}

	#count(name: string, start: EpochMillis): void {
		const applied = this.#applied.get(name) ?? { newest: Number.NEGATIVE_INFINITY, count: 0 };
		// A clock that went back shows a start again: it was counted.
		if (start > applied.newest) this.#applied.set(name, { newest: start, count: applied.count + 1 });
	}

	#arm(now: EpochMillis): void {
		this.#cancelTimer?.();
		if (this.#closed || this.#known.length === 0) return;
		const sleepMs = Math.min(LONGEST_SLEEP_MS, Math.max(1, this.#until - now));
		this.#cancelTimer = this.#to.timers.after(sleepMs, () => {
			this.look();
			this.#arm(this.#to.epochNow());
		});
	}
}

/** Where windows stand at an instant, in order; also for an instant in the future. */
export function windowStates(
	windows: readonly TimeWindow[],
	at: EpochMillis,
	offset: ZoneOffset,
): readonly WindowState[] {
	return windows.map((window) => {
		const parsed = parseSchedule(window, offset);
		if (!parsed.ok) return { window, span: undefined, nextStart: undefined };
		const { starts } = parsed;
		return { window, span: spanAt(starts, window.durationMs, at), nextStart: starts.next(at) };
	});
}

/** When any of them changes next. */
export function nextChange(
	windows: readonly TimeWindow[],
	at: EpochMillis,
	offset: ZoneOffset,
): EpochMillis | undefined {
	const boundaries = windows.flatMap((window) => {
		const parsed = parseSchedule(window, offset);
		return parsed.ok && window.enabled ? (boundaryAfter(parsed.starts, window.durationMs, at) ?? []) : [];
	});
	return boundaries.length === 0 ? undefined : Math.min(...boundaries);
}
