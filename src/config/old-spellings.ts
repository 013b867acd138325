/**
 * Spellings of earlier documents and today's words for them (design 06 §6). Reading a file names today's word; `upgradeConfig` writes it.
 */
import { findKey } from "./schema.ts";

/** Sections that are called otherwise today; their keys kept their names. */
const RENAMED_SECTIONS = new Map([
	["header_routing", "classifier.header"],
	["token_routing", "classifier.token"],
	["bucket_scheduler", "allocator.bucket"],
	["allocator.bucket_experimental", "allocator.bucket"],
	["tier_mappings", "allocator.bucket.tier_mappings"],
	["scheduler", "request_scheduler"],
	["allocator", "request_scheduler"],
	["classifier", "request_scheduler"],
]);

/** Old `section.key` to today's section and key. */
const MOVED_KEYS = new Map<string, readonly [section: string, key: string]>([
	["scheduler.type", ["request_scheduler", "scheduler"]],
	["scheduler.algorithm", ["request_scheduler", "scheduler"]],
	["scheduler.policy", ["request_scheduler", "scheduler"]],
	...["priority_levels", "weights", "enable_subqueues"].map((key) => moved("scheduler", key, "allocator.priority")),
	...[
		"bucket_count",
		"base_capacity_rps",
		"base_capacity_tps",
		"decay_ratio",
		"distribution_model",
		"min_capacity",
	].map((key) => moved("scheduler", key, "allocator.bucket")),
	["scheduler.strict_buckets", ["scheduler.hybrid", "strict_range"]],
	["scheduler.atleast_buckets", ["scheduler.hybrid", "atleast_range"]],
	["scheduler.quantum", ["scheduler.drr", "quantum"]],
	moved("scheduler.wfq", "weights", "allocator.priority"),
	moved("scheduler.drr", "weights", "allocator.priority"),
	["allocator.type", ["request_scheduler", "allocator"]],
	moved("allocator", "priority_weight", "allocator.weighted_router"),
	moved("allocator", "bucket_weight", "allocator.weighted_router"),
	["bucket_scheduler.enabled", ["request_scheduler", "allocator"]],
	["classifier.type", ["request_scheduler", "classifier"]],
]);

/** Keys that moved to `[capacity]` from wherever they were. */
const CAPACITY_KEYS = new Set(["degradation_mode", "estimated_tokens_per_sec", "estimated_max_concurrent"]);

export interface TodaysSpelling {
	readonly section: string;
	readonly key: string;
	/** Present when the value is written differently too. */
	readonly value?: string;
}

/** Today's words for a key that is not in the schema, if it is one of the old ones. */
export function todaysSpelling(section: string, key: string, value: string): TodaysSpelling | undefined {
	if (findKey(section, key) !== undefined) return undefined;
	const target = MOVED_KEYS.get(`${section}.${key}`);
	if (target !== undefined) {
		const known = { section: target[0], key: target[1] };
		if (section !== "bucket_scheduler") return known;
		return { ...known, value: ["true", "yes", "on", "1"].includes(value.toLowerCase()) ? "bucket" : "priority" };
	}
	if (CAPACITY_KEYS.has(key)) return { section: "capacity", key };
	const today = todaysSection(section) ?? section;
	const candidates = [
		{ section: today, key: key === "max_qps" ? "max_rps" : key },
		{ section: "scheduler.atleast", key },
	];
	// Only a key that changed its section or its name is an old spelling; others are unknown.
	const found = candidates.find((candidate) => findKey(candidate.section, candidate.key) !== undefined);
	if (found === undefined || (found.section === "scheduler.atleast" && today === section)) return undefined;
	return found;
}

/** Today's name of an old section. */
export function todaysSection(section: string): string | undefined {
	const renamed = RENAMED_SECTIONS.get(section);
	if (renamed !== undefined) return renamed;
	const group = /^tier_mappings\.(.+)$/.exec(section)?.[1];
	return group === undefined ? undefined : `allocator.bucket.tier_mappings.${group}`;
}

/** Sections of a YAML or JSON file's top-level names. */
export function sectionForTopLevel(name: string): string | undefined {
	return TOP_LEVEL.get(name) ?? todaysSection(name);
}

const TOP_LEVEL = new Map([
	["request_scheduler", "request_scheduler"],
	["upstreams", "provider.NAME"],
	["providers", "provider.NAME"],
	["provider", "provider.NAME"],
	["models", "models"],
	["capacity", "capacity"],
	["capacity_guard", "capacity_guard"],
	["time_windows", "time_windows"],
	["quotas", "quotas"],
	["observability", "observability"],
	["gateway", "gateway"],
	["admin", "admin"],
	["storage", "storage"],
]);

function moved(section: string, key: string, to: string): [string, readonly [string, string]] {
	return [`${section}.${key}`, [to, key]];
}
