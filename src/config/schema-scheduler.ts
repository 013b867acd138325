/**
 * Schema rows of layers 2 and 3: which queue a request waits in, and which queue is served next. (Design: 01 §§3-4, 06 §§4 and 9.)
 */
import { CAPACITY_BASES, DISTRIBUTION_MODELS, MAX_BUCKETS, MIN_BUCKETS } from "../core/allocate/distribution.ts";
import { ALLOCATOR_CHOICES, ALLOCATORS, QUEUE_MODES, SCHEDULERS } from "../core/model/policy.ts";
import { key, openSection, optional, section } from "./schema-key.ts";
import {
	anyText,
	decimal,
	duration,
	fractionRange,
	inclusiveRange,
	integer,
	listOf,
	oneOf,
	size,
	toggle,
} from "./value-type.ts";

export const CLASSIFIERS = ["header", "token", "hybrid"] as const;

const SCHEDULER_ALIASES = {
	strict_priority: "strict",
	weighted_fair_queuing: "wfq",
	weighted_fair: "wfq",
	deficit_round_robin: "drr",
} as const;
const FLOW_PATH =
	/^(organisation|account|team|environment|token|model)(\/(organisation|account|team|environment|token|model))*$/;

/** `none`, or steps joined by slashes. */
const flowPath = {
	name: "path",
	allowed:
		"steps out of organisation, account, team, environment, token, model joined by /, each at most once, or none",
	parse: (text: string) => {
		if (text === "none") return { value: [] };
		const steps = text.split("/");
		return FLOW_PATH.test(text) && new Set(steps).size === steps.length
			? { value: steps as readonly string[] }
			: undefined;
	},
};

export const requestSchedulerSection = section("request_scheduler", "Picks the three layers.", {
	enabled: key("enabled", toggle, "true", "Whether requests queue; authentication, limits and ledger stay either way."),
	classifier: key(
		"classifier",
		oneOf(CLASSIFIERS),
		"hybrid",
		"Layer 1: by trusted headers, by token, or by headers first and then by token.",
	),
	allocator: key(
		"allocator",
		oneOf(ALLOCATOR_CHOICES),
		"priority",
		"Layer 2: priority levels, capacity buckets, or both side by side while migrating (`[allocator.weighted_router]`).",
	),
	scheduler: key(
		"scheduler",
		oneOf(SCHEDULERS, SCHEDULER_ALIASES),
		"hybrid",
		"Layer 3: the order in which queues are served.",
	),
	defaultPriority: key(
		"default_priority",
		integer({ min: 0, max: 19 }),
		"4",
		"Level of requests that nothing else gives one; clamped to the last level when not set.",
	),
	flowPath: key(
		"flow_path",
		flowPath,
		"organisation/account",
		"Steps at which the requests of one queue share it fairly.",
	),
	maxWaiting: key(
		"max_waiting",
		integer({ min: 1, max: 10_000_000 }),
		"20000",
		"Waiting requests of the whole gateway.",
		{ unit: "requests" },
	),
	maxWaitingBytes: key("max_waiting_bytes", size, "1GB", "Bodies of waiting requests of the whole gateway."),
	shadowAllocator: optional(
		"shadow_allocator",
		oneOf(ALLOCATORS),
		"A second allocator that runs without acting, to be compared.",
		{ note: "none" },
	),
});

const level = integer({ min: 0, max: 19 });
const weight = decimal({ above: 0, max: 1_000_000 });
const rate = decimal({ above: 0, max: 1e12 });

export const priorityAllocatorSection = section("allocator.priority", "Priority levels; 0 is the best.", {
	priorityLevels: key("priority_levels", integer({ min: 2, max: 20 }), "5", "Number of levels."),
	weights: optional(
		"weights",
		listOf(weight, { min: 2, max: 20 }),
		"Weight of each level, best first; as many as there are levels.",
		{ note: "10, 5, 2, 1, 0.5, or geometric from 10 to 0.5" },
	),
	enableSubqueues: key(
		"enable_subqueues",
		listOf(level),
		"",
		"Levels in which the environment is the first step of the flow path.",
	),
});

/** What can be said of one queue, in `[allocator.priority.level.N]` and `[allocator.bucket.N]`. */
const queueKeys = {
	name: optional("name", anyText, "Name in messages and metrics.", { note: "of the default level" }),
	maxDepth: optional("max_depth", integer({ min: 1, max: 10_000_000 }), "Requests that may wait here.", {
		unit: "requests",
		note: "of the default level",
	}),
	timeoutMs: optional("timeout", duration(), "Longest wait; a request that waited longer is evicted.", {
		note: "of the default level",
	}),
	weight: optional("weight", weight, "Share under wfq, drr, atleast and hybrid.", {
		note: "of the default level, or the bucket's capacity",
	}),
	reservedTps: optional("reserved_tps", rate, "Assured rate.", { unit: "tokens/s", note: "none" }),
	limitTps: optional("limit_tps", rate, "Highest rate.", { unit: "tokens/s", note: "none" }),
	lendable: key("lendable", toggle, "true", "Whether others may use `reserved_tps` while it is idle."),
};

export const levelSection = section("allocator.priority.level.N", "One priority level.", queueKeys);
export const bucketSection = section("allocator.bucket.N", "One capacity bucket.", queueKeys);

