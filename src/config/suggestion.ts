/**
 * "Did you mean": the nearest known name by Levenshtein distance, when it is near enough to be a slip of the hand.
 */

/** Longer names are not compared: the distance costs the product of both lengths. */
const MAX_COMPARED_LENGTH = 100;

/** The nearest of `known` within a third of the length (at least 2 edits), or none. Ties go to the first. */
export function suggestionFor(name: string, known: Iterable<string>): string | undefined {
	if (name.length > MAX_COMPARED_LENGTH) return undefined;
	const wanted = name.toLowerCase();
	let best: string | undefined;
	let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
	for (const candidate of known) {
		const distance = editDistance(wanted, candidate.toLowerCase(), bestDistance);
		if (distance < bestDistance && distance < Math.max(name.length, candidate.length)) {
			best = candidate;
			bestDistance = distance;
		}
	}
	return best;
}

/** Insertions, deletions and substitutions between two words; anything from `limit` up is returned as `limit`. */
export function editDistance(a: string, b: string, limit = Number.POSITIVE_INFINITY): number {
	if (Math.abs(a.length - b.length) >= limit) return limit;
	let row = Array.from({ length: b.length + 1 }, (_, index) => index);
	for (let i = 1; i <= a.length; i++) {
		const next = [i];
		for (let j = 1; j <= b.length; j++) {
			const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
			next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
		}
		row = next;
	}
	return Math.min(row[b.length] ?? 0, limit);
}
