/**
 * What single values cannot tell: whether the configuration as a whole makes sense. Errors stop the start, warnings and notes do not
 * (design 01 §3, 00 on the admin plane). The arithmetic of buckets lives with the bucket allocator; here its findings get their place.
 */
import { checkBucketSettings } from "../core/allocate/bucket-findings.ts";
import type { BucketSettings } from "../core/allocate/distribution.ts";
import type { Assignments } from "./assignments.ts";
import { measuredCapacity } from "./benchmark-report.ts";
import { type CapacityConfig, type GatewayConfig, isLoopback } from "./gateway-config.ts";
import type { ConfigProblem } from "./problem.ts";
import { parseModelNumbers } from "./protection.ts";
import { suggestionFor } from "./suggestion.ts";

type Severity = ConfigProblem["severity"];

/** `assignments` gives each problem its place. */
export function checkConfig(config: GatewayConfig, assignments: Assignments): readonly ConfigProblem[] {
	const checks = new Checks(assignments);
	checkListeners(config, checks);
	checkClassifiers(config, checks);
	checkLevels(config, checks);
	checkBuckets(config, checks);
	checkRouter(config, checks);
	checkCapacity(config, checks);
	checkReservations(config, checks);
	checkGuard(config, checks);
	checkPreemption(config, checks);
	checkProviders(config, checks);
	checkModels(config, checks);
	checkQuotas(config, checks);
	checkProtection(config, checks);
	return checks.problems;
}

/** Collects problems under `section` and `key`. */
class Checks {
	readonly problems: ConfigProblem[] = [];
	readonly #assignments: Assignments;

	constructor(assignments: Assignments) {
		this.#assignments = assignments;
	}

	isSet(path: string): boolean {
		return this.#assignments.get(path) !== undefined;
	}

	add(severity: Severity, section: string, key: string, message: string): void {
		const where = this.#assignments.placeOf(`${section}.${key}`);
		this.problems.push({ severity, where, section, key, message });
	}
}

function checkListeners({ gateway, admin }: GatewayConfig, checks: Checks): void {
	for (const [section, { tlsCert, tlsKey }] of [
		["gateway", gateway],
		["admin", admin],
	] as const) {
		if ((tlsCert === undefined) !== (tlsKey === undefined)) {
			const [there, missing] = tlsCert === undefined ? ["tls_key", "tls_cert"] : ["tls_cert", "tls_key"];
			checks.add("error", section, there, `needs ${missing} beside it`);
		}
	}
	if (!isLoopback(admin.listen.host) && admin.tokenEnv === undefined)
		checks.add(
			"error",
			"admin",
			"listen",
			`${admin.listen.host} is reachable from other machines; set token_env, or listen on 127.0.0.1`,
		);
	const { host, port } = admin.listen;
	if (port !== 0 && port === gateway.listen.port && host === gateway.listen.host)
		checks.add(
			"error",
			"admin",
			"listen",
			`${host}:${port} is the address of the data plane too; give one of them another port`,
		);
}

function checkClassifiers({ classifier, requestScheduler }: GatewayConfig, checks: Checks): void {
	const { header, token } = classifier;
	const kind = requestScheduler.classifier;
	if (kind !== "token" && header.enabled && header.trustedCidrs.length === 0)
		checks.add("warning", "classifier.header", "trusted_cidrs", "is empty: no peer's headers count");
	if (header.enabled && header.trustedCidrs.some((block) => block.endsWith("/0")))
		checks.add("warning", "classifier.header", "trusted_cidrs", "trusts every peer: any client can name its own tier");
	if (kind === "header" && !header.enabled)
		checks.add(
			"warning",
			"request_scheduler",
			"classifier",
			"is header, but [classifier.header] enabled is false: no request can be classified",
		);
	if (kind === "token" && !token.enabled)
		checks.add(
			"warning",
			"request_scheduler",
			"classifier",
			"is token, but [classifier.token] enabled is false: no request can be classified",
		);
	if (kind === "token" && header.enabled)
		checks.add("note", "classifier.header", "enabled", "has no effect: classifier = token ignores X-TGW-* headers");
}

