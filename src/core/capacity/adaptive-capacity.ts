/**
 * What follows the engine of one pool: listens to what runs there and answers, at every tick, how much room there is. Puts together the
 * limit (`concurrency-controller.ts`), the headroom, the latency target, and what holds when nothing can be learnt.
 *
 * Pure; the caller ticks it a few times a second and hands its answer to `configureCapacity`. Limits are per endpoint there; in here
 * they count the whole pool, so that an endpoint that comes or goes changes the limit in proportion.
 */
import type { Millis, Tokens } from "../model/units.ts";
import type { CapacitySettings } from "../schedule/core-settings.ts";
import type { Pool, PoolObserver } from "../schedule/pool.ts";
import { ConcurrencyController } from "./concurrency-controller.ts";
import { HeadroomController } from "./headroom-controller.ts";
import { LatencyTarget } from "./latency-target.ts";

/** What holds while nothing can be learnt: estimates, nothing, or what was known last. */
export const DEGRADATION_MODES = ["fail_open", "fail_closed", "cached"] as const;
export type DegradationMode = (typeof DEGRADATION_MODES)[number];

export interface AdaptiveSettings {
	/** Capacity as configured; what is not adapted stays as it is. */
	readonly capacity: CapacitySettings;
	/** Limit per endpoint; absent when only the headroom adapts. */
	readonly concurrency?: { readonly initial: number; readonly min: number; readonly max: number };
	/** Absent when it is fixed. */
	readonly headroom?: { readonly max: number; readonly targetWaitMs: Millis };
	readonly targetTtftP99Ms?: Millis;
	readonly degradation: {
		readonly mode: DegradationMode;
		readonly tokensPerSec: number;
		readonly maxConcurrent: number;
	};
}

/** Requests that run for so long without anything learnt are served blindly. */
const BLIND_AFTER_MS: Millis = 30_000;

export class AdaptiveCapacity implements PoolObserver {
	#settings: AdaptiveSettings;
	#headroom: HeadroomController | undefined;
	#target: LatencyTarget | undefined;
	#headroomMax = 0;
	#controller: ConcurrencyController | undefined;
	#endpoints: number;
	#busySince: Millis | undefined;
	#blind = false;

	constructor(settings: AdaptiveSettings, endpoints: number) {
		this.#settings = settings;
		this.#endpoints = Math.max(1, endpoints);
		this.configure(settings);
	}

