/** What an endpoint is sent of a request: the closed list of edits (design 03 §1), and the scheduler's order in its engine's terms. */
import type { Arrival } from "../core/lifecycle/lifecycle.ts";
import { type BodyEdits, editBody } from "../protocol/body-edit.ts";
import type { Dialect } from "../protocol/dialect.ts";
import type { Engine } from "../protocol/engines/engine.ts";
import { upstreamHeaders } from "./headers.ts";

type Edits = { -readonly [K in keyof BodyEdits]: BodyEdits[K] };

/** The body as any endpoint may get it; `parsed` is its JSON. */
export function editedBody(body: Uint8Array, parsed: unknown, { facts, model }: Arrival, dialect: Dialect): Uint8Array {
	const edits: Edits = {};
	if (model !== facts.model) edits.model = model;
	if (facts.stream && !facts.wantsStreamUsage && dialect.name === "openai" && facts.operation !== "response")
		edits.includeStreamUsage = true;
	if (Object.hasOwn(parsed as object, "priority")) edits.priority = "remove";
	if (Object.hasOwn(parsed as object, "rid")) edits.removeRid = true;
	return editBody(body, edits) ?? body;
}

export interface EndpointTerms {
	readonly engine: Engine;
	readonly enginePriority: "off" | "level" | "share";
	/** The engine streams, the client gets the answer whole. */
	readonly assembles: boolean;
	/** Its queue, of how many. */
	readonly queue: number;
	readonly queues: number;
	/** Runs on its own queue's part of the pool, not on what others lend. */
	readonly isGuaranteed: boolean;
}

export function requestForEndpoint(
	body: Uint8Array,
	rawHeaders: readonly string[],
	requestId: string,
	{ facts }: Arrival,
	dialect: Dialect,
	{ engine, enginePriority, assembles, queue, queues, isGuaranteed }: EndpointTerms,
): { readonly body: Uint8Array; readonly headers: string[] } {
	const { priority } = engine;
	const isTold = enginePriority !== "off" && priority !== undefined && facts.operation !== "passthrough";
	if (!isTold && !assembles) return { body, headers: upstreamHeaders(rawHeaders, body.length, requestId) };
	const edits: Edits = {};
	const told = !isTold
		? undefined
		: enginePriority === "level"
			? priority.ofLevel(queue, queues, facts.operation)
			: priority.ofShare(isGuaranteed, facts.operation);
	if (told?.body !== undefined) edits.priority = told.body;
	if (assembles) {
		edits.stream = true;
		if (dialect.name === "openai") edits.includeStreamUsage = true;
	}
	const edited = editBody(body, edits) ?? body;
	const headers = upstreamHeaders(rawHeaders, edited.length, requestId);
	if (told?.header !== undefined) headers.push(told.header[0], told.header[1]);
	return { body: edited, headers };
}