function checkLevels({ allocator, requestScheduler, classifier, scheduler }: GatewayConfig, checks: Checks): void {
	const { priorityLevels, weights, enableSubqueues, levels } = allocator.priority;
	const outside = (section: string, key: string, level: number) => {
		const message = `level ${level} does not exist; allowed: 0 to ${priorityLevels - 1} (priority_levels = ${priorityLevels})`;
		checks.add("error", section, key, message);
	};
	if (weights !== undefined && weights.length !== priorityLevels)
		checks.add(
			"error",
			"allocator.priority",
			"weights",
			`has ${weights.length} weights for ${priorityLevels} levels; give one for each, best first`,
		);
	const subqueue = enableSubqueues.find((level) => level >= priorityLevels);
	if (subqueue !== undefined) outside("allocator.priority", "enable_subqueues", subqueue);
	else if (enableSubqueues.length > 0 && requestScheduler.allocator === "bucket")
		checks.add("note", "allocator.priority", "enable_subqueues", "has no effect with allocator = bucket");
	for (const level of levels.keys())
		if (level >= priorityLevels) {
			const section = `allocator.priority.level.${level}`;
			const where = checks.isSet(`${section}.name`) ? "name" : "";
			outside(section, where, level);
		}
	if (requestScheduler.defaultPriority >= priorityLevels)
		outside("request_scheduler", "default_priority", requestScheduler.defaultPriority);
	if (checks.isSet("classifier.token.fail_open_priority") && classifier.token.failOpenPriority >= priorityLevels)
		outside("classifier.token", "fail_open_priority", classifier.token.failOpenPriority);
	const strict = scheduler.hybrid.strictLevels.find((level) => level >= priorityLevels);
	if (requestScheduler.allocator !== "bucket" && strict !== undefined)
		outside("scheduler.hybrid", "strict_levels", strict);
}

/** What the bucket allocator is made from. */
export function bucketSettingsOf({ allocator }: GatewayConfig): BucketSettings {
	const {
		bucketCount,
		baseCapacityRps,
		baseCapacityTps,
		decayRatio,
		distributionModel,
		minCapacity,
		capacities,
		capacityBasis,
		buckets,
	} = allocator.bucket;
	return {
		count: bucketCount,
		...(baseCapacityRps === undefined ? {} : { baseCapacityRps }),
		...(baseCapacityTps === undefined ? {} : { baseCapacityTps }),
		distribution: distributionModel,
		decayRatio,
		...(minCapacity === undefined ? {} : { minCapacity }),
		...(capacities === undefined ? {} : { capacities }),
		basis: capacityBasis,
		overrides: buckets,
	};
}

