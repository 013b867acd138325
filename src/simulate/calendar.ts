/**
 * The calendar of a simulation: which time windows hold at an instant of virtual time that began at a wall-clock instant, and when that changes
 * next. The schedules are those of the gateway (`core/allocate/time-window-schedule`).
 */
import { ActiveWindows, type TimeWindow } from "../core/allocate/time-window.ts";
import { parseSchedule, type Starts, spanAt } from "../core/allocate/time-window-schedule.ts";
import type { ZoneOffset } from "../core/model/civil-time.ts";
import type { EpochMillis, Millis } from "../core/model/units.ts";

export interface WindowReport {
	readonly name: string;
	/** How often it began, or held from the start. */
	readonly applied: number;
	/** Virtual time in which it held. */
	readonly held_ms: Millis;
	/** When it held, in virtual time. */
	readonly spans_ms: readonly (readonly [Millis, Millis])[];
}

interface Known {
	readonly window: TimeWindow;
	readonly starts: Starts;
	readonly spans: [Millis, Millis][];
	open: boolean;
}

export class SimulatedCalendar {
	readonly #startAt: EpochMillis;
	readonly #known: readonly Known[];
	#active = new ActiveWindows([]);
	#until: Millis = 0;

	/** `startAt`: the wall clock when virtual time is 0. */
	constructor(windows: readonly TimeWindow[], startAt: EpochMillis, offset: ZoneOffset) {
		this.#startAt = startAt;
		this.#known = windows.flatMap((window) => {
			if (!window.enabled) return [];
			const parsed = parseSchedule(window, offset);
			return parsed.ok ? [{ window, starts: parsed.starts, spans: [], open: false }] : [];
		});
		if (this.#known.length === 0) this.#until = Number.POSITIVE_INFINITY;
	}

	epochAt(now: Millis): EpochMillis {
		return this.#startAt + now;
	}

	/** The next instant at which another set may hold. */
	get nextBoundary(): Millis {
		return this.#until;
	}

	/** The windows that hold from now on, when those are others than before; undefined when nothing changed. */
	look(now: Millis): ActiveWindows | undefined {
		if (now < this.#until) return undefined;
		const at = this.epochAt(now);
		let until = Number.POSITIVE_INFINITY;
		let changed = false;
		for (const known of this.#known) {
			const span = spanAt(known.starts, known.window.durationMs, at);
			const boundary = span?.end ?? known.starts.next(at) ?? Number.POSITIVE_INFINITY;
			until = Math.min(until, boundary - this.#startAt);
			if (known.open === (span !== undefined)) continue;
			changed = true;
			known.open = span !== undefined;
			if (known.open) known.spans.push([now, Number.POSITIVE_INFINITY]);
			else known.spans.at(-1)![1] = now;
		}
		this.#until = until;
		if (!changed) return undefined;
		this.#active = new ActiveWindows(this.#known.filter(({ open }) => open).map(({ window }) => window));
		return this.#active;
	}

	/** Every window that held, in the order of their precedence. */
	report(endMs: Millis): readonly WindowReport[] {
		return this.#known.map(({ window, spans }) => {
			const within = spans.map(([from, to]) => [Math.round(from), Math.round(Math.min(to, endMs))] as const);
			return {
				name: window.name,
				applied: within.length,
				held_ms: within.reduce((sum, [from, to]) => sum + to - from, 0),
				spans_ms: within,
			};
		});
	}
}
