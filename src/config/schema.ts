/**
 * The one table of everything that can be configured, and how a written section and key are found in it. Type, range, default, unit and meaning
 * of a key are written in its row and nowhere else.
 */
import { capacitySection, familySection, providerSection } from "./schema-capacity.ts";
import { defaultClassifierSection, headerClassifierSection, tokenClassifierSection } from "./schema-classifier.ts";
import { hasPlaceholder, type Section, sectionName, sectionPattern } from "./schema-key.ts";
import * as later from "./schema-later.ts";
import * as scheduler from "./schema-scheduler.ts";
import * as service from "./schema-service.ts";
import { suggestionFor } from "./suggestion.ts";
import type { ValueType } from "./value-type.ts";

/** In the order of the reference page. */
export const SECTIONS: readonly Section[] = [
	service.gatewaySection,
	service.adminSection,
	service.storageSection,
	scheduler.requestSchedulerSection,
	service.costSection,
	headerClassifierSection,
	tokenClassifierSection,
	defaultClassifierSection,
	service.modelsSection,
	scheduler.priorityAllocatorSection,
	scheduler.levelSection,
	scheduler.bucketAllocatorSection,
	scheduler.bucketSection,
	scheduler.tierMappingSection,
	later.weightedRouterSection,
	scheduler.strictSchedulerSection,
	scheduler.wfqSchedulerSection,
	scheduler.drrSchedulerSection,
	scheduler.hybridSchedulerSection,
	scheduler.atleastSchedulerSection,
	capacitySection,
	later.providersSection,
	providerSection,
	familySection,
	later.capacityGuardSection,
	later.preemptionSection,
	later.timeWindowsSection,
	later.quotasSection,
	later.contextLengthSection,
	later.rateLimitSection,
	service.pricingSection,
	service.observabilitySection,
];

/** Sections without keys of their own that hold dotted keys. */
const PARENT_SECTIONS = new Set(["allocator.bucket.tier_mappings"]);

const MATCHERS = SECTIONS.map((section) => ({ section, pattern: sectionPattern(section.name) })).sort(
	// Literal names before placeholders, longer names before shorter ones: `provider.a.family.b` is no provider.
	(a, b) =>
		Number(hasPlaceholder(a.section.name)) - Number(hasPlaceholder(b.section.name)) ||
		b.section.name.length - a.section.name.length,
);

export interface FoundSection {
	readonly section: Section;
	/** What stands for the placeholders of its name. */
	readonly parameters: readonly string[];
}

export interface FoundKey extends FoundSection {
	/** `allocator.bucket.bucket_count`: the same for every way to write it. */
	readonly path: string;
	/** As it stands in the file that needs no dotted keys. */
	readonly sectionName: string;
	readonly spelling: string;
	readonly type: ValueType<unknown>;
	readonly secret: boolean;
	/** The variable part of an open key. */
	readonly openName?: string;
}

export function findSection(name: string): FoundSection | undefined {
	for (const { section, pattern } of MATCHERS) {
		const match = pattern.exec(name);
		if (match !== null) return { section, parameters: match.slice(1) };
	}
	return undefined;
}

export function isKnownSection(name: string): boolean {
	return findSection(name) !== undefined || PARENT_SECTIONS.has(name);
}

/** Finds a key; leading dotted parts of it name a sub-section. */
export function findKey(section: string, spelling: string): FoundKey | undefined {
	const direct = findDirect(section, spelling);
	if (direct !== undefined) return direct;
	const parts = spelling.split(".");
	for (let count = parts.length - 1; count > 0; count--) {
		const found = findDirect(`${section}.${parts.slice(0, count).join(".")}`, parts.slice(count).join("."));
		if (found !== undefined) return found;
	}
	return undefined;
}

/** Finds what `section.key` means; the longest section wins. */
export function findPath(path: string): FoundKey | undefined {
	for (let dot = path.lastIndexOf("."); dot > 0; dot = path.lastIndexOf(".", dot - 1)) {
		const found = findDirect(path.slice(0, dot), path.slice(dot + 1));
		if (found !== undefined) return found;
	}
	return undefined;
}

