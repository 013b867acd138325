/**
 * The one list of what the schema knows and this version does not do. Whoever builds a part deletes its line; nothing else changes.
 */

/** Whole sections (with everything below them). */
const SECTIONS_NOT_AVAILABLE: readonly string[] = [];

/** Single keys, by path. */
const KEYS_NOT_AVAILABLE: readonly string[] = [
	"storage.redis_url",
	"storage.database_url",
	"protection.context_length.webhook_url",
	"providers.overflow",
	"providers.overflow_above",
	"providers.overflow_max_usd_per_hour",
];

/** Keys of several sections, by their spelling. */
const SPELLINGS_NOT_AVAILABLE: readonly string[] = ["affinity", "otlp_endpoint"];

/** Single values, by the spelling of their key. */
const VALUES_NOT_AVAILABLE: readonly { readonly key: string; readonly value: string }[] = [
	{ key: "truncation_strategy", value: "truncate_oldest" },
	{ key: "truncation_strategy", value: "truncate_middle" },
	{ key: "truncation_strategy", value: "webhook" },
];

export const NOT_AVAILABLE = "not available in this version";

export function isSectionAvailable(name: string): boolean {
	return !SECTIONS_NOT_AVAILABLE.some((section) => name === section || name.startsWith(`${section}.`));
}

export function isKeyAvailable(path: string): boolean {
	return !KEYS_NOT_AVAILABLE.includes(path) && !SPELLINGS_NOT_AVAILABLE.includes(path.slice(path.lastIndexOf(".") + 1));
}

export function isValueAvailable(spelling: string, value: string): boolean {
	const word = value.toLowerCase();
	return !VALUES_NOT_AVAILABLE.some((entry) => entry.key === spelling && entry.value === word);
}
