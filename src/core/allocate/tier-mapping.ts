/**
 * Which buckets a tier may use (design 01 §3, 06 §4): named groups with a range of buckets, a bucket to start in and a mode.
 *
 * Ranges in percent are half-open and computed on whole ten-thousandths, so neighbouring groups meet without gap or overlap wherever
 * each is at least one bucket wide. Ranges in buckets are inclusive. Compiled once per change; a look-up is a few map reads.
 */
import { InvariantError } from "../model/invariant-error.ts";
import type { QueueMode } from "../model/policy.ts";
import type { RoutingMetadata } from "../model/routing.ts";

/** One group as configured. One of the two ranges. */
export interface TierMappingSettings {
	readonly group: string;
	/** First and last bucket, inclusive. */
	readonly bucketRange?: readonly [number, number];
	/** Fractions of the bucket count, half-open: `[0, 0.2]`. */
	readonly bucketRangePct?: readonly [number, number];
	/** Clamped into the range; the range's best bucket when neither default is given. */
	readonly defaultBucket?: number;
	readonly defaultBucketPct?: number;
	readonly mode?: QueueMode;
}

/** One group over a known number of buckets. */
export interface TierMapping {
	readonly group: string;
	readonly first: number;
	/** Inclusive. */
	readonly last: number;
	readonly defaultBucket: number;
	readonly mode: QueueMode;
}

export const DEFAULT_TIER_MAPPINGS: readonly TierMappingSettings[] = [
	{ group: "internal_production", bucketRangePct: [0, 0.2], defaultBucketPct: 0, mode: "strict" },
	{ group: "internal_staging", bucketRangePct: [0.2, 0.3], defaultBucketPct: 0.25, mode: "atleast" },
	{ group: "internal_dev", bucketRangePct: [0.3, 0.4], defaultBucketPct: 0.35, mode: "atleast" },
	{ group: "external_premium", bucketRangePct: [0.4, 0.6], defaultBucketPct: 0.45, mode: "strict" },
	{ group: "external_standard", bucketRangePct: [0.6, 0.8], defaultBucketPct: 0.7, mode: "atleast" },
	{ group: "spot", bucketRangePct: [0.8, 1], defaultBucketPct: 0.9, mode: "atleast" },
];

/** Tiers whose group has another name. `internal` stands for any environment without a group of its own, or none. */
const TIER_ALIASES: ReadonlyMap<string, string> = new Map([
	["premium", "external_premium"],
	["external", "external_standard"],
	["internal", "internal_dev"],
]);
/** Aliases that also name the group itself, in a file and in `group:NAME`. */
const GROUP_ALIASES: ReadonlyMap<string, string> = new Map([
	["premium", "external_premium"],
	["external", "external_standard"],
]);

/** The group that a name in a file or a rule means. */
export function canonicalGroup(name: string): string {
	return GROUP_ALIASES.get(name) ?? name;
}

const DEFAULT_MODE: QueueMode = "atleast";
const TEN_THOUSANDTHS = 10_000;

/** `start`–`end` of 1 over `count` buckets, half-open: first and last bucket, at least one. */
export function percentRange(start: number, end: number, count: number): readonly [number, number] {
	const first = percentBucket(start, count);
	return [first, Math.max(first + 1, percentBucket(end, count)) - 1];
}

function percentBucket(fraction: number, count: number): number {
	return Math.floor((Math.round(fraction * TEN_THOUSANDTHS) * count) / TEN_THOUSANDTHS);
}

/**
 * The default groups with the configured ones over them, in that order, new groups last. A group that gets a new range
 * starts in its best bucket unless a default bucket comes with it.
 */
export function mergeMappings(configured: readonly TierMappingSettings[]): readonly TierMappingSettings[] {
	const groups = new Map(DEFAULT_TIER_MAPPINGS.map((mapping) => [mapping.group, mapping]));
	for (const mapping of configured) {
		const group = canonicalGroup(mapping.group);
		const before = groups.get(group);
		groups.set(group, { ...(before === undefined ? {} : inherited(before, mapping)), ...mapping, group });
	}
	return [...groups.values()];
}

