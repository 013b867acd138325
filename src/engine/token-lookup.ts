/**
 * Who a token belongs to: recently used (in process) → store → snapshot on disk, only when the store does not answer → `failMode`.
 *
 * The common case, a known token, answers with a value, not a promise, and allocates nothing. One look-up in flight per hash,
 * whoever asks; unknown hashes are remembered for a short time. Everything kept is bounded. Expiry is checked on every call,
 * cached or not; a cached token is asked for again after `cacheTtlMs`, and while the store is down the cached answer stands.
 *
 * Measured (Node 24): a hit 0.6 µs with the SHA-256, 0.1 µs without; 10,000 tokens take 6.6 MB.
 */
import type { ErrorCode } from "../core/model/error-code.ts";
import type { Millis } from "../core/model/units.ts";
import type { Clock, Timers } from "../ports/clock.ts";
import type { TokenIdentity, TokenReader } from "../ports/token-reader.ts";
import type { TokenSnapshot } from "../ports/token-snapshot.ts";
import { RecentMap } from "./recent-map.ts";

export type TokenRefusal = Extract<
	ErrorCode,
	"unknown_token" | "revoked_token" | "expired_token" | "account_suspended" | "stores_unavailable"
>;

export type TokenOutcome =
	| { readonly kind: "accepted"; readonly identity: TokenIdentity }
	| { readonly kind: "refused"; readonly code: TokenRefusal }
	/** No store answers and the token is in no cache: serve it at the lowest priority, as external. */
	| { readonly kind: "fail_open" };

export interface TokenLookupSettings {
	readonly cacheTtlMs: Millis;
	readonly cacheSize: number;
	readonly negativeTtlMs: Millis;
	readonly negativeSize: number;
	readonly failMode: "fail_close" | "fail_open";
	/** Requests per hash under `fail_open`, until a store answers again. */
	readonly failOpenLimit: number;
	/** The store must answer within this time. */
	readonly storeTimeoutMs: Millis;
	/** After a failure the store is not asked for this long: requests do not queue up behind its time-out. */
	readonly storeRetryMs: Millis;
}

export interface TokenLookupCounters {
	cacheHits: number;
	negativeHits: number;
	storeHits: number;
	snapshotHits: number;
	unknown: number;
	storeFailures: number;
	failedOpen: number;
	failedClosed: number;
}

export interface TokenLookupDependencies {
	readonly reader: TokenReader;
	readonly snapshot?: TokenSnapshot;
	/** SHA-256 as lower-case hex. */
	readonly hash: (token: string) => string;
	readonly clock: Clock;
	readonly timers: Timers;
	readonly onStoreFailure?: (error: unknown) => void;
}

interface Entry {
	readonly accepted: TokenOutcome & { readonly kind: "accepted" };
	freshUntil: Millis;
}

type StoreAnswer =
	| { readonly kind: "known"; readonly identity: TokenIdentity }
	| { readonly kind: "unknown" }
	| { readonly kind: "no_answer" };

const REFUSED: Readonly<Record<TokenRefusal, TokenOutcome>> = {
	unknown_token: { kind: "refused", code: "unknown_token" },
	revoked_token: { kind: "refused", code: "revoked_token" },
	expired_token: { kind: "refused", code: "expired_token" },
	account_suspended: { kind: "refused", code: "account_suspended" },
	stores_unavailable: { kind: "refused", code: "stores_unavailable" },
};
const FAIL_OPEN: TokenOutcome = { kind: "fail_open" };
const NO_ANSWER: StoreAnswer = { kind: "no_answer" };

export class TokenLookup {
	readonly counters: TokenLookupCounters = {
		cacheHits: 0,
		negativeHits: 0,
		storeHits: 0,
		snapshotHits: 0,
		unknown: 0,
		storeFailures: 0,
		failedOpen: 0,
		failedClosed: 0,
	};
	readonly #settings: TokenLookupSettings;
	readonly #dependencies: TokenLookupDependencies;
	readonly #entries: RecentMap<Entry>;
	/** Unknown hashes, and until when to believe it. */
	readonly #unknown: RecentMap<Millis>;
	readonly #inFlight = new Map<string, Promise<TokenOutcome>>();
	/** Requests served under `fail_open`, by hash. */
	readonly #allowance: RecentMap<number>;
	#storeDownUntil = Number.NEGATIVE_INFINITY;
	/** Raised by `forget`, so that an answer that was on its way cannot bring back what was forgotten. */
	#generation = 0;

	constructor(settings: TokenLookupSettings, dependencies: TokenLookupDependencies) {
		this.#settings = settings;
		this.#dependencies = dependencies;
		this.#entries = new RecentMap(settings.cacheSize);
		this.#unknown = new RecentMap(settings.negativeSize);
		this.#allowance = new RecentMap(settings.negativeSize);
	}

