/**
 * Whom to take back so that a better request fits (only for space: a rate shortage is not cured by it). Greedy: worst queue first,
 * least produced first, on the endpoint that needs the fewest; then those that turn out unneeded are spared.
 *
 * Taking back destroys work, so it comes last: as long as tokens are not held yet (see `Endpoint`) they are room for requests that may
 * preempt, and often something ends before they are needed. When they are, `victimsOfOverdraft` gives way.
 */
import type { Endpoint } from "../capacity/endpoint.ts";
import type { Millis, Tokens } from "../model/units.ts";
import type { PreemptionSettings } from "./core-settings.ts";
import { FLAG_ANSWERED, FLAG_BUFFERED, FLAG_OBSERVED, type RequestTable, RUNNING } from "./request-table.ts";

const NOBODY: readonly number[] = [];
/** What a request that ends soon has still to produce at most: some steps of an engine, a fraction of a second. */
const SOON_TOKENS: Tokens = 6;
/** Nobody is waited for any longer than this, should an expected end not come. */
const PATIENCE_MS: Millis = 500;

export function chooseVictims(
	endpoints: readonly Endpoint[],
	requests: RequestTable,
	settings: PreemptionSettings,
	row: number,
	now: Millis,
): readonly number[] {
	let best: readonly number[] = NOBODY;
	const mayWait = now - requests.arrival(row) < PATIENCE_MS;
	for (const endpoint of endpoints) {
		if (!endpoint.up) continue;
		const missingSequences =
			endpoint.sequences - endpoint.freeingSequences + requests.sequences(row) - endpoint.sequencesMax;
		const missingTokens = endpoint.lackingTokens(firstTokens(requests, row)) - endpoint.freeingTokens;
		// Enough is on its way already: wait for it.
		if (missingSequences <= 0 && missingTokens <= 0) return NOBODY;
		if (mayWait && endsSoon(endpoint, requests, missingSequences, missingTokens)) return NOBODY;
		const victims = victimsOn(endpoint, requests, settings, requests.queue(row), now, missingSequences, missingTokens);
		if (victims.length > 0 && (best.length === 0 || victims.length < best.length)) best = victims;
	}
	return best;
}

/** Whether what is expected to end within a few tokens leaves enough room. If it does not end then, the pool looks again. */
function endsSoon(
	endpoint: Endpoint,
	requests: RequestTable,
	missingSequences: number,
	missingTokens: Tokens,
): boolean {
	let sequences = missingSequences;
	let tokens = missingTokens;
	for (const row of endpoint.rows) {
		const left = requests.completion(row) - requests.produced(row);
		if (left <= 0 || left > SOON_TOKENS || requests.state(row) !== RUNNING) continue;
		sequences -= requests.sequences(row);
		tokens -= heldTokens(requests, row);
	}
	return sequences <= 0 && tokens <= 0;
}

/** Whom to take back because what an endpoint holds has outgrown it. */
export function victimsOfOverdraft(
	endpoint: Endpoint,
	requests: RequestTable,
	settings: PreemptionSettings,
	now: Millis,
): readonly number[] {
	const missingTokens = endpoint.overdrawnTokens;
	if (missingTokens <= 0) return NOBODY;
	return victimsOn(endpoint, requests, settings, settings.preemptorMax, now, 0, missingTokens);
}

/** What a request holds as soon as it runs. */
export function firstTokens(requests: RequestTable, row: number): Tokens {
	return (requests.flags(row) & FLAG_OBSERVED) !== 0 ? requests.prompt(row) : requests.charge(row);
}

/** What a running request holds. */
export function heldTokens(requests: RequestTable, row: number): Tokens {
	return (requests.flags(row) & FLAG_OBSERVED) !== 0
		? requests.prompt(row) + requests.produced(row)
		: requests.charge(row);
}

function victimsOn(
	endpoint: Endpoint,
	requests: RequestTable,
	settings: PreemptionSettings,
	queue: number,
	now: Millis,
	missingSequences: number,
	missingTokens: number,
): readonly number[] {
	const candidates: number[] = [];
	for (const candidate of endpoint.rows) {
		if (isVictim(endpoint, requests, settings, candidate, queue, now)) candidates.push(candidate);
	}
	const since = (candidate: number) => endpoint.sinceAt(requests.next(candidate));
	// Where progress is not seen, the one that began last has produced least.
	candidates.sort(
		(a, b) =>
			requests.queue(b) - requests.queue(a) ||
			requests.produced(a) - requests.produced(b) ||
			since(b) - since(a) ||
			a - b,
	);
	let sequences = missingSequences;
	let tokens = missingTokens;
	const chosen: number[] = [];
	for (const candidate of candidates) {
		if (sequences <= 0 && tokens <= 0) break;
		chosen.push(candidate);
		sequences -= requests.sequences(candidate);
		tokens -= heldTokens(requests, candidate);
	}
	if (sequences > 0 || tokens > 0) return NOBODY;
	return chosen.filter((candidate) => {
		const spared = sequences + requests.sequences(candidate) <= 0 && tokens + heldTokens(requests, candidate) <= 0;
		if (spared) {
			sequences += requests.sequences(candidate);
			tokens += heldTokens(requests, candidate);
		}
		return !spared;
	});
}

function isVictim(
	endpoint: Endpoint,
	requests: RequestTable,
	settings: PreemptionSettings,
	candidate: number,
	queue: number,
	now: Millis,
): boolean {
	if (requests.state(candidate) !== RUNNING || requests.queue(candidate) <= queue) return false;
	if (!settings.victims.includes(requests.queue(candidate))) return false;
	if (requests.requeues(candidate) >= settings.maxPerRequest) return false;
	const flags = requests.flags(candidate);
	const unseen = (flags & FLAG_OBSERVED) === 0;
	if (unseen && now - endpoint.sinceAt(requests.next(candidate)) > settings.maxAgeMs) return false;
	const flowing = (flags & FLAG_ANSWERED) !== 0 && (flags & FLAG_BUFFERED) === 0;
	return settings.flowing || !flowing;
}