function inherited(before: TierMappingSettings, mapping: TierMappingSettings): Partial<TierMappingSettings> {
	if (mapping.bucketRange !== undefined || mapping.bucketRangePct !== undefined)
		return before.mode === undefined ? {} : { mode: before.mode };
	if (mapping.defaultBucket === undefined && mapping.defaultBucketPct === undefined) return before;
	const { defaultBucket: _, defaultBucketPct: __, ...rest } = before;
	return rest;
}

export function compileMapping(settings: TierMappingSettings, count: number): TierMapping {
	const [first, last] = rangeOf(settings, count);
	const wanted =
		settings.defaultBucket ??
		(settings.defaultBucketPct === undefined ? first : percentBucket(settings.defaultBucketPct, count));
	const defaultBucket = Math.min(Math.max(wanted, first), last);
	return { group: settings.group, first, last, defaultBucket, mode: settings.mode ?? DEFAULT_MODE };
}

function rangeOf(settings: TierMappingSettings, count: number): readonly [number, number] {
	const range =
		settings.bucketRange ??
		(settings.bucketRangePct === undefined
			? undefined
			: percentRange(settings.bucketRangePct[0], settings.bucketRangePct[1], count));
	if (range === undefined || range[0] < 0 || range[0] > range[1] || range[1] >= count)
		throw new InvariantError(`tier mapping ${settings.group} has no range within ${count} buckets`);
	return range;
}

/** The groups in force. `configured` is merged over the default groups. */
export class TierMappings {
	readonly mappings: readonly TierMapping[];
	readonly #byGroup: ReadonlyMap<string, TierMapping>;
	/** By what stands before and after an underscore of a group's name: no name is put together per request. */
	readonly #bySuffix = new Map<string, Map<string, TierMapping>>();
	readonly #byTier = new Map<string, TierMapping>();

	constructor(configured: readonly TierMappingSettings[], count: number) {
		this.mappings = mergeMappings(configured).map((settings) => compileMapping(settings, count));
		this.#byGroup = new Map(this.mappings.map((mapping) => [mapping.group, mapping]));
		for (const mapping of this.mappings) {
			this.#byTier.set(mapping.group, mapping);
			this.#indexSuffixes(mapping);
		}
		for (const [tier, group] of TIER_ALIASES) {
			const mapping = this.#byGroup.get(group);
			if (mapping !== undefined && !this.#byTier.has(tier)) this.#byTier.set(tier, mapping);
		}
	}

	/** `<tier>_<environment>`, then `<tier>_<account_tier>`, then `<tier>` or what it is an alias of. */
	find(metadata: RoutingMetadata): TierMapping | undefined {
		const suffixes = this.#bySuffix.get(metadata.tier);
		if (suffixes !== undefined) {
			const found =
				(metadata.environment === undefined ? undefined : suffixes.get(metadata.environment)) ??
				(metadata.accountTier === undefined ? undefined : suffixes.get(metadata.accountTier));
			if (found !== undefined) return found;
		}
		return this.#byTier.get(metadata.tier);
	}

	/** By a group's name or alias, as in `assign_queue = group:NAME`. */
	group(name: string): TierMapping | undefined {
		return this.#byGroup.get(canonicalGroup(name));
	}

	#indexSuffixes(mapping: TierMapping): void {
		const { group } = mapping;
		for (let at = group.indexOf("_"); at >= 0; at = group.indexOf("_", at + 1)) {
			const tier = group.slice(0, at);
			let suffixes = this.#bySuffix.get(tier);
			if (suffixes === undefined) {
				suffixes = new Map();
				this.#bySuffix.set(tier, suffixes);
			}
			suffixes.set(group.slice(at + 1), mapping);
		}
	}
}
