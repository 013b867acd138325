/**
 * Whom to take back so that a better request fits (only for space: a rate shortage is not cured by it). Greedy: worst queue first,
 * least produced first, on the endpoint that needs the fewest; then those that turn out unneeded are spared.
 */
import type { Endpoint } from "../capacity/endpoint.ts";
import type { Millis } from "../model/units.ts";
import type { PreemptionSettings } from "./core-settings.ts";
import { FLAG_ANSWERED, FLAG_BUFFERED, FLAG_OBSERVED, type RequestTable, RUNNING } from "./request-table.ts";

const NOBODY: readonly number[] = [];

export function chooseVictims(
	endpoints: readonly Endpoint[],
	requests: RequestTable,
	settings: PreemptionSettings,
	row: number,
	now: Millis,
): readonly number[] {
	let best: readonly number[] = NOBODY;
	for (const endpoint of endpoints) {
		if (!endpoint.up) continue;
		const missingSequences =
			endpoint.sequences - endpoint.freeingSequences + requests.sequences(row) - endpoint.sequencesMax;
		const missingTokens = endpoint.tokens - endpoint.freeingTokens + requests.charge(row) - endpoint.tokensMax;
		// Enough is on its way already: wait for it.
		if (missingSequences <= 0 && missingTokens <= 0) return NOBODY;
		const victims = victimsOn(endpoint, requests, settings, row, now, missingSequences, missingTokens);
		if (victims.length > 0 && (best.length === 0 || victims.length < best.length)) best = victims;
	}
	return best;
}

function victimsOn(
	endpoint: Endpoint,
	requests: RequestTable,
	settings: PreemptionSettings,
	row: number,
	now: Millis,
	missingSequences: number,
	missingTokens: number,
): readonly number[] {
	const candidates: number[] = [];
	for (const candidate of endpoint.rows) {
		if (isVictim(endpoint, requests, settings, candidate, row, now)) candidates.push(candidate);
	}
	candidates.sort(
		(a, b) => requests.queue(b) - requests.queue(a) || requests.produced(a) - requests.produced(b) || a - b,
	);
	let sequences = missingSequences;
	let tokens = missingTokens;
	const chosen: number[] = [];
	for (const candidate of candidates) {
		if (sequences <= 0 && tokens <= 0) break;
		chosen.push(candidate);
		sequences -= requests.sequences(candidate);
		tokens -= requests.charge(candidate);
	}
	if (sequences > 0 || tokens > 0) return NOBODY;
	return chosen.filter((candidate) => {
		const spared = sequences + requests.sequences(candidate) <= 0 && tokens + requests.charge(candidate) <= 0;
		if (spared) {
			sequences += requests.sequences(candidate);
			tokens += requests.charge(candidate);
		}
		return !spared;
	});
}

function isVictim(
	endpoint: Endpoint,
	requests: RequestTable,
	settings: PreemptionSettings,
	candidate: number,
	row: number,
	now: Millis,
): boolean {
	if (requests.state(candidate) !== RUNNING || requests.queue(candidate) <= requests.queue(row)) return false;
	if (!settings.victims.includes(requests.queue(candidate))) return false;
	if (requests.requeues(candidate) >= settings.maxPerRequest) return false;
	const flags = requests.flags(candidate);
	const unseen = (flags & FLAG_OBSERVED) === 0;
	if (unseen && now - endpoint.sinceAt(requests.next(candidate)) > settings.maxAgeMs) return false;
	const flowing = (flags & FLAG_ANSWERED) !== 0 && (flags & FLAG_BUFFERED) === 0;
	return settings.flowing || !flowing;
}
