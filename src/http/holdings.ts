/**
 * What a request has taken besides its place in the scheduler: room in the limits of its rule, one of its token's places, reservations in budgets, and
 * its charge to rates. Invariant: each is given back once, whatever became of the request and however often it is asked for.
 */
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import type { Usage } from "../core/model/usage.ts";
import type { QuotaAmounts } from "../core/quota/quota.ts";
import type { QuotaService } from "../engine/quota-service.ts";
import type { RateGate } from "../engine/rate-gate.ts";
import type { DataPlane } from "./data-plane.ts";

export class Holdings {
	readonly #plane: DataPlane;
	readonly #requestId: string;
	readonly #arrival: Arrival;
	/** Taken by its admission. */
	#limits = true;
	#token = false;
	#quota = false;
	#rate = false;

	constructor(plane: DataPlane, requestId: string, arrival: Arrival) {
		this.#plane = plane;
		this.#requestId = requestId;
		this.#arrival = arrival;
	}

	/** Counts it among the requests of its token, from before anything is waited for: that count is a limit. */
	takeToken(): void {
		const { tokenId } = this.#arrival.metadata;
		if (tokenId === undefined) return;
		const { tokenUse } = this.#plane;
		tokenUse.set(tokenId, (tokenUse.get(tokenId) ?? 0) + 1);
		this.#token = true;
	}

	/** Undefined when every budget has room, or none concerns it. */
	reserve(amounts: () => QuotaAmounts): ReturnType<QuotaService["reserve"]> {
		const { metadata, rule, adjusted } = this.#arrival;
		const { quotas } = this.#plane;
		if (quotas?.concerns(metadata) !== true) return undefined;
		const multiplier = (rule.rule.quotaMultiplier ?? 1) * adjusted.quotaMultiplier;
		this.#quota = true;
		return quotas.reserve(this.#requestId, metadata, amounts(), multiplier);
	}

	/** Charged to the rates of `gate`, at once or when its turn comes. */
	enterRate(gate: RateGate, request: Parameters<RateGate["enter"]>[1]): ReturnType<RateGate["enter"]> {
		this.#rate = true;
		return gate.enter(this.#arrival.metadata, request);
	}

	releaseToken(): void {
		if (!this.#token) return;
		this.#token = false;
		const { tokenUse } = this.#plane;
		const tokenId = this.#arrival.metadata.tokenId!;
		const left = (tokenUse.get(tokenId) ?? 1) - 1;
		if (left > 0) tokenUse.set(tokenId, left);
		else tokenUse.delete(tokenId);
	}

	/** @param tokens what it used, 0 of one that never went upstream */
	releaseRate(tokens: number): void {
		if (!this.#rate) return;
		this.#rate = false;
		this.#plane.rates?.finish(this.#requestId, tokens);
	}

	/** It used this much of what the limits of its rule were charged. */
	settleLimits(usage: Usage): void {
		this.#limits = false;
		this.#plane.lifecycle.settled(this.#arrival, usage, performance.now());
	}

	/** Nothing was used. */
	releaseLimits(): void {
		if (!this.#limits) return;
		this.#limits = false;
		this.#plane.lifecycle.withdrawn(this.#arrival, performance.now());
	}

	/** Budgets pay what its ledger row says, also those made since it was admitted; without one, nothing. */
	releaseQuota(paid: { readonly amounts: QuotaAmounts; readonly settledAt: number } | undefined): void {
		const { metadata } = this.#arrival;
		const { quotas } = this.#plane;
		const held = this.#quota;
		this.#quota = false;
		if (paid === undefined) {
			if (held) quotas?.release(this.#requestId);
		} else if (held || quotas?.concerns(metadata) === true)
			quotas?.commit(this.#requestId, metadata, paid.amounts, paid.settledAt);
	}
}
