/**
 * The capacity guard: external work is kept out while internal work needs the capacity (design 01 §7).
 *
 * Closes as soon as internal usage over 5 s reaches `internalLimit`, so that it does not sleep through a burst; opens again only when it has been
 * closed for a minute and the mean of that minute is below `resume`, so that it does not flap: a change back takes a minute or more.
 * Usage is what engines really read and produced, in tokens per second; fractions are of `maxTps`.
 */
import type { Millis, Tokens } from "../model/units.ts";
import { UsageMeter } from "./usage-meter.ts";

const CLOSE_WINDOW_MS: Millis = 5000;
const OPEN_WINDOW_MS: Millis = 60_000;

export interface GuardSettings {
	/** Whether it acts; it measures in any case. */
	readonly enabled: boolean;
	/** What usage is a fraction of; `Infinity` when nobody said. */
	readonly maxTps: number;
	readonly internalLimit: number;
	readonly resume: number;
	/** Fraction of `maxTps` that other queues than `bufferFor` leave alone. */
	readonly buffer: number;
	readonly bufferFor: readonly number[];
	readonly externalTiers: readonly string[];
	readonly action: "reject" | "queue";
}

export interface GuardStatus {
	readonly maxTps: number;
	readonly internalTps: number;
	readonly externalTps: number;
	readonly bufferTps: number;
	readonly externalAllowed: boolean;
}

export class CapacityGuard {
	readonly #meter = new UsageMeter();
	#settings: GuardSettings;
	#external: ReadonlySet<string>;
	#closedAt: Millis | undefined;

	constructor(settings: GuardSettings) {
		this.#settings = settings;
		this.#external = new Set(settings.externalTiers);
	}

	get settings(): GuardSettings {
		return this.#settings;
	}

	/** Other thresholds from now on (a reload, a time window); what was measured stays. */
	configure(change: Partial<GuardSettings>): void {
		this.#settings = { ...this.#settings, ...change };
		this.#external = new Set(this.#settings.externalTiers);
		if (!this.#settings.enabled) this.#closedAt = undefined;
	}

	isExternal(tier: string): boolean {
		return this.#external.has(tier);
	}

	/** Tokens that an engine read or produced. */
	used(isExternal: boolean, tokens: Tokens, now: Millis): void {
		this.#meter.add(isExternal, tokens, now);
	}

	/** Whether external work may run now. */
	isOpen(now: Millis): boolean {
		const { enabled, maxTps, internalLimit, resume } = this.#settings;
		if (!enabled) return true;
		const tps = (windowMs: Millis) => this.#meter.perSecond(false, windowMs, now);
		if (this.#closedAt === undefined) {
			if (tps(CLOSE_WINDOW_MS) >= internalLimit * maxTps) this.#closedAt = now;
		} else if (now - this.#closedAt >= OPEN_WINDOW_MS && tps(OPEN_WINDOW_MS) < resume * maxTps) {
			// A burst that has just begun closes it again at once.
			this.#closedAt = tps(CLOSE_WINDOW_MS) >= internalLimit * maxTps ? now : undefined;
		}
		return this.#closedAt === undefined;
	}

	/** Since when it keeps external work out, as far as anybody asked; undefined while it does not. */
	get closedSince(): Millis | undefined {
		return this.#closedAt;
	}

	/** The soonest that it could open again, from now. */
	opensInMs(now: Millis): Millis {
		if (this.#closedAt === undefined) return 0;
		return Math.max(1000, OPEN_WINDOW_MS - (now - this.#closedAt));
	}

	status(now: Millis): GuardStatus {
		const { maxTps, buffer } = this.#settings;
		return {
			maxTps,
			internalTps: this.#meter.perSecond(false, CLOSE_WINDOW_MS, now),
			externalTps: this.#meter.perSecond(true, CLOSE_WINDOW_MS, now),
			bufferTps: this.#settings.enabled ? buffer * maxTps : 0,
			externalAllowed: this.isOpen(now),
		};
	}
}
