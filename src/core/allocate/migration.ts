/**
 * Which buckets a priority level becomes when an installation moves from levels to buckets (design 06 §4): of ten buckets, P0 gets
 * 0–1, P1 2–3, P2 4–5, P3 6–8, P4 9; other counts of levels and buckets in proportion.
 *
 * Invariants: every level gets at least one bucket, ranges never fall with the level, together they cover all buckets, and
 * from two buckets per level on they partition them. Whole-number arithmetic, so that no boundary is lost to rounding.
 */

/** Where the five standard levels begin, and the last one ends, of ten buckets. */
const BOUNDARIES = [0, 2, 4, 6, 9, 10] as const;
const STANDARD_LEVELS = BOUNDARIES.length - 1;
const STANDARD_BUCKETS = 10;

/** First and last bucket (inclusive) of `level` of `levels` over `count` buckets. */
export function bucketsOfLevel(level: number, levels: number, count: number): readonly [number, number] {
	const first = boundary(level, levels, count);
	return [first, Math.max(first + 1, boundary(level + 1, levels, count)) - 1];
}

/** First bucket of `level`: linear between the standard boundaries, rounded down. */
function boundary(level: number, levels: number, count: number): number {
	const below = Math.floor((level * STANDARD_LEVELS) / levels);
	const beyond = level * STANDARD_LEVELS - below * levels;
	const start = BOUNDARIES[below]!;
	const width = (BOUNDARIES[below + 1] ?? start) - start;
	return Math.floor(((start * levels + beyond * width) * count) / (STANDARD_BUCKETS * levels));
}