function findDirect(name: string, spelling: string): FoundKey | undefined {
	const found = findSection(name);
	if (found === undefined) return undefined;
	const common = { ...found, path: `${name}.${spelling}`, sectionName: name, spelling };
	const key = Object.values(found.section.keys).find((candidate) => candidate.spelling === spelling);
	if (key !== undefined) return { ...common, type: key.type, secret: key.secret === true };
	const openName = found.section.open?.pattern.exec(spelling)?.[1];
	if (found.section.open === undefined || openName === undefined) return undefined;
	return { ...common, type: found.section.open.type, secret: false, openName };
}

/** `did you mean …` for a section that does not exist, or nothing. */
export function suggestSection(name: string): string | undefined {
	const near = suggestionFor(name, [...SECTIONS.map((section) => section.name), ...PARENT_SECTIONS]);
	if (near !== undefined) return `[${near}]`;
	const inside = findPath(name);
	if (inside !== undefined) return `${inside.spelling} in [${inside.sectionName}]`;
	// `schedulr`: half of the name of some section
	const word = suggestionFor(
		name,
		SECTIONS.flatMap((section) => section.name.split(/[._]/)),
	);
	const whole = SECTIONS.find((section) => word !== undefined && section.name.split(/[._]/).includes(word));
	return whole === undefined ? undefined : `[${whole.name}]`;
}

/** What somebody who wrote an unknown key may have meant: a key of this section, else one of that name elsewhere. */
export function suggestKey(section: string, spelling: string): string | undefined {
	const here = findSection(section);
	const own = here === undefined ? [] : Object.values(here.section.keys).map((key) => key.spelling);
	const near = suggestionFor(spelling, here?.section.open === undefined ? own : [...own, here.section.open.spelling]);
	if (near !== undefined) return near;
	const elsewhere = SECTIONS.find((candidate) =>
		Object.values(candidate.keys).some((key) => key.spelling === spelling),
	);
	return elsewhere === undefined ? undefined : `${spelling} in [${elsewhere.name}]`;
}

/** The variable that stands for a key: `TOKLIGENCE_REQUEST_SCHEDULER_ALLOCATOR`. */
export function variableName(section: string, spelling: string): string {
	return `TOKLIGENCE_${section}_${spelling}`.replaceAll(/[^A-Za-z0-9]/g, "_").toUpperCase();
}

const SHORT_VARIABLES = new Map([
	["TOKLIGENCE_BUCKET_COUNT", "allocator.bucket.bucket_count"],
	["TOKLIGENCE_BUCKET_DECAY_RATIO", "allocator.bucket.decay_ratio"],
	["TOKLIGENCE_BUCKET_BASE_CAPACITY_RPS", "allocator.bucket.base_capacity_rps"],
	["TOKLIGENCE_DATA_DIR", "storage.data_dir"],
]);

const VARIABLES = new Map<string, string>([
	...SHORT_VARIABLES,
	...SECTIONS.filter((section) => !hasPlaceholder(section.name)).flatMap((section) =>
		Object.values(section.keys).map((key): [string, string] => [
			variableName(section.name, key.spelling),
			`${section.name}.${key.spelling}`,
		]),
	),
]);

/** Variables whose names hold a number in place of `N`. */
const NUMBERED_VARIABLES = [
	...[scheduler.levelSection, scheduler.bucketSection].flatMap((section) =>
		Object.values(section.keys).map((key) => ({
			pattern: new RegExp(`^${variableName(section.name, key.spelling).replace("_N_", "_(0|[1-9]\\d?)_")}$`),
			pathFor: (n: string) => `${sectionName(section.name, [n])}.${key.spelling}`,
		})),
	),
	{
		pattern: /^TOKLIGENCE_SCHEDULER_ATLEAST_UPGRADE_QUOTA_BUCKET_(0|[1-9]\d?)$/,
		pathFor: (n: string) => `scheduler.atleast.upgrade_quota_bucket_${n}`,
	},
];

/** What a `TOKLIGENCE_*` variable sets; nothing for one that is none of ours. */
export function pathForVariable(name: string): string | undefined {
	const known = VARIABLES.get(name);
	if (known !== undefined) return known;
	for (const { pattern, pathFor } of NUMBERED_VARIABLES) {
		const n = pattern.exec(name)?.[1];
		if (n !== undefined) return pathFor(n);
	}
	return undefined;
}

/** Names of all variables without placeholders, for the reference page and the test that no two are the same. */
export function variableNames(): readonly string[] {
	return [...VARIABLES.keys()];
}
