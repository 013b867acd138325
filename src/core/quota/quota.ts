/**
 * A quota: a limit on what a node of organisation → team → account → token may use, optionally in one environment only (design 02 §3).
 *
 * `hard` and `soft` are budgets per day or month and refuse; `reserved` and `burstable` are rates and belong to the scheduler. Budgets count
 * in the unit of their dimension: tokens, nano-dollars or requests, always whole numbers.
 */
import type { RoutingMetadata } from "../model/routing.ts";
import { NANO_DOLLARS_PER_DOLLAR, type NanoDollars, type Tokens } from "../model/units.ts";
import type { PeriodKind } from "./period.ts";

export const QUOTA_TYPES = ["hard", "soft", "reserved", "burstable"] as const;
export type QuotaType = (typeof QUOTA_TYPES)[number];

export const LIMIT_DIMENSIONS = [
	"tokens_per_month",
	"tokens_per_day",
	"usd_per_month",
	"usd_per_day",
	"requests_per_day",
	"tps",
] as const;
export type LimitDimension = (typeof LIMIT_DIMENSIONS)[number];

export const NODE_KINDS = ["organisation", "team", "account", "token"] as const;
export type NodeKind = (typeof NODE_KINDS)[number];

/** `organisation:acme`, `team:acme/search`, `account:acct_1`, `token:token_1`. */
export type QuotaNode = string;

export interface Quota {
	readonly id: string;
	/** Through which account it was made; for an organisation or a team any of its accounts. */
	readonly accountId: string;
	readonly node: QuotaNode;
	/** Only what is used in this environment; absent is all of them. */
	readonly environment?: string;
	readonly quotaType: QuotaType;
	readonly limitDimension: LimitDimension;
	/** Tokens, dollars, requests or tokens per second. */
	readonly limitValue: number;
	readonly allowBorrow: boolean;
	/** Of a burstable quota: how far above its assured rate it may go, as a fraction. */
	readonly maxBorrowPct?: number;
	/** Whether others may use what this node leaves unused of its assured rate. */
	readonly lend: boolean;
	/** 1 to 28. */
	readonly resetDay?: number;
	/** IANA name. */
	readonly timezone?: string;
}

/** What a request takes from budgets, by estimate at first and by usage in the end. */
export interface QuotaAmounts {
	readonly tokens: Tokens;
	readonly requests: number;
	readonly nanoDollars: NanoDollars;
}

export function isBudget(quota: Pick<Quota, "quotaType">): boolean {
	return quota.quotaType === "hard" || quota.quotaType === "soft";
}

export function periodKindOf(dimension: LimitDimension): PeriodKind {
	return dimension.endsWith("_month") ? "month" : "day";
}

/** The part of `amounts` that a budget of this dimension counts. */
export function amountIn(dimension: LimitDimension, amounts: QuotaAmounts): number {
	return amounts[unitOf(dimension)];
}

export function unitOf(dimension: LimitDimension): keyof QuotaAmounts {
	if (dimension.startsWith("tokens")) return "tokens";
	return dimension.startsWith("usd") ? "nanoDollars" : "requests";
}

/** From what people write (dollars) to what is counted (nano-dollars); tokens and requests stay. */
export function toCounted(dimension: LimitDimension, value: number): number {
	return dimension.startsWith("usd") ? Math.round(value * NANO_DOLLARS_PER_DOLLAR) : Math.floor(value);
}

export function fromCounted(dimension: LimitDimension, counted: number): number {
	return dimension.startsWith("usd") ? counted / NANO_DOLLARS_PER_DOLLAR : counted;
}

/** Above its limit a soft quota lets this much more through, in percent of the limit. */
const SOFT_GRACE_PCT = 20;

/** Percent of the limit at which a budget refuses. */
export function refusedAbovePct(type: QuotaType): number {
	return type === "soft" ? 100 + SOFT_GRACE_PCT : 100;
}

/** The nodes that a request counts against, outermost first. An account without an organisation is its own. */
export function nodesOf(metadata: RoutingMetadata): readonly QuotaNode[] {
	const { accountId, organisation, teamId, tokenId } = metadata;
	const nodes: QuotaNode[] = [organisationNode(organisation ?? accountId)];
	if (teamId !== undefined) nodes.push(teamNode(organisation ?? accountId, teamId));
	nodes.push(accountNode(accountId));
	if (tokenId !== undefined) nodes.push(tokenNode(tokenId));
	return nodes;
}

export function organisationNode(organisation: string): QuotaNode {
	return `organisation:${organisation}`;
}

export function teamNode(organisation: string, team: string): QuotaNode {
	return `team:${organisation}/${team}`;
}

export function accountNode(accountId: string): QuotaNode {
	return `account:${accountId}`;
}

export function tokenNode(tokenId: string): QuotaNode {
	return `token:${tokenId}`;
}
