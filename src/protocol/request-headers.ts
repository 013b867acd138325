/**
 * What request headers say about scheduling (design 02 §1, 06 §3), as values or a refusal that lists what is allowed. Whether a peer
 * may say it is not decided here: routing headers are read only once the peer is known to be trusted, so that a value from anyone
 * else is not even an error. Hints are checked where they are applied (`core/classify/hints.ts`), since that depends on levels.
 *
 * Header names in lower case, as Node gives them; a header sent twice is joined and therefore invalid.
 */
import type { Refusal } from "../core/model/error-code.ts";
import { ENVIRONMENTS, HEADER_TIERS, type RequestHints, WORKLOADS } from "../core/model/routing.ts";
import type { Millis } from "../core/model/units.ts";
import { show } from "./field-reader.ts";

export type RequestHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export type HeaderReading<T> =
	| { readonly ok: true; readonly value: T }
	| { readonly ok: false; readonly refusal: Refusal };

/** `X-TGW-*`, validated. */
export interface RoutingHeaders {
	readonly source?: string;
	readonly priority?: number;
	readonly environment?: string;
	readonly workload?: string;
}

export interface DeadlineHeaders {
	/** Longest time to dispatch that the client accepts. */
	readonly deadlineMs?: Millis;
	/** When the official clients give up by themselves; a hint, never an error. */
	readonly clientTimeoutMs?: Millis;
	/** Attempts before this one, as the official clients count them. */
	readonly retryCount?: number;
}

const ROUTING_HEADERS = ["x-tgw-source", "x-tgw-priority", "x-tgw-environment", "x-tgw-workload"] as const;
const NAME_FORM = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const MAX_DEADLINE_MS: Millis = 24 * 3600 * 1000;

/** Whether any routing header is there: then the peer's trust matters. */
export function hasRoutingHeaders(headers: RequestHeaders): boolean {
	return ROUTING_HEADERS.some((name) => headers[name] !== undefined);
}

/** `levels` is the number of priority levels. */
export function readRoutingHeaders(headers: RequestHeaders, levels: number): HeaderReading<RoutingHeaders> {
	const source = single(headers["x-tgw-source"])?.toLowerCase();
	if (source !== undefined && !HEADER_TIERS.some((tier) => tier === source))
		return invalid("X-TGW-Source", source, HEADER_TIERS.join(", "));
	const priority = single(headers["x-tgw-priority"]);
	if (priority !== undefined && !(/^\d{1,3}$/.test(priority) && Number(priority) < levels))
		return invalid("X-TGW-Priority", priority, `a whole number from 0 to ${levels - 1}`);
	const environment = single(headers["x-tgw-environment"])?.toLowerCase();
	if (environment !== undefined && !NAME_FORM.test(environment))
		return invalid("X-TGW-Environment", environment, `${ENVIRONMENTS.join(", ")} or a name of a-z 0-9 _ -`);
	const workload = single(headers["x-tgw-workload"])?.toLowerCase();
	if (workload !== undefined && !WORKLOADS.some((known) => known === workload))
		return invalid("X-TGW-Workload", workload, WORKLOADS.join(", "));
	return {
		ok: true,
		value: {
			...(source === undefined ? {} : { source }),
			...(priority === undefined ? {} : { priority: Number(priority) }),
			...(environment === undefined ? {} : { environment }),
			...(workload === undefined ? {} : { workload }),
		},
	};
}

/** `X-Priority`, `X-Request-Class`, `X-Environment`, `X-Team-ID` as sent, without the white space around them. */
export function readHintHeaders(headers: RequestHeaders): RequestHints {
	const priority = single(headers["x-priority"]);
	const requestClass = single(headers["x-request-class"]);
	const environment = single(headers["x-environment"]);
	const teamId = single(headers["x-team-id"]);
	return {
		...(priority === undefined ? {} : { priority }),
		...(requestClass === undefined ? {} : { requestClass }),
		...(environment === undefined ? {} : { environment }),
		...(teamId === undefined ? {} : { teamId }),
	};
}

export function readDeadlineHeaders(headers: RequestHeaders): HeaderReading<DeadlineHeaders> {
	const deadline = single(headers["x-request-deadline-ms"]);
	if (deadline !== undefined && !(/^\d{1,9}$/.test(deadline) && inRange(Number(deadline), 1, MAX_DEADLINE_MS)))
		return invalid("X-Request-Deadline-Ms", deadline, `whole milliseconds from 1 to ${MAX_DEADLINE_MS}`);
	// Set by client libraries, not by people: nonsense is ignored.
	const timeoutSeconds = Number(single(headers["x-stainless-timeout"]) ?? Number.NaN);
	const retryCount = Number(single(headers["x-stainless-retry-count"]) ?? Number.NaN);
	return {
		ok: true,
		value: {
			...(deadline === undefined ? {} : { deadlineMs: Number(deadline) }),
			...(timeoutSeconds > 0 && timeoutSeconds * 1000 <= MAX_DEADLINE_MS
				? { clientTimeoutMs: timeoutSeconds * 1000 }
				: {}),
			...(Number.isInteger(retryCount) && inRange(retryCount, 0, 1000) ? { retryCount } : {}),
		},
	};
}

function single(value: string | readonly string[] | undefined): string | undefined {
	return typeof value === "string" || value === undefined ? value?.trim() : value.join(", ").trim();
}

function inRange(value: number, min: number, max: number): boolean {
	return value >= min && value <= max;
}

function invalid(param: string, value: string, allowed: string): { readonly ok: false; readonly refusal: Refusal } {
	const message = `${param}: ${show(value)} is not allowed; allowed: ${allowed}`;
	return { ok: false, refusal: { code: "invalid_header_value", message, param, retryable: false } };
}
