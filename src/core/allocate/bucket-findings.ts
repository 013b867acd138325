/**
 * What `validate-config` says about buckets (design 01 §3): refusals stop the start, warnings and notes do not. Pure: the caller
 * knows file and line of each key.
 */
import type { SchedulerKind } from "../model/policy.ts";
import {
	type BucketSettings,
	baseCapacity,
	bucketCapacities,
	bucketFigures,
	MAX_BUCKETS,
	MIN_BUCKETS,
	numbersAreWeights,
} from "./distribution.ts";
import {
	canonicalGroup,
	compileMapping,
	mergeMappings,
	type TierMapping,
	type TierMappingSettings,
} from "./tier-mapping.ts";

export interface Finding {
	readonly severity: "refusal" | "warning" | "note";
	/** Section and key, dotted: `allocator.bucket.bucket_count`. */
	readonly key: string;
	/** Names the key, its value and what is allowed or better. */
	readonly message: string;
}

export interface BucketSurroundings {
	readonly scheduler: SchedulerKind;
	/** The pool's rate in the unit of the buckets; absent when it has none (then the base is its ceiling). */
	readonly poolCapacity?: number;
}

const SECTION = "allocator.bucket";
const FEW_BUCKETS = 5;
const MANY_BUCKETS = 50;
const RATIO_LOW = 0.5;
const RATIO_HIGH = 0.9;
/** A bucket below this fraction of the base serves nobody … */
const TINY = 0.001;
/** … and more than this share of such buckets is a mistake. */
const TINY_SHARE = 0.3;
/** Guarantees below this fraction of the pool are rounding, not capacity. */
const NOTHING = 1e-12;

/** `mappings` as configured: the default groups are added here. An empty answer means a sound configuration. */
export function checkBucketSettings(
	settings: BucketSettings,
	mappings: readonly TierMappingSettings[],
	surroundings: BucketSurroundings = { scheduler: "atleast" },
): Finding[] {
	const refusals = [...refuseNumbers(settings), ...refuseMappings(settings, mappings)];
	if (refusals.length > 0) return refusals;
	const total = sumOf(bucketCapacities(settings));
	if (total < 1)
		return [refusal("bucket_count", `the buckets' capacities sum to ${show(total)}; allowed: a total of 1 or more`)];
	const compiled = mergeMappings(mappings).map((mapping) => compileMapping(mapping, settings.count));
	return [
		...warnShape(settings),
		...warnTiny(settings),
		...warnGuarantees(settings, compiled, surroundings),
		...warnUncovered(settings, compiled),
		...noteModes(mappings, surroundings.scheduler),
	];
}

function refuseNumbers(settings: BucketSettings): Finding[] {
	const { count, decayRatio, baseCapacityRps: rps, baseCapacityTps: tps, minCapacity, capacities } = settings;
	const findings: Finding[] = [];
	if (!Number.isInteger(count) || count < MIN_BUCKETS || count > MAX_BUCKETS)
		findings.push(refusal("bucket_count", `bucket_count = ${count}; allowed: ${MIN_BUCKETS} to ${MAX_BUCKETS}`));
	if (!(decayRatio > 0 && decayRatio < 1))
		findings.push(refusal("decay_ratio", `decay_ratio = ${decayRatio}; allowed: between 0 and 1, both excluded`));
	if (rps !== undefined && tps !== undefined)
		findings.push(
			refusal("base_capacity_tps", "base_capacity_rps and base_capacity_tps are both set; set one of them"),
		);
	if (rps === undefined && tps === undefined)
		findings.push(
			refusal("base_capacity_rps", "neither base_capacity_rps nor base_capacity_tps is set; set one of them"),
		);
	for (const [key, base] of [
		["base_capacity_rps", rps],
		["base_capacity_tps", tps],
	] as const)
		if (base !== undefined && !(base > 0 && Number.isFinite(base)))
			findings.push(refusal(key, `${key} = ${base}; allowed: a number above 0`));
	const base = rps ?? tps ?? Number.POSITIVE_INFINITY;
	if (settings.distribution === "linear" && minCapacity !== undefined && !(minCapacity >= 0 && minCapacity <= base))
		findings.push(refusal("min_capacity", `min_capacity = ${minCapacity}; allowed: 0 to the base (${base})`));
	if (settings.distribution === "custom") {
		if (capacities?.length !== count)
			findings.push(
				refusal(
					"capacities",
					`capacities has ${capacities?.length ?? 0} numbers for ${count} buckets; give one for each`,
				),
			);
		const wrong = capacities?.find((capacity) => !(capacity >= 0 && Number.isFinite(capacity)));
		if (wrong !== undefined)
			findings.push(refusal("capacities", `capacities contains ${wrong}; allowed: numbers of 0 (best effort) or more`));
	}
	return findings;
}