function checkBuckets(config: GatewayConfig, checks: Checks): void {
	const { allocator, requestScheduler, scheduler, providers } = config;
	if (requestScheduler.shadowAllocator === requestScheduler.allocator)
		checks.add(
			"error",
			"request_scheduler",
			"shadow_allocator",
			`${requestScheduler.allocator} acts already; allowed is the other one`,
		);
	if (requestScheduler.allocator === "priority" && requestScheduler.shadowAllocator !== "bucket") return;
	const { bucketCount, buckets, tierMappings, distributionModel } = allocator.bucket;
	const outside = (section: string, key: string, bucket: number) => {
		const message = `bucket ${bucket} does not exist; allowed: 0 to ${bucketCount - 1} (bucket_count = ${bucketCount})`;
		checks.add("error", section, key, message);
	};
	for (const bucket of buckets.keys()) if (bucket >= bucketCount) outside(`allocator.bucket.${bucket}`, "", bucket);
	for (const [key, range] of [
		["strict_range", scheduler.hybrid.strictRange],
		["atleast_range", scheduler.hybrid.atleastRange],
	] as const)
		if (range !== undefined && range[1] >= bucketCount) outside("scheduler.hybrid", key, range[1]);
	const { strictRange: strict, atleastRange: atleast } = scheduler.hybrid;
	if (strict !== undefined && atleast !== undefined && strict[0] <= atleast[1] && atleast[0] <= strict[1])
		checks.add("error", "scheduler.hybrid", "atleast_range", "overlaps strict_range; a bucket is in one of them");
	for (const bucket of scheduler.atleast.upgradeQuotas.keys()) {
		const key = `upgrade_quota_bucket_${bucket}`;
		if (bucket >= bucketCount && checks.isSet(`scheduler.atleast.${key}`)) outside("scheduler.atleast", key, bucket);
	}
	for (const { group, defaultBucket } of tierMappings)
		if (defaultBucket !== undefined && defaultBucket >= bucketCount)
			outside(`allocator.bucket.tier_mappings.${group}`, "default_bucket", defaultBucket);
	if (distributionModel !== "custom" && checks.isSet("allocator.bucket.capacities"))
		checks.add(
			"note",
			"allocator.bucket",
			"capacities",
			`has no effect with distribution_model = ${distributionModel}`,
		);

	// Pools differ; the smallest is the one that guarantees the least.
	const settings = bucketSettingsOf(config);
	const inTokens = settings.baseCapacityTps !== undefined;
	const rates = providers
		.map(({ capacity }) => (inTokens ? capacity.maxTokensPerSec : capacity.maxRps))
		.filter((rate) => rate !== undefined);
	const surroundings = {
		scheduler: requestScheduler.scheduler,
		...(rates.length === 0 ? {} : { poolCapacity: Math.min(...rates) }),
	};
	for (const { severity, key, message } of checkBucketSettings(settings, tierMappings, surroundings)) {
		const dot = key.lastIndexOf(".");
		checks.add(severity === "refusal" ? "error" : severity, key.slice(0, dot), key.slice(dot + 1), message);
	}
}

function checkRouter({ allocator, requestScheduler, capacity, providers }: GatewayConfig, checks: Checks): void {
	const section = "allocator.weighted_router";
	const { priorityWeight, bucketWeight } = allocator.weightedRouter;
	const key = checks.isSet(`${section}.bucket_weight`) ? "bucket_weight" : "priority_weight";
	if (requestScheduler.allocator !== "weighted_router") {
		if (checks.isSet(`${section}.${key}`))
			checks.add("note", section, key, `has no effect with allocator = ${requestScheduler.allocator}`);
		return;
	}
	if (priorityWeight + bucketWeight === 0)
		checks.add("error", section, key, "is 0 as the other weight is; one of them must be above 0");
	if (requestScheduler.shadowAllocator !== undefined)
		checks.add(
			"error",
			"request_scheduler",
			"shadow_allocator",
			"has no place beside weighted_router: both act already",
		);
	if (priorityWeight === 0 || bucketWeight === 0) return;
	const pools = [
		["capacity", capacity] as const,
		...providers.map((provider) => [`provider.${provider.name}`, provider.capacity] as const),
	];
	for (const [where, { maxConcurrent }] of pools)
		if (maxConcurrent === 1 && checks.isSet(`${where}.max_concurrent`))
			checks.add(
				"warning",
				where,
				"max_concurrent",
				"1 cannot be divided between two allocators: the one with the larger weight has it, and takes the other's work too",
			);
}

/** How many queues there are, and what one is called; with two allocators a number may mean a level, a bucket, or both. */
function queuesOf({ allocator, requestScheduler }: GatewayConfig): { readonly queues: number; readonly word: string } {
	const { priorityLevels: levels } = allocator.priority;
	const { bucketCount: buckets } = allocator.bucket;
	if (requestScheduler.allocator === "weighted_router")
		return { queues: Math.max(levels, buckets), word: "level or bucket" };
	return requestScheduler.allocator === "bucket"
		? { queues: buckets, word: "bucket" }
		: { queues: levels, word: "level" };
}

