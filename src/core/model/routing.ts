/**
 * The value that layer 1 (classify) hands on: who a request is from and which tier it belongs to. Nothing below asks how it
 * came to be (`routedBy` is for records only).
 */

export const TIERS = ["internal", "external", "premium", "spot", "default"] as const;
/** A tier word. Header values are limited to `HEADER_TIERS`; tokens may carry any lower-case word. */
export type Tier = string;
export const HEADER_TIERS = ["internal", "external", "premium", "spot"] as const;

export const ENVIRONMENTS = ["production", "staging", "dev", "test", "uat"] as const;
export const WORKLOADS = ["realtime", "batch", "interactive"] as const;

export type RoutedBy = "header" | "token" | "default" | "fail_open";

export interface RoutingMetadata {
	readonly tier: Tier;
	readonly environment?: string;
	readonly workload?: string;
	/** Always present: `default` without a token, `peer:<address>` when header-routed without one. */
	readonly accountId: string;
	readonly organisation?: string;
	readonly accountType?: "internal" | "external";
	readonly accountTier?: string;
	readonly tokenId?: string;
	readonly teamId?: string;
	readonly userId?: string;
	/** Level that a trusted peer (`X-TGW-Priority`) or an allowed hint asked for. */
	readonly priorityHint?: number;
	readonly tag?: string;
	readonly routedBy: RoutedBy;
	/** Overrides and limits of the token, if there is one. */
	readonly token?: TokenTraits;
}

/** What a token carries beside its identity. */
export interface TokenTraits {
	readonly priorityOverride?: number;
	readonly weightOverride?: number;
	/** Best (lowest) level that its hints may ask for. */
	readonly maxPriority?: number;
	readonly mayUseCritical?: boolean;
	readonly allowedModels?: readonly string[];
	readonly maxParallelRequests?: number;
	/** Short for a hard budget of the token. */
	readonly quotaTokensPerMonth?: number;
	/** Short for a ceiling of the token's rate, in tokens per second. */
	readonly quotaTpsLimit?: number;
}

/** Hints that any authenticated client may send (`X-Priority`, `X-Request-Class`, `X-Environment`, `X-Team-ID`). */
export interface RequestHints {
	readonly priority?: string;
	readonly requestClass?: string;
	readonly environment?: string;
	readonly teamId?: string;
}
