/**
 * Events of a core as plain data, and a core made again from them: since a core has no clock and no randomness, the same settings and the
 * same events give the same decisions, so any incident can be replayed.
 *
 * A recording is from the core's first event on; it grows by about a hundred bytes an event, so it is for a span that somebody looks
 * into, not for ever. Only events that came to their end are in it: one that threw changed nothing. Infinity is written as a string, since
 * JSON has none.
 *
 * @example
 * ```ts
 * const settings = coreSettings({ queues: priorityQueues({ levels: 2, defaultPriority: 1 }) });
 * const core = new RecordingCore(settings);
 * core.submit(submitRequest({ flow: flowPath(["acme"]), promptTokens: 10, completionTokens: 10 }), 0);
 * const kept = JSON.stringify(core.events);
 * const again = replay(settings, JSON.parse(kept));
 * console.log(again.decisions[0].kind); // → dispatch
 * console.log(JSON.stringify(again.core.snapshot()) === JSON.stringify(core.snapshot())); // → true
 * ```
 */
import type { Millis, Tokens } from "../model/units.ts";
import type { CapacitySettings, CoreSettings } from "./core-settings.ts";
import type { Decision, Ticket } from "./decision.ts";
import { flowPath, keysOf } from "./flow-path.ts";
import type { HalfCapacity } from "./halves.ts";
import { type FinalUsage, type QueueChange, SchedulingCore } from "./scheduling-core.ts";
import type { SubmitRequest } from "./submit-request.ts";

/** Name of the method and its arguments; of a submission, the flow is its keys. */
export type CoreEvent = readonly [name: RecordedMethod, ...given: readonly unknown[]];

export const RECORDED_METHODS = [
	"submit",
	"produced",
	"finish",
	"cancel",
	"takeBack",
	"aborted",
	"advance",
	"pause",
	"resume",
	"clear",
	"configureQueue",
	"configureRules",
	"configureCapacity",
	"scaleCapacity",
	"configureHalves",
	"endpointUp",
	"endpointDown",
] as const;
export type RecordedMethod = (typeof RECORDED_METHODS)[number];

/** A core that writes down what happens to it. */
export class RecordingCore extends SchedulingCore {
	readonly #events: CoreEvent[] = [];
	#within = false;

	/** So far. */
	get events(): readonly CoreEvent[] {
		return this.#events;
	}

	override submit(request: SubmitRequest, now: Millis): Ticket {
		const given = { ...request, pools: [...request.pools], flow: keysOf(request.flow) };
		return this.#noted(super.submit(request, now), "submit", given, now);
	}

	override produced(ticket: Ticket, tokens: Tokens, now: Millis): void {
		this.#noted(super.produced(ticket, tokens, now), "produced", ticket, tokens, now);
	}

	override finish(ticket: Ticket, usage: FinalUsage, now: Millis): void {
		this.#noted(super.finish(ticket, usage, now), "finish", ticket, { ...usage }, now);
	}

	override cancel(ticket: Ticket, now: Millis): void {
		this.#noted(super.cancel(ticket, now), "cancel", ticket, now);
	}

	override takeBack(ticket: Ticket, now: Millis): void {
		this.#noted(super.takeBack(ticket, now), "takeBack", ticket, now);
	}

	override aborted(ticket: Ticket, now: Millis, delivered?: FinalUsage): void {
		const more = delivered === undefined ? [] : [{ ...delivered }];
		this.#noted(super.aborted(ticket, now, delivered), "aborted", ticket, now, ...more);
	}

	override advance(now: Millis): void {
		this.#noted(super.advance(now), "advance", now);
	}

	override pause(pool: number, queue: number): void {
		this.#noted(super.pause(pool, queue), "pause", pool, queue);
	}

	override resume(pool: number, queue: number, now: Millis): void {
		this.#noted(super.resume(pool, queue, now), "resume", pool, queue, now);
	}

	override clear(pool: number, queue: number, now: Millis): number {
		return this.#noted(super.clear(pool, queue, now), "clear", pool, queue, now);
	}

	override configureQueue(pool: number, queue: number, change: QueueChange, now: Millis): void {
		this.#noted(super.configureQueue(pool, queue, change, now), "configureQueue", pool, queue, { ...change }, now);
	}

	override configureRules(depths: readonly number[], moved: readonly number[]): void {
		this.#noted(super.configureRules(depths, moved), "configureRules", [...depths], [...moved]);
	}

	override configureCapacity(pool: number, change: Partial<CapacitySettings>, now: Millis): void {
		this.#noted(super.configureCapacity(pool, change, now), "configureCapacity", pool, { ...change }, now);
	}

	override scaleCapacity(factor: number, now: Millis): void {
		// It is carried out by an event of its own per pool, which replaying it brings about again.
		this.#within = true;
		super.scaleCapacity(factor, now);
		this.#within = false;
		this.#noted(undefined, "scaleCapacity", factor, now);
	}

	override configureHalves(halves: readonly HalfCapacity[], now: Millis): void {
		const given = halves.map((half) => ({ ...half }));
		this.#noted(super.configureHalves(halves, now), "configureHalves", given, now);
	}

	override endpointUp(pool: number, endpoint: number, now: Millis): void {
		this.#noted(super.endpointUp(pool, endpoint, now), "endpointUp", pool, endpoint, now);
	}

	override endpointDown(pool: number, endpoint: number, now: Millis): void {
		this.#noted(super.endpointDown(pool, endpoint, now), "endpointDown", pool, endpoint, now);
	}

	#noted<T>(result: T, name: RecordedMethod, ...given: readonly unknown[]): T {
		if (!this.#within) this.#events.push([name, ...given.map(written)]);
		return result;
	}
}

/** A core after the events, and all it decided. */
export function replay(
	settings: CoreSettings,
	events: Iterable<CoreEvent>,
): { readonly core: SchedulingCore; readonly decisions: readonly Readonly<Decision>[] } {
	const core = new SchedulingCore(settings);
	const decisions: Decision[] = [];
	const methods = core as unknown as Record<RecordedMethod, (...given: unknown[]) => unknown>;
	for (const [name, ...given] of events) {
		const [first, ...rest] = given.map(read);
		if (name === "submit") {
			const request = first as Omit<SubmitRequest, "flow"> & { flow: string[] };
			core.submit({ ...request, flow: flowPath(request.flow) }, rest[0] as Millis);
		} else {
			methods[name](first, ...rest);
		}
		for (let decision = core.next(); decision !== undefined; decision = core.next()) decisions.push({ ...decision });
	}
	return { core, decisions };
}

const INFINITY = "Infinity";

/** The value with Infinity as a string, one level deep. */
function written(value: unknown): unknown {
	if (value === Number.POSITIVE_INFINITY) return INFINITY;
	if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
	return Object.fromEntries(
		Object.entries(value).map(([key, of]) => [key, of === Number.POSITIVE_INFINITY ? INFINITY : of]),
	);
}

function read(value: unknown): unknown {
	if (value === INFINITY) return Number.POSITIVE_INFINITY;
	if (Array.isArray(value)) return value.map(read);
	if (typeof value !== "object" || value === null) return value;
	return Object.fromEntries(
		Object.entries(value).map(([key, of]) => [key, of === INFINITY ? Number.POSITIVE_INFINITY : of]),
	);
}
