/**
 * Protection before scheduling (design 03 §2, Protection): rates of the whole gateway and of models above which requests are refused, whoever
 * sends them, and the longest context of each model. Pre-paid: what is admitted in any τ is at most burst + rate·τ, by estimates that are
 * trued up at the end.
 *
 * Invariant: a request takes from all its limits or from none, and gives back through what it took. Requests and tokens per second.
 */
import { matchesModel } from "../model/model-pattern.ts";
import type { Millis, Tokens } from "../model/units.ts";
import { RateLimit } from "./rate-limit.ts";

/** A number for all models that a pattern means; the first pattern that fits counts. */
export interface ModelNumber {
	readonly model: string;
	readonly value: number;
}

export interface ProtectionSettings {
	readonly maxRps?: number;
	readonly maxTps?: number;
	readonly modelMaxRps: readonly ModelNumber[];
	readonly modelMaxTps: readonly ModelNumber[];
	readonly contextLimit?: Tokens;
	readonly modelContextLimits: readonly ModelNumber[];
}

interface Charge {
	readonly limit: RateLimit;
	readonly tokens: Tokens;
}

/** What one request took. */
export class ProtectionTaken {
	readonly #tokens: readonly Charge[];
	readonly #requests: readonly RateLimit[];

	constructor(tokens: readonly Charge[], requests: readonly RateLimit[]) {
		this.#tokens = tokens;
		this.#requests = requests;
	}

	/** It used that much; what it took beyond comes back, what it used beyond is paid. */
	trueUp(used: Tokens, now: Millis): void {
		for (const { limit, tokens } of this.#tokens) limit.giveBack(tokens - used, now);
	}

	/** It was never admitted. */
	undo(now: Millis): void {
		this.trueUp(0, now);
		this.undoRequests(now);
	}

	/** It does not count as one. */
	undoRequests(now: Millis): void {
		for (const limit of this.#requests) limit.giveBack(1, now);
	}
}

export interface OverLimit {
	/** What is allowed, as a part of a sentence. */
	readonly allowed: string;
	readonly waitMs: Millis;
}

interface Limited {
	readonly limit: RateLimit;
	readonly allowed: string;
	/** A request larger than the burst costs the whole burst: it would never be admitted otherwise. */
	readonly burst: number;
}

interface LimitsOfModel {
	readonly requests: readonly Limited[];
	readonly tokens: readonly Limited[];
	readonly context: Tokens;
}

const KEPT_MODELS = 1000;

export class Protection {
	readonly #settings: ProtectionSettings;
	readonly #requests: Limited | undefined;
	readonly #tokens: Limited | undefined;
	readonly #modelRequests: readonly (Limited & { readonly model: string })[];
	readonly #modelTokens: readonly (Limited & { readonly model: string })[];
	/** Bounded: models come from clients. */
	readonly #known = new Map<string, LimitsOfModel>();

	constructor(settings: ProtectionSettings, burstSeconds: number, now: Millis) {
		this.#settings = settings;
		const make = (rate: number, smallest: number, allowed: string): Limited => {
			const burst = Math.max(smallest, rate * burstSeconds);
			return { limit: new RateLimit(rate, burst, now), allowed, burst };
		};
		const { maxRps, maxTps, modelMaxRps, modelMaxTps } = settings;
		this.#requests =
			maxRps === undefined ? undefined : make(maxRps, 1, `this gateway allows ${maxRps} requests per second`);
		this.#tokens =
			maxTps === undefined ? undefined : make(maxTps, 1, `this gateway allows ${maxTps} tokens per second`);
		this.#modelRequests = modelMaxRps.map(({ model, value }) => ({
			model,
			...make(value, 1, `model ${model} allows ${value} requests per second`),
		}));
		this.#modelTokens = modelMaxTps.map(({ model, value }) => ({
			model,
			...make(value, 1, `model ${model} allows ${value} tokens per second`),
		}));
	}

	/** `Infinity` for none. */
	contextOf(model: string): Tokens {
		return this.#of(model).context;
	}

	take(model: string, tokens: Tokens, now: Millis): ProtectionTaken | OverLimit {
		const limits = this.#of(model);
		const requests: RateLimit[] = [];
		const charges: Charge[] = [];
		for (const { limit, allowed } of limits.requests) {
			const waitMs = limit.take(1, now);
			if (waitMs > 0) return this.#over(charges, requests, allowed, waitMs, now);
			requests.push(limit);
		}
		for (const { limit, allowed, burst } of limits.tokens) {
			const cost = Math.min(tokens, burst);
			const waitMs = limit.take(cost, now);
			if (waitMs > 0) return this.#over(charges, requests, allowed, waitMs, now);
			charges.push({ limit, tokens: cost });
		}
		return new ProtectionTaken(charges, requests);
	}

	#over(
		charges: readonly Charge[],
		requests: readonly RateLimit[],
		allowed: string,
		waitMs: Millis,
		now: Millis,
	): OverLimit {
		new ProtectionTaken(charges, requests).undo(now);
		return { allowed, waitMs };
	}

	#of(model: string): LimitsOfModel {
		let limits = this.#known.get(model);
		if (limits === undefined) {
			const first = <T extends { readonly model: string }>(list: readonly T[]) =>
				list.find((entry) => matchesModel(entry.model, model));
			const { modelContextLimits, contextLimit = Number.POSITIVE_INFINITY } = this.#settings;
			limits = {
				requests: [first(this.#modelRequests), this.#requests].filter((limit) => limit !== undefined),
				tokens: [first(this.#modelTokens), this.#tokens].filter((limit) => limit !== undefined),
				context: first(modelContextLimits)?.value ?? contextLimit,
			};
			if (this.#known.size >= KEPT_MODELS) this.#known.clear();
			this.#known.set(model, limits);
		}
		return limits;
	}
}
