/**
 * What an installation with priority levels becomes with buckets (design 06 §4): which buckets each level gets, which groups of tenants then
 * arrive there, what each level had and what it will have. Data for the command, its report and its JSON; nothing is written here.
 *
 * Invariant: after the move every level has a group that reaches its buckets, so that no bucket is without traffic by accident.
 */
import { bucketFigures, numbersAreWeights } from "../core/allocate/distribution.ts";
import { bucketsOfLevel } from "../core/allocate/migration.ts";
import { queueDefaults } from "../core/allocate/queue-defaults.ts";
import { DEFAULT_TIER_MAPPINGS } from "../core/allocate/tier-mapping.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import type { QueueMode, QueueSettings, SchedulerKind } from "../core/model/policy.ts";
import { figure, type Proposal } from "./capacity-proposal.ts";

/** The default rule whose level tells where the requests of a default group were before. */
const RULE_OF_GROUP: Readonly<Record<string, string>> = {
	internal_production: "default-internal-production",
	internal_staging: "default-internal-staging",
	internal_dev: "default-internal-dev",
	external_premium: "default-external-premium",
	external_standard: "default-external-standard",
	spot: "default-spot",
};

export interface PlannedGroup {
	readonly name: string;
	readonly first: number;
	readonly last: number;
	readonly defaultBucket: number;
	readonly mode: QueueMode;
}

export interface PlannedLevel {
	readonly level: number;
	readonly name: string;
	/** Inclusive. */
	readonly first: number;
	readonly last: number;
	readonly groups: readonly PlannedGroup[];
	/** Part of the capacity by weight, as long as all levels wait; absent where levels are served in strict order. */
	readonly shareBefore: number | undefined;
	/** The same for the buckets that are its own: by weight, or as ceilings. */
	readonly shareAfter: number;
	/** Most of the capacity that its requests (of the group that has least) can use when nobody else asks. Levels could use all of it. */
	readonly reachAfter: number;
}

export interface PlannedBucket {
	readonly bucket: number;
	readonly maxDepth?: number;
	readonly timeoutMs?: number;
	readonly limitTps?: number;
}

export interface MigrationPlan {
	readonly levels: readonly PlannedLevel[];
	/** What the buckets need to keep the depth, timeout and ceiling of their level. */
	readonly buckets: readonly PlannedBucket[];
	/** What somebody loses or must look at. */
	readonly warnings: readonly string[];
}

export interface PlanInput {
	/** Queues of the priority allocator, best first. */
	readonly levels: readonly QueueSettings[];
	readonly count: number;
	readonly scheduler: SchedulerKind;
	readonly schedulerBefore: SchedulerKind;
	readonly strictLevels: readonly number[];
	readonly shape: Parameters<typeof bucketFigures>[0];
	readonly proposal: Proposal;
	readonly maxUpgradeDistance: number;
	/** Groups that the file names already; they stay as they are. */
	readonly kept: readonly string[];
}

export function planMigration(input: PlanInput): MigrationPlan {
	const { levels, count, scheduler } = input;
	const upgrades = scheduler === "atleast" || scheduler === "hybrid";
	const capacities = bucketFigures(input.shape, scheduler, input.proposal.base).map(({ capacity }) => capacity);
	const weights = bucketFigures(input.shape, scheduler, input.proposal.base).map(({ weight }) => weight);
	const ranges = levels.map((_, level) => bucketsOfLevel(level, levels.length, count));
	const groups = levels.map((_, level) => groupsOf(level, levels.length, ranges[level]!, upgrades));
	const arrivals = groups.map((of, level) => of[0]?.defaultBucket ?? ranges[level]![0]);
	// Only buckets where requests arrive compete, each of them once.
	const competing = [...new Set(arrivals)].reduce((sum, bucket) => sum + weights[bucket]!, 0);
	const levelWeights = levels.reduce((sum, { weight }) => sum + weight, 0);
	const total = capacities.reduce((sum, capacity) => sum + capacity, 0);
	const planned = levels.map((queue, level): PlannedLevel => {
		const arrival = arrivals[level]!;
		const ordered =
			input.schedulerBefore === "strict" || (input.schedulerBefore === "hybrid" && input.strictLevels.includes(level));
		const reachOf = ({ mode, defaultBucket }: PlannedGroup) => {
			const borrows = upgrades && mode === "atleast";
			const from = borrows ? Math.max(0, defaultBucket - input.maxUpgradeDistance) : defaultBucket;
			return capacities.slice(from, defaultBucket + 1).reduce((sum, capacity) => sum + capacity, 0) / total;
		};
		// A level that may use idle better buckets is the first to find those of its own range idle.
		const own = groups[level]!.map(({ mode, defaultBucket }) => ({
			from: upgrades && mode === "atleast" ? ranges[level]![0] : defaultBucket,
			to: defaultBucket,
		}));
		const assured = capacities
			.slice(Math.min(...own.map(({ from }) => from)), Math.max(...own.map(({ to }) => to)) + 1)
			.reduce((sum, capacity) => sum + capacity, 0);
		const whole = numbersAreWeights(scheduler) || capacities[arrival] === 0;
		return {
			level,
			name: queue.name,
			first: ranges[level]![0],
			last: ranges[level]![1],
			groups: groups[level]!,
			shareBefore: ordered ? undefined : queue.weight / levelWeights,
			shareAfter: numbersAreWeights(scheduler) ? weights[arrival]! / competing : assured / total,
			reachAfter: whole ? 1 : Math.min(...groups[level]!.map(reachOf)),
		};
	});
	return { levels: planned, buckets: overridesOf(levels, ranges, count), warnings: warningsOf(input, planned) };
}