function checkCapacity(config: GatewayConfig, checks: Checks): void {
	const { providers } = config;
	const { queues, word } = queuesOf(config);
	const check = (section: string, capacity: CapacityConfig) => {
		const outside = capacity.headroomFor.find((queue) => queue >= queues);
		if (outside !== undefined && checks.isSet(`${section}.headroom_for`))
			checks.add("error", section, "headroom_for", `${word} ${outside} does not exist; allowed: 0 to ${queues - 1}`);
		if (capacity.mode === "measured" && capacity.capacityFrom === undefined && checks.isSet(`${section}.mode`))
			checks.add(
				"error",
				section,
				"mode",
				"measured needs capacity_from, the report that `tokligence benchmark --output` writes",
			);
		if (capacity.mode === "measured" && capacity.capacityFrom !== undefined) checkReport(section, capacity, checks);
		if (
			capacity.targetTtftP99Ms !== undefined &&
			checks.isSet(`${section}.target_ttft_p99`) &&
			capacity.mode !== "adaptive"
		)
			checks.add(
				"note",
				section,
				"target_ttft_p99",
				"moves only headroom and prefill window here; with mode = adaptive the limit follows too",
			);
		const { minConcurrent, maxConcurrent } = capacity;
		if (maxConcurrent !== undefined && minConcurrent > maxConcurrent && checks.isSet(`${section}.min_concurrent`))
			checks.add("error", section, "min_concurrent", `${minConcurrent} is more than max_concurrent = ${maxConcurrent}`);
	};
	check("capacity", config.capacity);
	for (const provider of providers) {
		check(`provider.${provider.name}`, provider.capacity);
		for (const family of provider.families) check(`provider.${provider.name}.family.${family.name}`, family.capacity);
	}
}

function checkReservations(config: GatewayConfig, checks: Checks): void {
	const { allocator } = config.requestScheduler;
	for (const byBucket of [false, true])
		if (allocator === "weighted_router" || byBucket === (allocator === "bucket"))
			checkReservationsOf(config, byBucket, checks);
}

function checkReservationsOf(
	{ allocator, capacity, providers }: GatewayConfig,
	byBucket: boolean,
	checks: Checks,
): void {
	const queues = byBucket ? allocator.bucket.buckets : allocator.priority.levels;
	const name = (queue: number) => (byBucket ? `allocator.bucket.${queue}` : `allocator.priority.level.${queue}`);
	const ceiling = Math.min(
		...[capacity, ...providers.map((provider) => provider.capacity)].map(
			(one) => one.maxTokensPerSec ?? Number.POSITIVE_INFINITY,
		),
	);
	let total = 0;
	for (const [queue, { reservedTps, limitTps, lendable }] of queues) {
		if (reservedTps === undefined) continue;
		total += reservedTps;
		if (limitTps !== undefined && reservedTps > limitTps)
			checks.add("error", name(queue), "reserved_tps", `${reservedTps} is more than limit_tps = ${limitTps}`);
		if (lendable === false && !Number.isFinite(ceiling))
			checks.add("error", name(queue), "lendable", "false needs max_tokens_per_sec: what is kept free is a part of it");
		if (total > ceiling)
			checks.add(
				"error",
				name(queue),
				"reserved_tps",
				`with it ${total} tokens/s are reserved, more than max_tokens_per_sec = ${ceiling}`,
			);
	}
}

