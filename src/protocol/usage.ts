/**
 * From what engines report to what is billed. Counts that are not whole numbers from 0 are treated as not reported: nothing that
 * an upstream sends can make a bill negative or infinite.
 */
import type { Tokens } from "../core/model/units.ts";
import type { Usage } from "../core/model/usage.ts";
import { decodeUtf8 } from "./bytes.ts";
import type { Dialect, ReportedUsage } from "./dialect.ts";
import { member, numberMember, tryParseJson } from "./json.ts";
import { findMembers, type JsonMember, lastMember } from "./json-members.ts";

/** No answer of any model comes near it; larger figures are broken. */
const MAX_COUNT: Tokens = 1_000_000_000;

export function tokenCount(usage: unknown, name: string): Tokens | undefined {
	const value = numberMember(usage, name);
	return value !== undefined && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT ? value : undefined;
}

/** Parsing an answer whole is the cheaper way to its usage up to about this size. */
const SMALL_BODY_BYTES = 4096;

/** Usage of a non-streamed answer; a large one (embeddings) is not parsed for it. Undefined when the engine did not say. */
export function readBodyUsage(dialect: Dialect, body: Uint8Array): Usage | undefined {
	const usage =
		body.length <= SMALL_BODY_BYTES
			? member(tryParseJson(decodeUtf8(body)), "usage")
			: parseMember(body, lastMember(findMembers(body), "usage"));
	// Token counts (`/v1/messages/count_tokens`) cost no tokens and have no usage.
	const reported = usage === undefined ? undefined : dialect.readUsage(usage);
	return reported === undefined ? undefined : toUsage(reported, 0);
}

function parseMember(body: Uint8Array, found: JsonMember | undefined): unknown {
	return found === undefined ? undefined : tryParseJson(decodeUtf8(body.subarray(found.valueStart, found.end)));
}

/** Events per sequence that look like tokens and are none: its opening, its finish, a last piece of text that was held back. */
const EVENT_SLACK = 3;

/**
 * `events` token-bearing events were seen: since an event holds at least one token, a smaller completion count cannot be right
 * (llama.cpp under-reports `n > 1`), and the result is an estimate.
 */
export function toUsage(reported: ReportedUsage, events: number, sequences = 1): Usage {
	const promptTokens = reported.promptTokens ?? 0;
	const { completionTokens } = reported;
	const tooFew = completionTokens === undefined ? events > 0 : completionTokens + EVENT_SLACK * sequences < events;
	return {
		promptTokens,
		completionTokens: tooFew ? events : (completionTokens ?? 0),
		cachedTokens: Math.min(reported.cachedTokens ?? 0, promptTokens),
		source: reported.promptTokens === undefined || tooFew ? "estimated" : "measured",
	};
}