/** Groups whose requests had this level, or one named after it that rules can use (`assign_queue = group:level_3`). */
function groupsOf(
	level: number,
	levels: number,
	[first, last]: readonly [number, number],
	upgrades: boolean,
): readonly PlannedGroup[] {
	const rules = defaultRules(levels);
	const names = DEFAULT_TIER_MAPPINGS.filter(
		({ group }) => rules.find(({ id }) => id === RULE_OF_GROUP[group])?.assignPriority === level,
	);
	const group = (name: string, mode: QueueMode): PlannedGroup => ({
		name,
		first,
		last,
		// Whoever may use idle better buckets starts in the level's worst and so reaches all of them; others start in the largest.
		defaultBucket: upgrades && mode === "atleast" ? last : first,
		mode,
	});
	if (names.length === 0) return [group(`level_${level}`, "atleast")];
	return names.map(({ group: name, mode }) => group(name, mode ?? "atleast"));
}

function overridesOf(
	levels: readonly QueueSettings[],
	ranges: readonly (readonly [number, number])[],
	count: number,
): readonly PlannedBucket[] {
	const buckets: PlannedBucket[] = [];
	for (let bucket = 0; bucket < count; bucket++) {
		const level = levels[ranges.findIndex(([first, last]) => first <= bucket && bucket <= last)];
		if (level === undefined) continue;
		const usual = queueDefaults(bucket, count);
		const planned: PlannedBucket = {
			bucket,
			...(level.maxDepth === usual.maxDepth ? {} : { maxDepth: level.maxDepth }),
			...(level.timeoutMs === usual.timeoutMs ? {} : { timeoutMs: level.timeoutMs }),
			...(level.limitTps === undefined ? {} : { limitTps: level.limitTps }),
		};
		if (Object.keys(planned).length > 1) buckets.push(planned);
	}
	return buckets;
}

function warningsOf(input: PlanInput, levels: readonly PlannedLevel[]): readonly string[] {
	const { proposal, count, scheduler } = input;
	const warnings: string[] = [];
	if (proposal.assumed)
		warnings.push(
			`the base of ${proposal.base} requests/s is assumed; measure with \`tokligence benchmark\` and set it`,
		);
	for (const { level, reachAfter, shareBefore, shareAfter, first, last } of levels) {
		if (reachAfter < 0.995)
			warnings.push(
				`P${level} could use the whole pool while nobody else asked; in its buckets it has at most ${percent(reachAfter)} (${figure(reachAfter * proposal.base)} of ${figure(proposal.base)} ${proposal.unit})`,
			);
		if (shareBefore !== undefined && shareAfter < shareBefore * 0.9)
			warnings.push(
				`P${level} loses share when all wait: ${percent(shareBefore)} by weight before, ${percent(shareAfter)} after`,
			);
		if (input.levels[level]?.limitTps !== undefined && last > first)
			warnings.push(`limit_tps of P${level} now holds for each of B${first} to B${last}, no longer for all of them`);
	}
	if (count < levels.length)
		warnings.push(`${count} buckets are fewer than ${levels.length} levels: some levels share a bucket`);
	if (scheduler === "strict")
		warnings.push(
			"scheduler = strict keeps every bucket to itself; atleast also uses what is idle (--scheduler atleast)",
		);
	warnings.push(
		"a priority of a token or of X-Priority chooses within the buckets of its group now, and assign_priority of a rule has no effect: use assign_queue or assign_priority_in_range",
	);
	if (input.kept.length > 0)
		warnings.push(`tier mappings that stand in the file already stay as they are: ${input.kept.join(", ")}`);
	return warnings;
}

export function percent(part: number): string {
	return `${Number((part * 100).toPrecision(3))} %`;
}
