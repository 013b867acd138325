import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ConfigRequest, loadConfig } from "./load.ts";
import { formatProblem } from "./problem.ts";
import { configReference } from "./reference.ts";
import { SECTIONS, variableName, variableNames } from "./schema.ts";
import { hasPlaceholder } from "./schema-key.ts";

const ROOT = new URL("../../", import.meta.url);
const SEED = readFileSync(new URL("config/gateway.ini", ROOT), "utf8");

function load(text: string, rest: Omit<ConfigRequest, "text"> = {}) {
	return loadConfig({ path: "gateway.ini", text, env: {}, ...rest });
}

function loaded(text: string, rest: Omit<ConfigRequest, "text"> = {}) {
	const result = load(text, rest);
	if (!result.ok) throw new Error(result.errors.map(formatProblem).join("\n"));
	return result;
}

function errorsOf(text: string, rest: Omit<ConfigRequest, "text"> = {}): readonly string[] {
	const result = load(text, rest);
	return result.ok ? [] : result.errors.map(formatProblem);
}

function warningsOf(text: string): readonly string[] {
	return loaded(text).warnings.map((problem) => `${problem.severity}: ${formatProblem(problem)}`);
}

describe("the seed's file", () => {
	it("loads unchanged and means what it says", () => {
		const { config } = loaded(SEED);
		expect(config.requestScheduler).toMatchObject({ classifier: "hybrid", allocator: "bucket", scheduler: "atleast" });
		expect(config.allocator.bucket).toMatchObject({ bucketCount: 10, baseCapacityRps: 100, decayRatio: 0.7 });
		expect(config.classifier.header).toMatchObject({ enabled: true, trustedCidrs: ["10.0.0.0/8"] });
		expect(config.providers).toMatchObject([
			{ name: "default", endpoints: ["http://127.0.0.1:8000"], models: ["*"], type: "openai" },
		]);
	});

	it("reports all its typing errors at once, with line and suggestion", () => {
		const errors = errorsOf(
			SEED.replace("bucket_count", "bucket_cuont").replace("decay_ratio = 0.7", "decay_ratio = 1.7"),
		);
		expect(errors).toEqual([
			"gateway.ini:9: [allocator.bucket] bucket_cuont: unknown key, did you mean bucket_count?",
			'gateway.ini:11: [allocator.bucket] decay_ratio: "1.7" is not allowed; allowed: a number greater than 0 and less than 1',
		]);
	});

	it("is warned about the buckets that are guaranteed nothing", () => {
		expect(warningsOf(SEED).join("\n")).toMatch(
			/^warning: gateway\.ini:8: \[allocator\.bucket] capacity_basis: buckets 1-9 are guaranteed nothing/,
		);
	});
});

describe("presets", () => {
	const presets = readdirSync(fileURLToPath(new URL("config/presets/", ROOT))).filter((name) => name.endsWith(".ini"));

	it("are the five", () =>
		expect(presets.sort()).toEqual(["large.ini", "medium.ini", "saas.ini", "small-bucket.ini", "small.ini"]));

	it.each(presets)("%s has no problems", (name) => {
		const result = loadConfig({ path: fileURLToPath(new URL(`config/presets/${name}`, ROOT)), env: {} });
		expect(result).toMatchObject({ ok: true, warnings: [] });
	});
});

