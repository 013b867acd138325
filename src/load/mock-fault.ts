/**
 * Faults that the mock LLM can be told to commit, by flag or by the header `x-mock-fault`: several joined with `;`.
 *
 * `error:500` `429` `503` a refusal · `stall:after=3` silence after three tokens · `cut:after=3` socket destroyed after three
 * tokens · `slow-first-byte:200` that many milliseconds (of the real clock) before anything · `overload-200` (`:sglang`, `:tgi`)
 * an overload error as the first event of a 200 · `garbage` bytes that are no protocol · `no-usage` · `no-done` (stream ends without
 * its terminator).
 */

export interface Fault {
	readonly status?: number;
	readonly stallAfter?: number;
	readonly cutAfter?: number;
	readonly firstByteDelayMs?: number;
	readonly overload200?: "sglang" | "tgi";
	readonly garbage?: boolean;
	readonly noUsage?: boolean;
	readonly noDone?: boolean;
}

export const NO_FAULT: Fault = {};

const ALLOWED =
	"error:STATUS, 429, 503, stall:after=N, cut:after=N, slow-first-byte:MS, overload-200[:sglang|:tgi], garbage, no-usage, no-done";

/** The fault of a specification, or a sentence that says what is wrong with it. */
export function parseFault(specification: string): Fault | string {
	let fault: Fault = {};
	for (const part of specification.split(";")) {
		const one = parsePart(part.trim());
		if (one === undefined) return `fault "${part.trim()}" is unknown; allowed are ${ALLOWED}`;
		fault = { ...fault, ...one };
	}
	return fault;
}

function parsePart(part: string): Fault | undefined {
	const [, name = "", , argument = ""] = /^([a-z0-9-]+)(:(?:after=|ms=)?([a-z0-9]+))?$/.exec(part) ?? [];
	const count = /^\d{1,9}$/.test(argument) ? Number(argument) : undefined;
	switch (name) {
		case "429":
		case "503":
			return argument === "" ? { status: Number(name) } : undefined;
		case "error":
			return count !== undefined && count >= 400 && count <= 599 ? { status: count } : undefined;
		case "stall":
			return count === undefined ? undefined : { stallAfter: count };
		case "cut":
			return count === undefined ? undefined : { cutAfter: count };
		case "slow-first-byte":
			return count === undefined ? undefined : { firstByteDelayMs: count };
		case "overload-200":
			if (argument === "" || argument === "sglang") return { overload200: "sglang" };
			return argument === "tgi" ? { overload200: "tgi" } : undefined;
		case "garbage":
			return argument === "" ? { garbage: true } : undefined;
		case "no-usage":
			return argument === "" ? { noUsage: true } : undefined;
		case "no-done":
			return argument === "" ? { noDone: true } : undefined;
		default:
			return undefined;
	}
}
