/**
 * Applies what a client asks for in `X-Priority`, `X-Request-Class`, `X-Environment` and `X-Team-ID` (design 06 §3), and finds
 * rule and queue of the request.
 *
 * A hint is applied and the rules run again. Whoever asks for worse gets it. A better queue than without the hint needs the token's
 * `maxPriority`: an explicit level no better than it, and a queue no better than that level's share of the queues. Class
 * `critical` has its own permission (`mayUseCritical`) and its own rate per account; the other hints are judged before it, so it
 * cannot smuggle in an environment. Other hints that improve nothing are never refused.
 */
import type { Allocator } from "../allocate/allocator.ts";
import type { Refusal } from "../model/error-code.ts";
import type { AllocationDecision } from "../model/policy.ts";
import type { RequestHints, RoutingMetadata } from "../model/routing.ts";
import type { Millis } from "../model/units.ts";
import { scalePriority } from "./default-rules.ts";
import type { CompiledRule, RuleMatcher } from "./rule-matcher.ts";

export const REQUEST_CLASSES = ["critical", "realtime", "batch", "spot"] as const;
export type RequestClass = (typeof REQUEST_CLASSES)[number];

/** Names that `X-Priority` always understands, best first; with other than five levels they are carried over in proportion. */
export const STANDARD_LEVEL_NAMES = ["critical", "high", "standard", "low", "batch"] as const;

/** `critical` requests that one account may make in any minute. */
export const CRITICAL_LIMIT = 10;
export const CRITICAL_WINDOW_MS: Millis = 60_000;

export interface HintContext {
	readonly matcher: RuleMatcher;
	readonly allocator: Allocator;
	/** Names of the priority levels, best first, as configured. Their number is the number of levels. */
	readonly levelNames: readonly string[];
	/** Counts the uses of `critical` by account: a `SlidingCounter(CRITICAL_LIMIT, CRITICAL_WINDOW_MS)`; a dry run passes one that grants. */
	readonly criticalUses: { take(accountId: string, now: Millis): Millis };
}

export interface Routed {
	readonly kind: "routed";
	/** With the hints applied; a level asked for stands in `priorityHint`. */
	readonly metadata: RoutingMetadata;
	readonly rule: CompiledRule;
	readonly allocation: AllocationDecision;
}

export interface HintRefused {
	readonly kind: "refused";
	readonly refusal: Refusal;
}

const ENVIRONMENT_FORM = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const TEAM_FORM = /^[\x21-\x7e]{1,128}$/;

export function applyHints(
	context: HintContext,
	metadata: RoutingMetadata,
	model: string,
	hints: RequestHints,
	now: Millis,
): Routed | HintRefused {
	const plain = route(context, metadata, model);
	if (!hasHints(hints)) return plain;

	const requestClass = hints.requestClass === undefined ? undefined : parseClass(hints.requestClass);
	if (requestClass === null) return invalid("X-Request-Class", hints.requestClass, REQUEST_CLASSES.join(", "));
	const priority = hints.priority === undefined ? undefined : parsePriority(hints.priority, context.levelNames);
	if (priority === null) return invalid("X-Priority", hints.priority, allowedPriorities(context.levelNames));
	const environment = hints.environment?.trim().toLowerCase();
	if (environment !== undefined && !ENVIRONMENT_FORM.test(environment))
		return invalid("X-Environment", hints.environment, "production, staging, dev, test, uat or a name of a-z 0-9 _ -");
	if (hints.teamId !== undefined && !TEAM_FORM.test(hints.teamId))
		return invalid("X-Team-ID", hints.teamId, "1 to 128 printable characters without spaces");

	const hinted: RoutingMetadata = {
		...metadata,
		...(environment === undefined ? {} : { environment }),
		...(priority === undefined ? {} : { priorityHint: priority }),
		...(requestClass === "realtime" || requestClass === "batch" ? { workload: requestClass } : {}),
		...(requestClass === "spot" ? { tier: "spot" } : {}),
		// The team of a token is a fact, a team in a header a claim.
		...(metadata.teamId === undefined && hints.teamId !== undefined ? { teamId: hints.teamId } : {}),
	};
	const routed = route(context, hinted, model);
	if (routed.allocation.queue < plain.allocation.queue) {
		const refusal = refuseBetter(context, routed, priority, hints);
		if (refusal !== undefined) return { kind: "refused", refusal };
	}
	return requestClass === "critical" ? applyCritical(context, hinted, model, now) : routed;
}