function refuseMappings(settings: BucketSettings, mappings: readonly TierMappingSettings[]): Finding[] {
	const { count } = settings;
	const findings: Finding[] = [];
	for (const mapping of mergeMappings(mappings)) {
		const { bucketRange: range, bucketRangePct: pct } = mapping;
		// The name that stands in the file, which may be an alias.
		const group = mappings.find(({ group: name }) => canonicalGroup(name) === mapping.group)?.group ?? mapping.group;
		if (range !== undefined && pct !== undefined)
			findings.push(mappingRefusal(group, "bucket_range", "and bucket_range_pct are both set; set one of them"));
		else if (range === undefined && pct === undefined)
			findings.push(mappingRefusal(group, "bucket_range", "or bucket_range_pct is needed"));
		else if (
			range !== undefined &&
			!(range.every(Number.isInteger) && 0 <= range[0] && range[0] <= range[1] && range[1] < count)
		)
			findings.push(
				mappingRefusal(
					group,
					"bucket_range",
					`= [${range.join(", ")}]; allowed: whole numbers 0 to ${count - 1}, ascending`,
				),
			);
		else if (pct !== undefined && !(0 <= pct[0] && pct[0] < pct[1] && pct[1] <= 1))
			findings.push(
				mappingRefusal(
					group,
					"bucket_range_pct",
					`= [${pct.join(", ")}]; allowed: fractions 0 to 1, the second the larger`,
				),
			);
	}
	return findings;
}

function warnShape(settings: BucketSettings): Finding[] {
	const { count, decayRatio, distribution } = settings;
	const findings: Finding[] = [];
	if (count < FEW_BUCKETS)
		findings.push(
			warning("bucket_count", `bucket_count = ${count}: fewer than ${FEW_BUCKETS} buckets cannot keep the tiers apart`),
		);
	if (count > MANY_BUCKETS && distribution !== "hybrid")
		findings.push(
			warning(
				"bucket_count",
				`bucket_count = ${count}: above ${MANY_BUCKETS} buckets use distribution_model = hybrid (now ${distribution})`,
			),
		);
	const usesRatio = distribution === "exponential" || distribution === "hybrid";
	if (usesRatio && (decayRatio < RATIO_LOW || decayRatio > RATIO_HIGH))
		findings.push(
			warning(
				"decay_ratio",
				`decay_ratio = ${decayRatio}: outside ${RATIO_LOW} to ${RATIO_HIGH} buckets are nearly empty or nearly alike`,
			),
		);
	return findings;
}

function warnTiny(settings: BucketSettings): Finding[] {
	if (settings.distribution === "custom") return [];
	const share = tinyShare(settings);
	if (share <= TINY_SHARE) return [];
	let best = settings.count - 1;
	while (best >= MIN_BUCKETS && tinyShare({ ...settings, count: best }) > TINY_SHARE) best--;
	const advice =
		best >= MIN_BUCKETS ? `bucket_count = ${best} is the largest that avoids it` : "no smaller bucket_count avoids it";
	const percent = Math.round(share * 100);
	return [
		warning(
			"bucket_count",
			`bucket_count = ${settings.count}: ${percent} % of the buckets are below 0.1 % of the base; ${advice}`,
		),
	];
}