function checkGuard(config: GatewayConfig, checks: Checks): void {
	const { capacityGuard: guard, capacity, providers } = config;
	const section = "capacity_guard";
	const { queues } = queuesOf(config);
	const outside = guard.bufferFor.find((queue) => queue >= queues);
	if (outside !== undefined && checks.isSet(`${section}.buffer_for`))
		checks.add("error", section, "buffer_for", `${outside} does not exist; allowed: 0 to ${queues - 1}`);
	if (guard.resumePct > guard.internalLimitPct)
		checks.add(
			"error",
			section,
			"resume_pct",
			`${guard.resumePct} is more than internal_limit_pct = ${guard.internalLimitPct}: it would open while it closes`,
		);
	if (!guard.enabled) return;
	if (!config.requestScheduler.enabled)
		checks.add("warning", section, "enabled", "has no effect: [request_scheduler] enabled = false");
	if (guard.externalTiers.includes("internal"))
		checks.add(
			"warning",
			section,
			"external_tiers",
			"names internal: the work that it protects would be kept out with it",
		);
	if (guard.externalTiers.length === 0)
		checks.add("warning", section, "external_tiers", "is empty: nobody is ever kept out");
	checkBufferAndReservations(config, checks);
	const isOpenEnded =
		capacity.maxTokensPerSec === undefined &&
		providers.some((provider) => provider.capacity.maxTokensPerSec === undefined);
	if (guard.maxTps === undefined && isOpenEnded)
		checks.add(
			"error",
			section,
			"max_tps",
			"is needed: usage is a part of it, and no max_tokens_per_sec of the pools stands in for it",
		);
}

/** What the buffer keeps for some queues cannot be assured to others. */
function checkBufferAndReservations(
	{ capacityGuard: guard, allocator, requestScheduler }: GatewayConfig,
	checks: Checks,
): void {
	const { maxTps, bufferPct, bufferFor } = guard;
	if (maxTps === undefined) return;
	const byBucket = requestScheduler.allocator === "bucket";
	const own = byBucket ? allocator.bucket.buckets : allocator.priority.levels;
	const others = [...own].filter(([queue]) => !bufferFor.includes(queue));
	const reserved = others.reduce((sum, [, { reservedTps = 0 }]) => sum + reservedTps, 0);
	const left = (1 - bufferPct) * maxTps;
	if (reserved > left)
		checks.add(
			"warning",
			"capacity_guard",
			"buffer_pct",
			`leaves ${left} of max_tps = ${maxTps} tokens/s to queues outside buffer_for, which have ${reserved} reserved`,
		);
}

function checkPreemption(config: GatewayConfig, checks: Checks): void {
	const { preemption } = config;
	const section = "preemption";
	const { queues, word } = queuesOf(config);
	const { preemptPriorities: victims, preemptorMaxPriority: best } = preemption;
	const outside = victims.find((queue) => queue >= queues);
	if (outside !== undefined && checks.isSet(`${section}.preempt_priorities`))
		checks.add(
			"error",
			section,
			"preempt_priorities",
			`${word} ${outside} does not exist; allowed: 0 to ${queues - 1}`,
		);
	if (best >= queues && checks.isSet(`${section}.preemptor_max_priority`))
		checks.add(
			"error",
			section,
			"preemptor_max_priority",
			`${word} ${best} does not exist; allowed: 0 to ${queues - 1}`,
		);
	if (!preemption.enabled) return;
	if (!victims.some((queue) => queue < queues && queue > 0))
		checks.add(
			"warning",
			section,
			"preempt_priorities",
			`names no ${word} that is worse than another: nothing is ever taken back`,
		);
	if (preemption.flowing)
		checks.add(
			"note",
			section,
			"flowing",
			"streams that their clients already read may be ended with a `preempted` error",
		);
}