export const bucketAllocatorSection = section("allocator.bucket", "Capacity buckets; 0 is the best.", {
	bucketCount: key("bucket_count", integer({ min: MIN_BUCKETS, max: MAX_BUCKETS }), "10", "Number of buckets."),
	baseCapacityRps: optional(
		"base_capacity_rps",
		rate,
		"Capacity that the distribution starts from, in requests; or `base_capacity_tps`, never both.",
		{ unit: "requests/s", note: "one of the two is needed with `allocator = bucket`" },
	),
	baseCapacityTps: optional("base_capacity_tps", rate, "Capacity that the distribution starts from, in tokens.", {
		unit: "tokens/s",
		note: "one of the two is needed with `allocator = bucket`",
	}),
	decayRatio: key(
		"decay_ratio",
		decimal({ above: 0, below: 1 }),
		"0.7",
		"Capacity of a bucket as a part of the next better one (exponential, hybrid).",
	),
	distributionModel: key(
		"distribution_model",
		oneOf(DISTRIBUTION_MODELS),
		"exponential",
		"How capacity falls from bucket to bucket.",
	),
	minCapacity: optional(
		"min_capacity",
		decimal({ min: 0, max: 1e12 }),
		"Capacity of the last bucket (linear), in the unit of the base.",
		{ note: "a hundredth of the base" },
	),
	capacities: optional(
		"capacities",
		listOf(decimal({ min: 0, max: 1e12 }), { min: 2, max: 100 }),
		"Capacity of each bucket (custom), in the unit of the base; 0 is best effort.",
		{ note: "needed with `distribution_model = custom`" },
	),
	capacityBasis: key(
		"capacity_basis",
		oneOf(CAPACITY_BASES),
		"bucket0",
		"Whether the base is the capacity of bucket 0 or of all buckets together.",
	),
});

export const tierMappingSection = section(
	"allocator.bucket.tier_mappings.GROUP",
	"Which buckets a group (`<tier>_<environment>`, `<tier>_<account tier>`, `<tier>` or a name that rules use) may be in. Also written as dotted keys `GROUP.key` in `[allocator.bucket.tier_mappings]`.",
	{
		bucketRange: optional("bucket_range", inclusiveRange, "Buckets of the group by number, both included.", {
			note: "of the default group, else `bucket_range_pct`",
		}),
		bucketRangePct: optional(
			"bucket_range_pct",
			fractionRange,
			"Buckets of the group as a part of the count, end excluded.",
			{ note: "of the default group" },
		),
		defaultBucket: optional(
			"default_bucket",
			integer({ min: 0, max: 99 }),
			"Bucket of requests that carry no priority.",
			{ note: "the best of the range" },
		),
		defaultBucketPct: optional("default_bucket_pct", decimal({ min: 0, max: 1 }), "The same as a part of the count.", {
			note: "of the default group",
		}),
		mode: optional(
			"mode",
			oneOf(QUEUE_MODES),
			"Whether its requests keep to their own bucket or also use idle better ones; matters under `atleast` and `hybrid`.",
			{ note: "of the default group, else atleast" },
		),
	},
);

export const strictSchedulerSection = section("scheduler.strict", "Best non-empty queue first. No keys.", {});
export const wfqSchedulerSection = section(
	"scheduler.wfq",
	"Weighted fair queuing; weights belong to levels and buckets. No keys.",
	{},
);

export const drrSchedulerSection = section("scheduler.drr", "Deficit round robin.", {
	quantum: key(
		"quantum",
		integer({ min: 1, max: 10_000_000 }),
		"4096",
		"Cost that a queue of weight 1 may spend per round.",
		{ unit: "cost" },
	),
});

export const hybridSchedulerSection = section(
	"scheduler.hybrid",
	"Some queues strictly first, fair queuing over the rest.",
	{
		strictLevels: key(
			"strict_levels",
			listOf(level),
			"0",
			"Levels that are served strictly first (priority allocator).",
		),
		strictRange: optional(
			"strict_range",
			inclusiveRange,
			"Buckets that keep to their own capacity (bucket allocator).",
			{ note: "the mode of each mapping" },
		),
		atleastRange: optional(
			"atleast_range",
			inclusiveRange,
			"Buckets that also use idle better ones (bucket allocator).",
			{ note: "the mode of each mapping" },
		),
	},
);

const upgradeQuota = integer({ min: 0, max: 1_000_000 });

export const atleastSchedulerSection = openSection(
	"scheduler.atleast",
	"Own capacity, or that of any better queue that is idle now.",
	{
		maxUpgradeDistance: key(
			"max_upgrade_distance",
			integer({ min: 0, max: 99 }),
			"10",
			"How many buckets better a borrowed one may be.",
			{ unit: "buckets" },
		),
		upgradeQuotaDefault: key(
			"upgrade_quota_default",
			upgradeQuota,
			"20",
			"Upgraded requests in flight that one bucket lends to at a time.",
			{ unit: "requests" },
		),
		maxUpgradeTimeMs: key(
			"max_upgrade_time",
			duration(),
			"60s",
			"Time after which an upgraded request is charged to its own bucket.",
		),
		softPreemption: key(
			"soft_preemption",
			toggle,
			"true",
			"Whether a bucket that finds itself full of upgraded requests has the longest-running ones charged to their own buckets.",
		),
	},
	{
		spelling: "upgrade_quota_bucket_N",
		pattern: /^upgrade_quota_bucket_(0|[1-9]\d?)$/,
		type: upgradeQuota,
		doc: "The same for bucket N (2, 5 and 10 for buckets 0, 1 and 2 unless set).",
		unit: "requests",
	},
);
