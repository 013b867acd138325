/**
 * The capacity guard: external work is kept out while internal work needs the capacity (design 01 §7).
 *
 * Closes as soon as internal usage over 5 s reaches `internalLimit`, so that it does not sleep through a burst; opens again only when it has been
 * closed for a minute and the mean of that minute is below `resume`, so that it does not flap: a change back takes a minute or more.
 * A tier may have a share besides (from a time window): it is kept out while its own usage over 5 s is at that share or above.
 *
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
	/** The most that a tier may use, as a fraction. Default none. */
	readonly tierShares?: ReadonlyMap<string, number>;
}

export type KeptOutBy = "internal" | "share";

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
	/** Usage of the tiers that have a share. */
	#tierMeters: ReadonlyMap<string, UsageMeter> = new Map();

	constructor(settings: GuardSettings) {
		this.#settings = settings;
		this.#external = new Set(settings.externalTiers);
		this.#measureTiers();
	}

	get settings(): GuardSettings {
		return this.#settings;
	}

	/** Other thresholds from now on (a reload, a time window); what was measured stays. */
	configure(change: Partial<GuardSettings>): void {
		this.#settings = { ...this.#settings, ...change };
		this.#external = new Set(this.#settings.externalTiers);
		if (!this.#settings.enabled) this.#closedAt = undefined;
		this.#measureTiers();
	}

	#measureTiers(): void {
		const tiers = [...(this.#settings.tierShares?.keys() ?? [])];
		this.#tierMeters = new Map(tiers.map((tier) => [tier, this.#tierMeters.get(tier) ?? new UsageMeter()]));
	}

	isExternal(tier: string): boolean {
		return this.#external.has(tier);
	}

	/** Tokens that an engine read or produced. */
	used(isExternal: boolean, tokens: Tokens, now: Millis, tier?: string): void {
		this.#meter.add(isExternal, tokens, now);
		if (tier !== undefined && this.#tierMeters.size > 0) this.#tierMeters.get(tier)?.add(false, tokens, now);
	}

	/** Why work of a tier may not run now; undefined when it may. */
	keepsOut(tier: string, now: Millis): KeptOutBy | undefined {
		if (!this.#settings.enabled) return undefined;
		if (this.#external.has(tier) && !this.isOpen(now)) return "internal";
		const share = this.#settings.tierShares?.get(tier);
		return share !== undefined && this.tierTps(tier, now) >= share * this.#settings.maxTps ? "share" : undefined;
	}

	/** Tokens per second of a tier that has a share, over 5 s. */
	tierTps(tier: string, now: Millis): number {
		return this.#tierMeters.get(tier)?.perSecond(false, CLOSE_WINDOW_MS, now) ?? 0;
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

	/** The soonest that it could let a tier in again, from now: usage is forgotten after as long as it is looked at. */
	opensInMs(now: Millis, by: KeptOutBy = "internal"): Millis {
		if (by === "share") return CLOSE_WINDOW_MS;
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
