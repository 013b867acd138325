/**
 * The rate lanes (`core/quota/rate-lanes`) of a running gateway: one timer for the next instant at which anybody may go on, and one for how long
 * each request may wait.
 */
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { Millis, Tokens } from "../core/model/units.ts";
import type { Quota } from "../core/quota/quota.ts";
import {
	type RateEntry,
	type RateLaneSettings,
	RateLanes,
	type RateOfRequest,
	type RateView,
} from "../core/quota/rate-lanes.ts";
import type { Timers } from "../ports/clock.ts";

export interface RateGateDependencies {
	readonly now: () => Millis;
	readonly timers: Timers;
}

export interface RateRequest {
	readonly id: string;
	/** By estimate. */
	readonly tokens: Tokens;
	/** How long it may wait. */
	readonly timeoutMs: Millis;
	/** It may go on. */
	readonly go: (waitedMs: Millis) => void;
	/** It waited as long as it may. */
	readonly expire: (waitedMs: Millis) => void;
}

interface Waiting extends RateRequest {
	readonly since: Millis;
	cancelTimer(): void;
}

export class RateGate {
	readonly #lanes: RateLanes<Waiting>;
	readonly #to: RateGateDependencies;
	#cancelTimer: (() => void) | undefined;

	constructor(settings: RateLaneSettings, dependencies: RateGateDependencies) {
		this.#lanes = new RateLanes(settings);
		this.#to = dependencies;
	}

	/** These rate quotas hold from now on; who waits is judged anew. */
	configure(quotas: readonly Quota[]): void {
		this.#lanes.configure(quotas, this.#to.now());
		this.#wake();
	}

	/** Whether any rate holds for a request: the one question on the way of all of them. */
	concerns(metadata: RoutingMetadata): boolean {
		return this.#lanes.concerns(metadata, this.#to.now());
	}

	enter(metadata: RoutingMetadata, request: RateRequest): RateEntry {
		const now = this.#to.now();
		let cancelTimer = () => {};
		const entry = this.#lanes.enter(metadata, { ...request, since: now, cancelTimer: () => cancelTimer() }, now);
		if (entry !== "waits") return entry;
		if (Number.isFinite(request.timeoutMs))
			cancelTimer = this.#to.timers.after(request.timeoutMs, () => {
				this.leave(request.id);
				request.expire(this.#to.now() - now);
			});
		this.#arm();
		return entry;
	}

	/** Gone while it waited; harmless otherwise. */
	leave(id: string): void {
		const waiting = this.#lanes.leave(id);
		if (waiting === undefined) return;
		waiting.cancelTimer();
		this.#arm();
	}

	/** Over: what it really used, 0 when it never ran. */
	finish(id: string, tokens: Tokens): void {
		this.leave(id);
		this.#lanes.finish(id, tokens, this.#to.now());
		// Not here and now: whoever settles is in the middle of something.
		this.#arm();
	}

	/** Requests that wait here. */
	get waiting(): number {
		return this.#lanes.waiting;
	}

	/** Requests that are charged and not trued up yet. */
	get running(): number {
		return this.#lanes.running;
	}

	/** When a request of this identity could go on, from now; 0 when nothing keeps it back. */
	waitMs(metadata: RoutingMetadata): Millis {
		return this.#lanes.waitMs(metadata, this.#to.now());
	}

	/** The rate quotas of a request and where they stand, outermost first. */
	termsOf(metadata: RoutingMetadata): readonly RateOfRequest[] {
		return this.#lanes.termsOf(metadata, this.#to.now());
	}

	view(quotaId: string): RateView | undefined {
		return this.#lanes.view(quotaId, this.#to.now());
	}

	/** Every rate quota, for reports; without those that come with tokens. */
	views(): Iterable<RateView & { readonly quota: Quota }> {
		return this.#lanes.views(this.#to.now());
	}

	close(): void {
		this.#cancelTimer?.();
		this.#cancelTimer = undefined;
	}

	#wake(): void {
		const now = this.#to.now();
		for (let waiting = this.#lanes.next(now); waiting !== undefined; waiting = this.#lanes.next(now)) {
			waiting.cancelTimer();
			waiting.go(now - waiting.since);
		}
		this.#arm();
	}

	#arm(): void {
		this.#cancelTimer?.();
		this.#cancelTimer = undefined;
		if (this.#lanes.waiting === 0) return;
		const now = this.#to.now();
		const delayMs = Math.max(1, Math.ceil(this.#lanes.nextAt(now) - now));
		this.#cancelTimer = this.#to.timers.after(delayMs, () => this.#wake());
	}
}