function hasHints(hints: RequestHints): boolean {
	return (
		hints.priority !== undefined ||
		hints.requestClass !== undefined ||
		hints.environment !== undefined ||
		hints.teamId !== undefined
	);
}

function route(context: HintContext, metadata: RoutingMetadata, model: string): Routed {
	const rule = context.matcher.match(metadata, model);
	return { kind: "routed", metadata, rule, allocation: context.allocator.allocate(metadata, rule.rule) };
}

function applyCritical(
	context: HintContext,
	metadata: RoutingMetadata,
	model: string,
	now: Millis,
): Routed | HintRefused {
	if (metadata.token?.mayUseCritical !== true)
		return refuse("X-Request-Class", 'X-Request-Class "critical" needs a token with may_use_critical');
	const retryAfterMs = context.criticalUses.take(metadata.accountId, now);
	if (retryAfterMs > 0) {
		const message = `account "${metadata.accountId}" has used its ${CRITICAL_LIMIT} critical requests of this minute`;
		return {
			kind: "refused",
			refusal: { code: "rate_limited", message, param: "X-Request-Class", retryAfterMs },
		};
	}
	return route(context, { ...metadata, priorityHint: 0 }, model);
}

/** Why the token may not have the better queue, or nothing. */
function refuseBetter(
	context: HintContext,
	routed: Routed,
	priority: number | undefined,
	hints: RequestHints,
): Refusal | undefined {
	const maxPriority = routed.metadata.token?.maxPriority;
	const { queues } = context.allocator;
	if (maxPriority !== undefined) {
		// Level p owns the queues from this one on; with the priority allocator that is level p itself.
		const bestQueue = Math.floor((maxPriority * queues.length) / context.levelNames.length);
		if (routed.allocation.queue >= bestQueue && (priority ?? maxPriority) >= maxPriority) return undefined;
	}
	const [header, value] =
		hints.priority !== undefined
			? ["X-Priority", hints.priority]
			: hints.environment !== undefined
				? ["X-Environment", hints.environment]
				: ["X-Request-Class", hints.requestClass];
	const label = queues[routed.allocation.queue]?.label ?? routed.allocation.queue;
	const allowed =
		maxPriority === undefined
			? "this token has no max_priority, so its hints may only lower its priority"
			: `this token may ask for level ${maxPriority} or worse`;
	return refuse(header, `${header} "${clip(value)}" would give queue ${label}; ${allowed}`).refusal;
}

function parseClass(value: string): RequestClass | null {
	const word = value.trim().toLowerCase();
	return REQUEST_CLASSES.find((name) => name === word) ?? null;
}

/** A level number or a level's name; `null` when it is neither. */
function parsePriority(value: string, levelNames: readonly string[]): number | null {
	const word = value.trim().toLowerCase();
	if (/^\d{1,2}$/.test(word)) {
		const level = Number(word);
		return level < levelNames.length ? level : null;
	}
	const standard = (STANDARD_LEVEL_NAMES as readonly string[]).indexOf(word);
	// With five levels a configured name wins over the standard one; with others several levels may bear one standard name.
	const configured = levelNames.findIndex((name) => name.toLowerCase() === word);
	if (configured >= 0 && (standard < 0 || levelNames.length === STANDARD_LEVEL_NAMES.length)) return configured;
	return standard < 0 ? null : scalePriority(standard, levelNames.length);
}

function allowedPriorities(levelNames: readonly string[]): string {
	return `0 to ${levelNames.length - 1}, ${[...new Set([...levelNames, ...STANDARD_LEVEL_NAMES])].join(", ")}`;
}

function invalid(header: string, value: string | undefined, allowed: string): HintRefused {
	const message = `${header} "${clip(value)}" is unknown; allowed: ${allowed}`;
	return { kind: "refused", refusal: { code: "invalid_header_value", message, param: header, retryable: false } };
}

function refuse(header: string, message: string): HintRefused {
	return { kind: "refused", refusal: { code: "priority_not_allowed", message, param: header, retryable: false } };
}

/** Header values are the client's; a message repeats only their beginning. */
function clip(value: string | undefined): string {
	const text = value ?? "";
	return text.length <= 64 ? text : `${text.slice(0, 64)}…`;
}