/** A report that cannot be read stops the start, unless estimates may stand in for it. */
function checkReport(section: string, capacity: CapacityConfig, checks: Checks): void {
	const measured = measuredCapacity(capacity.capacityFrom);
	if (measured.ok || !checks.isSet(`${section}.capacity_from`)) return;
	const isFatal = capacity.degradationMode !== "fail_open";
	const instead = isFatal
		? `degradation_mode = ${capacity.degradationMode} lets nothing stand in for it`
		: `max_concurrent = ${capacity.estimatedMaxConcurrent} and ${capacity.estimatedTokensPerSec} tokens/s are assumed`;
	checks.add(isFatal ? "error" : "warning", section, "capacity_from", `${measured.why}; ${instead}`);
}

function checkProviders({ providers, failoverOrder }: GatewayConfig, checks: Checks): void {
	const names = providers.map((provider) => provider.name);
	for (const { name, families, engine, enginePriority } of providers) {
		if (enginePriority !== "off" && ["tgi", "ollama", "llamacpp"].includes(engine))
			checks.add("warning", `provider.${name}`, "engine_priority", `has no effect: ${engine} takes no priority`);
		if (providers.length > 1 && !checks.isSet(`provider.${name}.endpoint`))
			checks.add(
				"error",
				`provider.${name}`,
				"endpoint",
				"is needed where there are several providers: the base URL, like http://127.0.0.1:8000",
			);
		for (const family of families)
			if (family.models.length === 0)
				checks.add(
					"error",
					`provider.${name}.family.${family.name}`,
					"models",
					"is needed: the models of this family, like llama-*",
				);
	}
	for (const name of failoverOrder)
		if (!names.includes(name)) {
			const meant = suggestionFor(name, names);
			const hint = meant === undefined ? "" : `, did you mean ${meant}?`;
			checks.add(
				"error",
				"providers",
				"failover_order",
				`${JSON.stringify(name)} is no provider; there are ${names.join(", ")}${hint}`,
			);
		}
}

function checkModels({ models }: GatewayConfig, checks: Checks): void {
	for (const [alias, model] of models)
		if (models.has(model))
			checks.add("error", "models", alias, `${JSON.stringify(model)} is an alias itself; name the served model`);
}

function checkQuotas({ quotas }: GatewayConfig, checks: Checks): void {
	if (!isZone(quotas.timezone))
		checks.add(
			"error",
			"quotas",
			"timezone",
			`${JSON.stringify(quotas.timezone)} is no time zone; allowed are IANA names such as Europe/Berlin or UTC`,
		);
	if (quotas.alertWebhook !== undefined && quotas.alertWebhookSecretEnv === undefined)
		checks.add(
			"warning",
			"quotas",
			"alert_webhook",
			"is not signed: set alert_webhook_secret_env, so that its receiver can tell an alert from a forgery",
		);
}

function checkProtection({ protection }: GatewayConfig, checks: Checks): void {
	const { contextLength, rateLimit } = protection;
	const lists = [
		["context_length", "model_limits", contextLength.modelLimits, true],
		["rate_limit", "model_max_rps", rateLimit.modelMaxRps, false],
		["rate_limit", "model_max_tps", rateLimit.modelMaxTps, false],
	] as const;
	for (const [section, key, list, whole] of lists) {
		const parsed = parseModelNumbers(list, whole);
		if (parsed.ok) continue;
		const number = whole ? "a whole number" : "a number";
		checks.add(
			"error",
			`protection.${section}`,
			key,
			`${JSON.stringify(parsed.entry)} is not MODEL:NUMBER, such as llama-*:8192; allowed: ${number} above 0`,
		);
	}
	const { maxTps, modelMaxTps } = rateLimit;
	const parsedTps = parseModelNumbers(modelMaxTps, false);
	for (const { model, value } of parsedTps.ok ? parsedTps.numbers : [])
		if (maxTps !== undefined && value > maxTps)
			checks.add(
				"note",
				"protection.rate_limit",
				"model_max_tps",
				`${model}: ${value} is more than max_tps = ${maxTps} allows at all`,
			);
}

function isZone(name: string): boolean {
	try {
		return /^[A-Za-z]/.test(name) && new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
	} catch {
		return false;
	}
}