	/** A value when the answer is at hand, else a promise that never rejects. */
	lookUp(token: string): TokenOutcome | Promise<TokenOutcome> {
		return this.lookUpHash(this.#dependencies.hash(token));
	}

	lookUpHash(hash: string): TokenOutcome | Promise<TokenOutcome> {
		const now = this.#dependencies.clock.now();
		const entry = this.#entries.get(hash);
		if (entry !== undefined && entry.freshUntil > now) {
			this.counters.cacheHits++;
			return this.#judge(entry.accepted);
		}
		const unknownUntil = this.#unknown.get(hash);
		if (unknownUntil !== undefined && unknownUntil > now) {
			this.counters.negativeHits++;
			return REFUSED.unknown_token;
		}
		let flight = this.#inFlight.get(hash);
		if (flight === undefined) {
			const asked = this.#ask(hash, entry).finally(() => {
				if (this.#inFlight.get(hash) === asked) this.#inFlight.delete(hash);
			});
			this.#inFlight.set(hash, asked);
			flight = asked;
		}
		// each request counts against the allowance, not each look-up
		return flight.then((outcome) => (outcome === FAIL_OPEN ? this.#failOpen(hash) : outcome));
	}

	/** A token was revoked, changed or created: the next request asks the store. */
	forget(hash: string): void {
		this.#generation++;
		this.#entries.delete(hash);
		this.#unknown.delete(hash);
		this.#inFlight.delete(hash);
	}

	/** An account changed, or an announcement may have been lost. */
	forgetAll(): void {
		this.#generation++;
		this.#entries.clear();
		this.#unknown.clear();
		this.#inFlight.clear();
	}

	size(): number {
		return this.#entries.size;
	}

	/** A store did not answer lately: `cached` and snapshot answers only. */
	degraded(): boolean {
		return this.#storeDownUntil > this.#dependencies.clock.now();
	}

	async #ask(hash: string, stale: Entry | undefined): Promise<TokenOutcome> {
		const generation = this.#generation;
		const answer = this.degraded() ? NO_ANSWER : await this.#askStore(hash);
		const now = this.#dependencies.clock.now();
		if (answer.kind === "known") {
			this.counters.storeHits++;
			return this.#judge(this.#remember(hash, answer.identity, generation, now + this.#settings.cacheTtlMs));
		}
		if (answer.kind === "unknown") {
			this.counters.unknown++;
			this.#entries.delete(hash);
			if (generation === this.#generation) this.#unknown.set(hash, now + this.#settings.negativeTtlMs);
			return REFUSED.unknown_token;
		}
		const identity = stale?.accepted.identity ?? (await this.#askSnapshot(hash));
		if (identity === undefined) return this.#fail();
		this.counters.snapshotHits++;
		// asked again as soon as the store may answer
		return this.#judge(this.#remember(hash, identity, generation, now + this.#settings.storeRetryMs));
	}

	async #askStore(hash: string): Promise<StoreAnswer> {
		const { reader, timers, clock, onStoreFailure } = this.#dependencies;
		let cancel = () => {};
		const timeout = new Promise<never>((_, reject) => {
			const { storeTimeoutMs } = this.#settings;
			cancel = timers.after(storeTimeoutMs, () => reject(new Error(`no answer within ${storeTimeoutMs} ms`)));
		});
		try {
			const identity = await Promise.race([reader.find(hash), timeout]);
			if (this.#allowance.size > 0) this.#allowance.clear();
			return identity === undefined ? { kind: "unknown" } : { kind: "known", identity };
		} catch (error) {
			this.counters.storeFailures++;
			this.#storeDownUntil = clock.now() + this.#settings.storeRetryMs;
			onStoreFailure?.(error);
			return NO_ANSWER;
		} finally {
			cancel();
		}
	}

	async #askSnapshot(hash: string): Promise<TokenIdentity | undefined> {
		try {
			return await this.#dependencies.snapshot?.find(hash);
		} catch (error) {
			this.#dependencies.onStoreFailure?.(error);
			return undefined;
		}
	}

	#remember(hash: string, identity: TokenIdentity, generation: number, freshUntil: Millis): Entry["accepted"] {
		const accepted = { kind: "accepted", identity } as const;
		if (generation === this.#generation) {
			this.#entries.set(hash, { accepted, freshUntil });
			this.#unknown.delete(hash);
		}
		return accepted;
	}

	#judge(accepted: Entry["accepted"]): TokenOutcome {
		const { revokedAt, expiresAt, accountStatus } = accepted.identity;
		if (revokedAt === undefined && expiresAt === undefined && accountStatus === "active") return accepted;
		const now = this.#dependencies.clock.epochNow();
		if (revokedAt !== undefined && revokedAt <= now) return REFUSED.revoked_token;
		if (expiresAt !== undefined && expiresAt <= now) return REFUSED.expired_token;
		return accountStatus === "active" ? accepted : REFUSED.account_suspended;
	}

	#fail(): TokenOutcome {
		if (this.#settings.failMode === "fail_open") return FAIL_OPEN;
		this.counters.failedClosed++;
		return REFUSED.stores_unavailable;
	}

	#failOpen(hash: string): TokenOutcome {
		const used = this.#allowance.get(hash) ?? 0;
		// a full table refuses newcomers: forgetting the oldest would give everyone a new allowance
		const mayServe = used > 0 ? used < this.#settings.failOpenLimit : !this.#allowance.isFull();
		if (!mayServe || this.#settings.failOpenLimit <= 0) {
			this.counters.failedClosed++;
			return REFUSED.stores_unavailable;
		}
		this.#allowance.set(hash, used + 1);
		this.counters.failedOpen++;
		return FAIL_OPEN;
	}
}