/** Share of the buckets with a number that is below a thousandth of the base; best effort buckets are small on purpose. */
function tinyShare(settings: BucketSettings): number {
	const numbers = bucketCapacities(settings).filter((capacity) => capacity > 0);
	// One part in 10⁹ of slack: hybrid ends exactly on the limit.
	const limit = baseCapacity(settings) * TINY * (1 - 1e-9);
	return numbers.filter((capacity) => capacity < limit).length / numbers.length;
}

function warnGuarantees(
	settings: BucketSettings,
	mappings: readonly TierMapping[],
	{ scheduler, poolCapacity = baseCapacity(settings) }: BucketSurroundings,
): Finding[] {
	const figures = bucketFigures(settings, scheduler, poolCapacity);
	const empty = figures.flatMap(({ guarantee, bestEffort }, bucket) =>
		!bestEffort && guarantee <= poolCapacity * NOTHING ? [bucket] : [],
	);
	const users = mappings.filter((mapping) => empty.some((bucket) => mapping.first <= bucket && bucket <= mapping.last));
	const used = empty.filter((bucket) => users.some((mapping) => mapping.first <= bucket && bucket <= mapping.last));
	if (used.length === 0) return [];
	const total = show(sumOf(figures.map(({ capacity }) => capacity)));
	const groups = users.map(({ group }) => group).join(", ");
	return [
		warning(
			"capacity_basis",
			`${plural(used)} guaranteed nothing: the numbers sum to ${total} and the pool has ${show(poolCapacity)} (used by ${groups}); capacity_basis = total shares out what there is`,
		),
	];
}

function warnUncovered(settings: BucketSettings, mappings: readonly TierMapping[]): Finding[] {
	const uncovered = Array.from({ length: settings.count }, (_, bucket) => bucket).filter(
		(bucket) => !mappings.some((mapping) => mapping.first <= bucket && bucket <= mapping.last),
	);
	if (uncovered.length === 0) return [];
	return [warning("tier_mappings", `${plural(uncovered)} covered by no tier mapping`)];
}

function noteModes(mappings: readonly TierMappingSettings[], scheduler: SchedulerKind): Finding[] {
	if (scheduler === "atleast" || scheduler === "hybrid") return [];
	const what = numbersAreWeights(scheduler) ? "shares all capacity by weight" : "keeps every bucket to itself";
	return mappings.flatMap(({ group, mode }) =>
		mode === undefined
			? []
			: [
					{
						severity: "note" as const,
						key: `${SECTION}.tier_mappings.${group}.mode`,
						message: `mode = ${mode} of ${group} has no effect: scheduler = ${scheduler} ${what}`,
					},
				],
	);
}

function refusal(key: string, message: string): Finding {
	return { severity: "refusal", key: `${SECTION}.${key}`, message };
}

function warning(key: string, message: string): Finding {
	return { severity: "warning", key: `${SECTION}.${key}`, message };
}

function mappingRefusal(group: string, key: string, message: string): Finding {
	return refusal(`tier_mappings.${group}.${key}`, `${group}.${key} ${message}`);
}

function sumOf(numbers: readonly number[]): number {
	return numbers.reduce((total, number) => total + number, 0);
}

/** At most four significant digits. */
function show(number: number): string {
	return String(Number(number.toPrecision(4)));
}

/** `bucket 3 is` or `buckets 1-4, 9 are`. */
function plural(buckets: readonly number[]): string {
	const parts: string[] = [];
	for (let at = 0; at < buckets.length; at++) {
		const start = buckets[at]!;
		while (buckets[at + 1] === buckets[at]! + 1) at++;
		parts.push(start === buckets[at] ? `${start}` : `${start}-${buckets[at]}`);
	}
	return `${buckets.length === 1 ? "bucket" : "buckets"} ${parts.join(", ")} ${buckets.length === 1 ? "is" : "are"}`;
}