describe("defaults and precedence", () => {
	it("are hybrid, priority, hybrid without any file", () => {
		const { config } = loaded("");
		expect(config.requestScheduler).toMatchObject({ classifier: "hybrid", allocator: "priority", scheduler: "hybrid" });
		expect(config.classifier.default.enabled).toBe(true);
		expect(config.classifier.header.enabled).toBe(false);
		expect(config.capacity).toMatchObject({
			headroom: 0.03,
			headroomFor: [0, 1],
			prefillWindowMs: 100,
			mode: "engine",
		});
		expect(config.gateway.maxBodyBytes).toBe(20 * 1024 * 1024);
		expect(config.scheduler.atleast.upgradeQuotas).toEqual(
			new Map([
				[0, 2],
				[1, 5],
				[2, 10],
			]),
		);
	});

	it("flags win over environment over file", () => {
		const variable = { TOKLIGENCE_BUCKET_COUNT: "20" };
		const sets = ["allocator.bucket.bucket_count=30"];
		expect(loaded(SEED).config.allocator.bucket.bucketCount).toBe(10);
		expect(loaded(SEED, { env: variable }).config.allocator.bucket.bucketCount).toBe(20);
		expect(
			loaded(SEED, { env: { ...variable, TOKLIGENCE_SET: "allocator.bucket.bucket_count = 25\n" } }).config.allocator
				.bucket.bucketCount,
		).toBe(25);
		const { config, effective } = loaded(SEED, { env: variable, sets });
		expect(config.allocator.bucket.bucketCount).toBe(30);
		expect(effective.find(({ key }) => key === "bucket_count")).toMatchObject({
			value: "30",
			source: "set",
			where: "--set",
		});
		expect(effective.find(({ key }) => key === "decay_ratio")).toMatchObject({
			source: "file",
			where: "gateway.ini:11",
		});
		expect(effective.find(({ key }) => key === "max_body")).toMatchObject({ value: "20MB", source: "default" });
	});

	it("reaches every section through variables and --set", () => {
		const env = {
			TOKLIGENCE_REQUEST_SCHEDULER_SCHEDULER: "deficit_round_robin",
			TOKLIGENCE_ALLOCATOR_PRIORITY_LEVEL_2_MAX_DEPTH: "7",
			TOKLIGENCE_SCHEDULER_ATLEAST_UPGRADE_QUOTA_BUCKET_3: "4",
			TOKLIGENCE_DATA_DIR: "/data",
			TOKLIGENCE_PRODUCTION_TOKEN: "tok_secret",
			TOKLIGENCE_GATEWAY_LISTEN: "",
		};
		const sets = [
			"models.gpt-4.1=llama-3.3",
			"pricing.llama-3.3.prompt_usd_per_million=0.5",
			"provider.a.family.big.models=llama-*",
			"provider.a.max_concurrent=8",
		];
		const { config, ignoredVariables } = loaded("", { env, sets });
		expect(config.requestScheduler.scheduler).toBe("drr");
		expect(config.allocator.priority.levels.get(2)).toMatchObject({ maxDepth: 7 });
		expect(config.scheduler.atleast.upgradeQuotas.get(3)).toBe(4);
		expect(config.storage.dataDir).toBe("/data");
		expect(config.models.get("gpt-4.1")).toBe("llama-3.3");
		expect(config.pricing.get("llama-3.3")?.promptUsdPerMillion).toBe(0.5);
		expect(config.providers[0]?.families[0]).toMatchObject({
			name: "big",
			models: ["llama-*"],
			capacity: { maxConcurrent: 8 },
		});
		expect(ignoredVariables).toEqual(["TOKLIGENCE_PRODUCTION_TOKEN"]);
	});

	it("names the source of a bad value", () => {
		expect(
			errorsOf("", { env: { TOKLIGENCE_BUCKET_COUNT: "1" }, sets: ["bucket_count=3", "gatewya.listen=:1"] }),
		).toEqual([
			'TOKLIGENCE_BUCKET_COUNT: [allocator.bucket] bucket_count: "1" is not allowed; allowed: a whole number from 2 to 100',
			'--set: "bucket_count=3" is not section.key=value, did you mean allocator.bucket.bucket_count=…?',
			"--set: [gatewya] listen: unknown section, did you mean [gateway]?",
		]);
	});

	it("changes ports and upstream by flags", () => {
		const flags = { port: "0", adminPort: "9", upstream: "http://mock:1" };
		const { config } = loaded("[gateway]\nlisten = [::1]:5\n[provider.p]\nendpoint = http://x", { flags });
		expect(config.gateway.listen).toEqual({ host: "::1", port: 0 });
		expect(config.admin.listen).toEqual({ host: "127.0.0.1", port: 9 });
		expect(config.providers).toMatchObject([{ name: "p", endpoints: ["http://mock:1"] }]);
		expect(loaded("", { env: { TOKLIGENCE_UPSTREAM: "http://env:2" } }).config.providers[0]?.endpoints).toEqual([
			"http://env:2",
		]);
		expect(errorsOf("[provider.p]\nendpoint = http://x\n[provider.q]\nendpoint = http://y", { flags })[0]).toMatch(
			/^--upstream: there are several providers \(p, q\)/,
		);
	});

	it("lets capacity come from the nearest section, but not the models of a family", () => {
		const { config } = loaded(
			"[capacity]\nmax_concurrent = 64\nburst_seconds = 3\n[provider.a]\nmodels = m*\nmax_concurrent = 8\nendpoint = http://a,http://b\n[provider.a.family.f]\nmodels = x\nheadroom = 0",
		);
		expect(config.providers[0]).toMatchObject({
			models: ["m*"],
			endpoints: ["http://a", "http://b"],
			capacity: { maxConcurrent: 8, burstSeconds: 3, mode: "static" },
		});
		expect(config.providers[0]?.families).toMatchObject([
			{ name: "f", models: ["x"], capacity: { maxConcurrent: 8, headroom: 0, burstSeconds: 3 } },
		]);
		expect(errorsOf("[provider.a]\nmodels = m*\n[provider.a.family.f]\nheadroom = 0")).toEqual([
			"gateway.ini:3: [provider.a.family.f] models: is needed: the models of this family, like llama-*",
		]);
	});

	it("reads tier mappings as sections and as dotted keys", () => {
		const dotted = `${SEED}[allocator.bucket.tier_mappings]\ninternal_production.bucket_range_pct = [0, 0.30]\nvip.bucket_range = [0, 1]\n`;
		const sections = `${SEED}[allocator.bucket.tier_mappings.internal_production]\nbucket_range_pct = [0, 0.30]\n[allocator.bucket.tier_mappings.vip]\nbucket_range = 0-1\n`;
		expect(loaded(dotted).config.allocator.bucket.tierMappings).toEqual([
			{ group: "internal_production", bucketRangePct: [0, 0.3] },
			{ group: "vip", bucketRange: [0, 1] },
		]);
		expect(loaded(sections).config.allocator.bucket.tierMappings).toEqual(
			loaded(dotted).config.allocator.bucket.tierMappings,
		);
		expect(errorsOf(`${dotted}[allocator.bucket.tier_mappings.vip]\nbucket_range = [0, 2]`)).toEqual([
			"gateway.ini:20: [allocator.bucket.tier_mappings.vip] bucket_range: already set on line 18, keep one of them",
		]);
	});
});