	/** Other settings; what was learnt stays, within the new bounds. */
	configure(settings: AdaptiveSettings): void {
		this.#settings = settings;
		const { headroom, concurrency, targetTtftP99Ms } = settings;
		this.#headroomMax = headroom?.max ?? settings.capacity.headroom;
		this.#headroom =
			headroom === undefined ? undefined : new HeadroomController({ ...headroom, initial: settings.capacity.headroom });
		this.#target = targetTtftP99Ms === undefined ? undefined : new LatencyTarget(targetTtftP99Ms);
		if (concurrency === undefined) this.#controller = undefined;
		else if (this.#controller === undefined) this.#controller = this.#controllerFrom(concurrency.initial);
		else {
			const { min, max } = this.#bounds(this.#endpoints);
			this.#controller.rescale(this.#controller.limit, min, max);
		}
	}

	/** Whether nothing can be learnt and the degradation mode is in force. */
	get isBlind(): boolean {
		return this.#blind;
	}

	/** Limit per endpoint that the controller stands at; absent when the limit is fixed. */
	get limit(): number | undefined {
		return this.#controller === undefined ? undefined : Math.ceil(this.#controller.limit / this.#endpoints);
	}

	/** Sequences that run, as far as it was told. */
	get inFlight(): number {
		return this.#controller?.backlog.inFlight ?? 0;
	}

	/** Requests that wait inside the engine, as estimated. */
	get engineQueue(): number {
		return this.#controller?.queue ?? 0;
	}

	// --- what runs

	dispatched(
		row: number,
		sequences: number,
		promptTokens: Tokens,
		observed: boolean,
		privileged: boolean,
		waitMs: Millis,
		now: Millis,
	): void {
		this.#controller?.backlog.dispatched(row, sequences, promptTokens, observed, now);
		if (privileged) this.#headroom?.waited(waitMs, now);
	}

	answered(row: number, privileged: boolean, elapsedMs: Millis, now: Millis): void {
		this.#controller?.backlog.answered(row, elapsedMs, now);
		if (privileged) this.#target?.answered(elapsedMs, now);
	}

	produced(row: number, now: Millis): void {
		this.#controller?.backlog.produced(row, now);
	}

	ended(row: number, completionTokens: Tokens, now: Millis): void {
		this.#controller?.backlog.ended(row, completionTokens, now);
	}

	/** Space that the engine itself names, for what nobody configured. */
	found: Partial<Pick<CapacitySettings, "maxInflightTokens">> = {};

	/** What the engines of the pool say of themselves, all together. */
	reported(waiting: number, cacheUse: number | undefined, now: Millis): void {
		this.#controller?.reported(waiting, cacheUse, now);
	}

	// --- what there is room for

	/** The capacity from now on. */
	tick(now: Millis, pool: Pool): CapacitySettings {
		const capacity = { ...this.#settings.capacity, ...this.found };
		this.#follow(pool);
		// Halves of a pool have one engine: what is held in either waits for it.
		const halves = pool.beside === undefined ? [pool] : [pool, pool.beside];
		const held = halves.map(({ blockedBy }) => blockedBy).find((why) => why === "space" || why === "window") ?? "none";
		const closed = halves
			.flatMap(({ endpoints }) => endpoints)
			.reduce((sum, { up, headroomSequences }) => sum + (up ? headroomSequences : 0), 0);
		this.#controller?.tick(now, held, closed);
		const pressure = this.#target?.tick(now);
		const found = this.limit ?? capacity.maxConcurrent;
		const degraded = this.#degraded(now);
		if (degraded !== undefined) return { ...capacity, ...degraded };
		const least = this.#settings.concurrency?.min ?? 1;
		const limit =
			pressure === undefined ? found : Math.max(Math.min(least, found), Math.ceil(found * pressure.limitFactor));
		const most = Math.floor(limit * this.#headroomMax);
		const free = this.#headroom?.tick(limit, now);
		const pressed = Math.ceil((pressure?.headroomShare ?? 0) * most);
		const slots = free === undefined && pressed === 0 ? undefined : Math.max(free ?? 0, pressed);
		const windowFactor = pressure?.windowFactor ?? 1;
		return {
			...capacity,
			maxConcurrent: limit,
			headroom: slots === undefined ? capacity.headroom : fractionOf(slots, limit),
			prefillWindowMs: capacity.prefillWindowMs * windowFactor,
			maxPrefillTokens:
				capacity.maxPrefillTokens === "auto" ? "auto" : Math.max(1, capacity.maxPrefillTokens * windowFactor),
		};
	}

	/** Endpoints came or went: the pool's limit follows. */
	#follow(pool: Pool): void {
		const up = Math.max(1, pool.endpoints.filter((endpoint) => endpoint.up).length);
		if (up === this.#endpoints || this.#controller === undefined) return;
		const { limit } = this.#controller;
		const bounds = this.#bounds(up);
		this.#controller.rescale((limit * up) / this.#endpoints, bounds.min, bounds.max);
		this.#endpoints = up;
	}

	#degraded(now: Millis): Partial<CapacitySettings> | undefined {
		const controller = this.#controller;
		if (controller === undefined) return undefined;
		if (controller.backlog.inFlight === 0) this.#busySince = undefined;
		else this.#busySince ??= now;
		const busyMs = this.#busySince === undefined ? 0 : now - this.#busySince;
		const { learntAt } = controller;
		if (now - learntAt <= BLIND_AFTER_MS) this.#blind = false;
		else if (busyMs > BLIND_AFTER_MS) this.#blind = true;
		if (!this.#blind) return undefined;
		const { mode, tokensPerSec, maxConcurrent } = this.#settings.degradation;
		const { initial, min } = this.#settings.concurrency!;
		if (mode === "cached") return { maxConcurrent: learntAt > Number.NEGATIVE_INFINITY ? this.limit! : initial };
		// Not zero: what never runs never teaches.
		if (mode === "fail_closed") return { maxConcurrent: min };
		return { maxConcurrent, maxTokensPerSec: Math.min(tokensPerSec, this.#settings.capacity.maxTokensPerSec) };
	}

	#bounds(endpoints: number) {
		const { min, max } = this.#settings.concurrency!;
		return { min: min * endpoints, max: max * endpoints };
	}

	#controllerFrom(initialPerEndpoint: number): ConcurrencyController {
		return new ConcurrencyController({
			initial: initialPerEndpoint * this.#endpoints,
			...this.#bounds(this.#endpoints),
		});
	}
}

/** The fraction that an endpoint of `limit` slots turns into exactly `slots`, whichever way it rounds. */
function fractionOf(slots: number, limit: number): number {
	if (slots <= 0) return 0;
	return (limit >= 8 ? slots - 0.5 : slots + 0.5) / limit;
}