const BUCKETS = "[request_scheduler]\nallocator = bucket\nscheduler = atleast\n[allocator.bucket]\n";

describe("refusals", () => {
	it.each([
		[
			"not built yet, a value",
			"[protection.context_length]\ntruncation_strategy = webhook",
			"gateway.ini:2: [protection.context_length] truncation_strategy: not available in this version",
		],
		[
			"no number for a model",
			"[protection.rate_limit]\nmodel_max_rps = llama",
			'gateway.ini:2: [protection.rate_limit] model_max_rps: "llama" is not MODEL:NUMBER',
		],
		[
			"not built yet, a key",
			"[storage]\nredis_url = redis://h",
			"gateway.ini:2: [storage] redis_url: not available in this version",
		],
		[
			"a router that sends nothing anywhere",
			"[request_scheduler]\nallocator = weighted_router\n[allocator.bucket]\nbase_capacity_rps = 100\n[allocator.weighted_router]\npriority_weight = 0\nbucket_weight = 0",
			"gateway.ini:7: [allocator.weighted_router] bucket_weight: is 0 as the other weight is; one of them must be above 0",
		],
		[
			"a router beside a shadow",
			"[request_scheduler]\nallocator = weighted_router\nshadow_allocator = bucket\n[allocator.bucket]\nbase_capacity_rps = 100",
			"gateway.ini:3: [request_scheduler] shadow_allocator: has no place beside weighted_router: both act already",
		],
		[
			"a router without a base for its buckets",
			"[request_scheduler]\nallocator = weighted_router",
			"gateway.ini: [allocator.bucket] base_capacity_rps: neither ",
		],
		[
			"a router with a headroom for queues that neither half has",
			"[request_scheduler]\nallocator = weighted_router\n[allocator.bucket]\nbase_capacity_rps = 100\n[capacity]\nheadroom_for = 10",
			"gateway.ini:6: [capacity] headroom_for: level or bucket 10 does not exist; allowed: 0 to 9",
		],
		[
			"unknown key of an old section",
			"[scheduler]\nschedulr = strict",
			"gateway.ini:2: [scheduler] schedulr: unknown key of a section that is called [request_scheduler] today, did you mean scheduler?",
		],
		[
			"unknown section that is half of a name",
			"[schedulr]\nx = 1",
			"gateway.ini:1: [schedulr]: unknown section, did you mean [request_scheduler]?",
		],
		["unknown section", "[gatway]\nx = 1", "gateway.ini:1: [gatway]: unknown section, did you mean [gateway]?"],
		[
			"key of another section",
			"[gateway]\nbucket_count = 3",
			"gateway.ini:2: [gateway] bucket_count: unknown key, did you mean bucket_count in [allocator.bucket]?",
		],
		[
			"old section",
			"[scheduler]\ntype = wfq",
			"gateway.ini:2: [scheduler] type: an older spelling, today it is [request_scheduler] scheduler; `tokligence config upgrade` rewrites the file",
		],
		["old window", "[[time_window]]\nname = x", "gateway.ini:1: time windows are no longer part of the file"],
		[
			"old key",
			"[capacity]\nmax_qps = 5",
			"gateway.ini:2: [capacity] max_qps: an older spelling, today it is [capacity] max_rps",
		],
		["no base", `${BUCKETS}bucket_count = 10`, "gateway.ini:4: [allocator.bucket] base_capacity_rps: neither"],
		[
			"both bases",
			`${BUCKETS}base_capacity_rps = 1\nbase_capacity_tps = 1`,
			"gateway.ini:6: [allocator.bucket] base_capacity_tps: base_capacity_rps and base_capacity_tps are both set",
		],
		["count", `${BUCKETS}bucket_count = 101\nbase_capacity_rps = 9`, "gateway.ini:5: [allocator.bucket] bucket_count:"],
		[
			"range outside",
			`${BUCKETS}base_capacity_rps = 9\n[scheduler.hybrid]\nstrict_range = [0, 10]`,
			"gateway.ini:7: [scheduler.hybrid] strict_range: bucket 10 does not exist; allowed: 0 to 9",
		],
		[
			"mapping outside",
			`${BUCKETS}base_capacity_rps = 9\ntier_mappings.vip.bucket_range = [0, 10]`,
			"gateway.ini:6: [allocator.bucket.tier_mappings.vip] bucket_range:",
		],
		[
			"tiny total",
			`${BUCKETS}base_capacity_rps = 0.1`,
			"gateway.ini:4: [allocator.bucket] bucket_count: the buckets' capacities sum to",
		],
		[
			"bucket section outside",
			`${BUCKETS}base_capacity_rps = 9\n[allocator.bucket.10]\nmax_depth = 3`,
			"gateway.ini:6: [allocator.bucket.10]: bucket 10 does not exist",
		],
		[
			"weights",
			"[allocator.priority]\nweights = 3,2,1",
			"gateway.ini:2: [allocator.priority] weights: has 3 weights for 5 levels",
		],
		[
			"level outside",
			"[request_scheduler]\ndefault_priority = 5",
			"gateway.ini:2: [request_scheduler] default_priority: level 5 does not exist; allowed: 0 to 4",
		],
		[
			"open admin plane",
			"[admin]\nlisten = 0.0.0.0:8080",
			"gateway.ini:2: [admin] listen: 0.0.0.0 is reachable from other machines; set token_env",
		],
		["chained alias", "[models]\na = b\nb = c", 'gateway.ini:2: [models] a: "b" is an alias itself'],
		[
			"failover",
			"[provider.gpu]\n[providers]\nfailover_order = gpt",
			'gateway.ini:3: [providers] failover_order: "gpt" is no provider',
		],
		[
			"YAML",
			"scheduler:\n  type: bucket\nheader_routing:\n  enabled: true",
			"gateway.ini: is YAML, but the gateway reads INI: [request_scheduler] takes the place of `scheduler`, [classifier.header] takes the place of `header_routing`",
		],
		["JSON", '{"a": 1}', "gateway.ini: is JSON, but the gateway reads INI"],
	])("%s", (_name, text, message) => {
		const errors = errorsOf(text);
		expect(errors[0]?.slice(0, message.length)).toBe(message);
		expect(errors).toHaveLength(1);
	});

	it("never shows what may be a secret", () => {
		expect(errorsOf("[provider.a]\napi_key_env = sk-verysecret").join()).not.toContain("verysecret");
		const { effective } = loaded("[provider.a]\nendpoint = http://user:hunter2@host");
		expect(JSON.stringify(effective)).not.toContain("hunter2");
	});

	it("answers for files that cannot be read", () => {
		expect(loadConfig({ path: "/nowhere/x.ini", env: {} })).toMatchObject({
			ok: false,
			errors: [{ where: "/nowhere/x.ini", message: "cannot be read: there is no such file" }],
		});
		expect(loadConfig({ path: "/", env: {} })).toMatchObject({
			ok: false,
			errors: [{ message: "cannot be read: it is a folder" }],
		});
		expect(loadConfig({ env: { TOKLIGENCE_CONFIG: "/nowhere/y.ini" } })).toMatchObject({
			ok: false,
			file: "/nowhere/y.ini",
		});
	});
});

describe("warnings", () => {
	it.each([
		[
			"few buckets",
			`${BUCKETS}bucket_count = 4\nbase_capacity_rps = 9\ncapacity_basis = total`,
			"warning: gateway.ini:5: [allocator.bucket] bucket_count: bucket_count = 4",
		],
		[
			"ratio",
			`${BUCKETS}base_capacity_rps = 90\ncapacity_basis = total\ndecay_ratio = 0.95`,
			"warning: gateway.ini:7: [allocator.bucket] decay_ratio: decay_ratio = 0.95",
		],
		[
			"mode without effect",
			`${BUCKETS.replace("atleast", "wfq")}base_capacity_rps = 90\ntier_mappings.spot.mode = strict`,
			"note: gateway.ini:6: [allocator.bucket.tier_mappings.spot] mode: mode = strict of spot has no effect",
		],
		[
			"trust in everybody",
			"[classifier.header]\ntrusted_cidrs = 0.0.0.0/0",
			"warning: gateway.ini:2: [classifier.header] trusted_cidrs: trusts every peer",
		],
		["section twice", "[gateway]\n[gateway]", "warning: gateway.ini:2: [gateway]: this section began on line 1"],
	])("%s", (_name, text, message) => {
		expect(warningsOf(text).some((warning) => warning.startsWith(message))).toBe(true);
	});
});

describe("hostile input", () => {
	const sections = SECTIONS.map((section) => section.name);
	const keys = SECTIONS.flatMap((section) => Object.values(section.keys).map((key) => key.spelling));
	const word = fc.oneof(fc.constantFrom(...keys, "__proto__", "constructor", "toString"), fc.string());
	const name = fc.oneof(
		fc.constantFrom(...sections, "__proto__", "provider.__proto__", "models", "scheduler", "tier_mappings"),
		fc.string(),
	);
	const text = fc
		.array(
			fc.oneof(
				name.map((section) => `[${section}]`),
				fc.tuple(word, fc.string()).map(([key, value]) => `${key} = ${value}`),
				fc.string({ unit: "binary" }),
			),
		)
		.map((lines) => lines.join("\n"));

	it("is answered with problems, whatever stands in the file", () => {
		fc.assert(
			fc.property(text, fc.array(fc.string(), { maxLength: 3 }), (source, sets) => {
				const result = load(source, { sets });
				if (!result.ok) for (const error of result.errors) expect(formatProblem(error)).not.toMatch(/[\u0000-\u001f]/);
				expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
			}),
			{ numRuns: 400 },
		);
		expect(Object.keys(Object.prototype)).toEqual([]);
	});
});

describe("the schema", () => {
	it("has one variable per key, no two alike", () => {
		const names = SECTIONS.filter((section) => !hasPlaceholder(section.name)).flatMap((section) =>
			Object.values(section.keys).map((key) => variableName(section.name, key.spelling)),
		);
		expect(new Set(names).size).toBe(names.length);
		expect(variableNames()).toEqual(expect.arrayContaining(names));
	});

	it("says a sentence about every key", () => {
		for (const section of SECTIONS)
			for (const key of Object.values(section.keys)) expect(key.doc).toMatch(/^[A-Z`].*\.$/s);
	});

	it("is what docs/configuration.md shows (node scripts/generate-config-reference.ts)", () => {
		expect(readFileSync(new URL("docs/configuration.md", ROOT), "utf8")).toBe(configReference());
	});
});
