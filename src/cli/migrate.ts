/**
 * `tokligence migrate-to-bucket-scheduler`: priority levels → capacity buckets in the same text, and the rules of the database with them. Comments,
 * order and unrelated sections stay, the old file and the old policy are kept beside the new one, and nothing is written that
 * `validate-config` would refuse.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { compile } from "../config/compile.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { type IniDocument, parseIni } from "../config/ini.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { BucketSettings } from "../core/allocate/distribution.ts";
import { canonicalGroup } from "../core/allocate/tier-mapping.ts";
import { type RoutingRule, SCHEDULERS, type SchedulerKind } from "../core/model/policy.ts";
import { ENGINE_PROFILE_NAMES, ENGINE_PROFILES, type EngineProfileName } from "../simulate/engine-profiles.ts";
import { readRules } from "../simulate/rules.ts";
import { openTrace, TraceError } from "../simulate/traces.ts";
import { traceArrivals } from "../simulate/workload.ts";
import {
	bucketCount,
	type CapacityFlags,
	capacityOptions,
	figure,
	positive,
	proposeBase,
	proposeShape,
	readReport,
	reportingUserErrors,
	UserError,
} from "./capacity-proposal.ts";
import { replaceFile } from "./config.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, problemsOf, processIo } from "./config-options.ts";
import { type MigrationPlan, percent, planMigration } from "./migration-plan.ts";
import {
	type LevelPrediction,
	type PredictionInput,
	predictionAsJson,
	predictionLines,
	predictMigration,
} from "./migration-prediction.ts";
import { applyPolicy, hasPolicy, type PolicyMigration, planPolicy } from "./migration-rules.ts";
import {
	bucketShareOf,
	predictStages,
	STAGE_CHOICES,
	type StagePrediction,
	stageAsJson,
	stageLines,
	stagesAhead,
	stageWarnings,
	takeOver,
	writeStage,
} from "./migration-stages.ts";
import { allItems, type StoreOptions, withAdmin } from "./store-access.ts";

const EXAMPLES = `
Examples:
  tokligence migrate-to-bucket-scheduler --bucket-count 10 --config gateway.ini --dry-run
  tokligence migrate-to-bucket-scheduler --bucket-count 10 --config gateway.ini --report report.json
  tokligence migrate-to-bucket-scheduler --bucket-count 20 --config old.ini --output new.ini --base-capacity-tps 8000
  tokligence migrate-to-bucket-scheduler --report report.json --dry-run --trace day.csv.gz --engine-profile h100-70b
  tokligence migrate-to-bucket-scheduler --config gateway.ini --stage 90/10 --trace day.csv.gz
  tokligence migrate-to-bucket-scheduler --config gateway.ini --stage next

--stage goes there in steps, with levels and buckets side by side: 90/10, 50/50, 10/90, done. The first writes the buckets and
allocator = weighted_router, the next ones the weights alone, the last allocator = bucket; next is the one that follows. Accounts move, and
the capacity with them. The first and the last need a start of the gateway, those between are taken over by \`tokligence config reload\`.
A file that is replaced is kept beside it as FILE.bak (FILE.bak.1, … when that exists). Rules of the database (of the running gateway, if
there is one) that assign a priority get the group of their level as assign_queue, which has no effect before buckets are in
force; the policy before is kept as FILE.policy.bak.yaml, for \`tokligence apply\`. --no-policy leaves the database alone.
With --trace the waits of each level are simulated before and after, beside what is predicted from the shares alone.

Exit status: 0 when migrated (or, with --dry-run, when it could be), 78 when the configuration cannot be used, 1 when it is one with buckets
already, a flag is wrong or a file cannot be read or written.`;

interface MigrateOptions extends CapacityFlags {
	readonly config?: string;
	readonly output?: string;
	readonly bucketCount: number;
	readonly scheduler?: SchedulerKind;
	readonly dryRun?: boolean;
	readonly json?: boolean;
	readonly policy: boolean;
	readonly dataDir?: string;
	readonly trace?: string;
	readonly speedUp: number;
	readonly engineProfile: EngineProfileName;
	readonly stage?: (typeof STAGE_CHOICES)[number];
}

const SECTION = "allocator.bucket";
const MAPPINGS = "allocator.bucket.tier_mappings";

export function migrateCommand(io: CommandIo = processIo()): Command {
	const command = new Command("migrate-to-bucket-scheduler")
		.description("rewrite a configuration with priority levels to capacity buckets, keeping comments and a backup")
		.addOption(new Option("--bucket-count <n>", "number of buckets, 2 to 100").argParser(bucketCount).default(10))
		.option("-c, --config <file>", "configuration file (else TOKLIGENCE_CONFIG, else config/gateway.ini)")
		.option("--output <file>", "write there (else the configuration file is replaced)")
		.addOption(new Option("--scheduler <kind>", "another scheduler than the present one").choices(SCHEDULERS));
	for (const option of capacityOptions()) command.addOption(option);
	return command
		.addOption(new Option("--stage <stage>", "one step of the way, by the weighted router").choices(STAGE_CHOICES))
		.option("--dry-run", "print the new text, write nothing")
		.option("--no-policy", "leave the rules of the database as they are")
		.option("--data-dir <folder>", "data folder with the database (else TOKLIGENCE_DATA_DIR, else the configuration's)")
		.option("--trace <file>", "simulate the requests of a trace before and after")
		.addOption(new Option("--speed-up <factor>", "of the trace").argParser(positive).default(1))
		.addOption(
			new Option("--engine-profile <name>", "engine of the simulation")
				.choices(ENGINE_PROFILE_NAMES)
				.default("a100-8b"),
		)
		.option("--json", "print what becomes of each level as JSON")
		.addHelpText("after", EXAMPLES)
		.action((options: MigrateOptions) => reportingUserErrors(io, EXIT_FAILURE, () => migrate(options, io)));
}

async function migrate(options: MigrateOptions, io: CommandIo): Promise<void> {
	// Only the file moves: what the environment says today is not written into it.
	const path = options.config ?? (io.env["TOKLIGENCE_CONFIG"] || undefined);
	const before = loadConfig(path === undefined ? {} : { path });
	if (!before.ok) {
		for (const problem of problemsOf(before)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
		io.setExitCode(EXIT_CONFIG);
		return;
	}
	const { file, config } = before;
	if (config.requestScheduler.allocator === "bucket")
		throw new UserError(`${file ?? "the configuration"}: has allocator = bucket already, there is nothing to migrate`);
	const ahead = stagesAhead(config);
	const isUnderWay = config.requestScheduler.allocator === "weighted_router";
	if (isUnderWay && options.stage === undefined)
		throw new UserError(
			`${file ?? "the configuration"}: is on its way (${percent(bucketShareOf(config))} of the accounts are of the buckets); name the next step: --stage ${ahead[0]}`,
		);
	const stage = options.stage === "next" ? ahead[0]! : (options.stage ?? "done");
	const output = options.output ?? file;
	if (output === undefined && options.dryRun !== true)
		throw new UserError("there is no configuration file here; name one with --config, or a new one with --output");

	const document = parseIni(file === undefined ? "" : readFileSync(file, "utf8"));
	const { plan, shape, proposal } = planFor(config, options);
	const policy = await policyOf(plan, file, options, io);
	if (policy === undefined) return;
	// On its way the file has its buckets, and whatever somebody made of them since.
	if (!isUnderWay)
		writeBuckets(document, plan, shape, proposal.source, options.scheduler, config.requestScheduler.scheduler);
	if (isUnderWay || stage !== "done") writeStage(document, stage);
	const text = document.text();
	const after = loadConfig({ path: output ?? "gateway.ini", text, env: {} });
	const json = options.json === true;
	// With --dry-run the text is what is asked for, all else stands beside it.
	const say = options.dryRun === true && !json ? io.error : io.out;
	const inStages = options.stage !== undefined;
	const predictions = after.ok && !inStages ? predictionsOf(config, after.config, policy, options) : [];
	const stages = after.ok && inStages ? stagesOf(config, after.config, policy, options) : [];
	if (json) {
		const written = { output: output ?? null, written: options.dryRun !== true };
		const whole = isUnderWay ? written : { ...written, ...planAsJson(plan, shape, proposal) };
		io.out(
			JSON.stringify(
				{
					...whole,
					...policyAsJson(policy),
					...(inStages ? { stage, stages: stages.map(stageAsJson) } : {}),
					predictions: predictions.map(predictionAsJson),
				},
				undefined,
				2,
			),
		);
	} else {
		if (options.dryRun === true) io.out(text.replace(/\r?\n$/, ""));
		if (!isUnderWay) for (const line of describePlan(plan, proposal)) say(line);
		for (const { name, priority, queue } of policy.changes)
			say(`rule "${name}": assigned P${priority}, gets assign_queue = ${queue}`);
		for (const line of [...predictionLines(predictions), ...stageLines(stages)]) say(line);
		if (inStages) say(`stage ${stage}: ${takeOver(config, stage)}`);
		const warnings = [...(isUnderWay ? [] : plan.warnings), ...policy.warnings, ...stageWarnings(stages)];
		for (const warning of warnings) io.error(`warning: ${warning}`);
	}
	for (const problem of problemsOf(after)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
	if (!after.ok) {
		io.error("error: nothing is written: the result could not be used");
		io.setExitCode(EXIT_CONFIG);
		return;
	}
	if (options.dryRun === true || output === undefined) return;
	// Rules first: they mean nothing new before the file is in force.
	if (policy.changes.length > 0) {
		let kept: string | undefined;
		await withAdmin(storeOptions(file, options), io, async (client) => {
			kept = await applyPolicy(client, policy.changes, output);
		});
		if (kept === undefined) return;
		if (!json) say(`${policy.changes.length} rules are changed, the policy before is kept as ${kept}`);
	}
	const backup = write(output, text);
	if (!json) say(`${output} is written${backup === undefined ? "" : `, the old text is kept as ${backup}`}`);
}

interface PlannedPolicy extends PolicyMigration {
	/** As they are and as they will be; absent where no database is. */
	readonly before?: readonly RoutingRule[];
	readonly after?: readonly RoutingRule[];
}

const NO_POLICY: PlannedPolicy = { changes: [], warnings: [] };

/** What becomes of the database's rules; nothing when they could not be read, which has been said. */
async function policyOf(
	plan: MigrationPlan,
	file: string | undefined,
	options: MigrateOptions,
	io: CommandIo,
): Promise<PlannedPolicy | undefined> {
	if (!options.policy) return NO_POLICY;
	const loaded = loadConfig({
		...(file === undefined ? {} : { path: file }),
		env: io.env,
		flags: options.dataDir === undefined ? {} : { dataDir: options.dataDir },
	});
	if (!loaded.ok || !hasPolicy(loaded.config.storage.dataDir)) return NO_POLICY;
	let policy: PlannedPolicy | undefined;
	await withAdmin(storeOptions(file, options), io, async (client) => {
		const planned = await planPolicy(client, plan.levels);
		const rules = await allItems(client, "/routing-rules", "rules");
		const queues = new Map(planned.changes.map(({ ruleId, queue }) => [ruleId, queue]));
		policy = {
			...planned,
			before: readRules("rules", rules),
			after: readRules(
				"rules",
				rules.map((rule) => ({ ...rule, assign_queue: queues.get(String(rule["id"])) ?? rule["assign_queue"] })),
			),
		};
	});
	return policy;
}

function storeOptions(file: string | undefined, { dataDir }: MigrateOptions): StoreOptions {
	return { set: [], ...(file === undefined ? {} : { config: file }), ...(dataDir === undefined ? {} : { dataDir }) };
}

function predictionsOf(
	before: GatewayConfig,
	after: GatewayConfig,
	policy: PlannedPolicy,
	options: MigrateOptions,
): readonly LevelPrediction[] {
	return simulating(before, after, policy, options, predictMigration);
}

function stagesOf(
	before: GatewayConfig,
	after: GatewayConfig,
	policy: PlannedPolicy,
	options: MigrateOptions,
): readonly StagePrediction[] {
	return simulating(before, after, policy, options, predictStages);
}

/** What the requests of the trace meet; nothing without a trace. */
function simulating<T>(
	before: GatewayConfig,
	after: GatewayConfig,
	policy: PlannedPolicy,
	{ trace, speedUp, engineProfile }: MigrateOptions,
	predict: (input: PredictionInput) => readonly T[],
): readonly T[] {
	if (trace === undefined) return [];
	try {
		const opened = openTrace(trace);
		if (!opened.hasArrivals) throw new UserError(`${trace}: has lengths only, no times of arrival`);
		return predict({
			before,
			after,
			...(policy.before === undefined ? {} : { rulesBefore: policy.before }),
			...(policy.after === undefined ? {} : { rulesAfter: policy.after }),
			profile: ENGINE_PROFILES[engineProfile],
			arrivals: () => traceArrivals(opened, speedUp),
		});
	} catch (error) {
		if (error instanceof TraceError) throw new UserError(error.message);
		throw error;
	}
}

function policyAsJson({ changes, warnings }: PlannedPolicy) {
	return {
		rules: changes.map(({ ruleId, name, priority, queue }) => ({
			rule_id: ruleId,
			rule_name: name,
			assign_priority: priority,
			assign_queue: queue,
		})),
		policy_warnings: warnings,
	};
}

function planFor(config: GatewayConfig, options: MigrateOptions) {
	const { capacity, requestScheduler, scheduler, allocator } = config;
	const report = options.report === undefined ? undefined : readReport(options.report);
	const proposal = proposeBase(options, report, { rps: capacity.maxRps, tps: capacity.maxTokensPerSec });
	const { model, decayRatio } = proposeShape(options.bucketCount);
	const shape: BucketSettings = {
		count: options.bucketCount,
		distribution: model,
		decayRatio,
		basis: "total",
		...(proposal.unit === "rps" ? { baseCapacityRps: proposal.base } : { baseCapacityTps: proposal.base }),
	};
	const plan = planMigration({
		levels: compile(config, []).allocator.queues,
		count: options.bucketCount,
		scheduler: options.scheduler ?? requestScheduler.scheduler,
		schedulerBefore: requestScheduler.scheduler,
		strictLevels: scheduler.hybrid.strictLevels,
		shape,
		proposal,
		maxUpgradeDistance: scheduler.atleast.maxUpgradeDistance,
		kept: allocator.bucket.tierMappings.map(({ group }) => canonicalGroup(group)),
	});
	return { plan, shape, proposal };
}

function writeBuckets(
	document: IniDocument,
	plan: MigrationPlan,
	shape: BucketSettings,
	source: string,
	scheduler: SchedulerKind | undefined,
	schedulerBefore: SchedulerKind,
): void {
	const inForce = scheduler ?? schedulerBefore;
	const modesMatter = inForce === "atleast" || inForce === "hybrid";
	const kept = new Set(
		document
			.entries()
			.filter(({ section }) => section.startsWith(MAPPINGS))
			.map(({ section, key }) =>
				canonicalGroup(section === MAPPINGS ? key.slice(0, key.lastIndexOf(".")) : section.slice(MAPPINGS.length + 1)),
			),
	);
	document.set("request_scheduler", "allocator", "bucket");
	if (scheduler !== undefined) document.set("request_scheduler", "scheduler", scheduler);
	const inTokens = shape.baseCapacityTps !== undefined;
	const unused = [inTokens ? "base_capacity_rps" : "base_capacity_tps", "capacities", "min_capacity"];
	for (const { line, section, key } of document.entries().toReversed())
		if (section === SECTION && unused.includes(key)) document.removeLine(line);
	const base = inTokens ? "base_capacity_tps" : "base_capacity_rps";
	document.set(SECTION, "bucket_count", String(shape.count));
	document.set(SECTION, base, String(shape.baseCapacityTps ?? shape.baseCapacityRps));
	document.set(SECTION, "capacity_basis", "total");
	document.set(SECTION, "distribution_model", shape.distribution);
	document.set(SECTION, "decay_ratio", String(shape.decayRatio));
	comment(document, SECTION, base, `All buckets together, ${source}.`);
	for (const { level, name, first, last, groups } of plan.levels) {
		const fresh = groups.filter((group) => !kept.has(group.name));
		for (const group of fresh) {
			document.set(MAPPINGS, `${group.name}.bucket_range`, `[${group.first}, ${group.last}]`);
			document.set(MAPPINGS, `${group.name}.default_bucket`, String(group.defaultBucket));
			if (modesMatter) document.set(MAPPINGS, `${group.name}.mode`, group.mode);
		}
		const top = fresh[0];
		const where = first === last ? `B${first}` : `B${first} to B${last}`;
		if (top !== undefined)
			comment(document, MAPPINGS, `${top.name}.bucket_range`, `P${level} ${name} is now ${where}.`);
	}
	for (const { bucket, maxDepth, timeoutMs, limitTps } of plan.buckets) {
		const section = `${SECTION}.${bucket}`;
		const setUnlessThere = (key: string, value: string | undefined) => {
			if (value !== undefined && document.get(section, key) === undefined) document.set(section, key, value);
		};
		setUnlessThere("max_depth", maxDepth === undefined ? undefined : String(maxDepth));
		setUnlessThere("timeout", timeoutMs === undefined ? undefined : durationText(timeoutMs));
		setUnlessThere("limit_tps", limitTps === undefined ? undefined : String(limitTps));
	}
}

function comment(document: IniDocument, section: string, key: string, text: string): void {
	const entry = document.entries().find((candidate) => candidate.section === section && candidate.key === key);
	if (entry !== undefined) document.insertComment(entry.line, text);
}

function durationText(ms: number): string {
	return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function describePlan(
	plan: MigrationPlan,
	proposal: { unit: string; base: number; source: string },
): readonly string[] {
	const lines = [`base: ${figure(proposal.base)} ${proposal.unit} for all buckets together (${proposal.source})`];
	for (const { level, name, first, last, groups, shareBefore, shareAfter, reachAfter } of plan.levels) {
		const where = first === last ? `B${first}` : `B${first}-B${last}`;
		const arrives = groups.map((group) => `${group.name} in B${group.defaultBucket}`).join(", ");
		const before = shareBefore === undefined ? "served in strict order" : `${percent(shareBefore)} by weight`;
		lines.push(
			`P${level} ${name} -> ${where}: ${before} before, ${percent(shareAfter)} after, at most ${percent(reachAfter)}; ${arrives}`,
		);
	}
	return lines;
}

function planAsJson(
	plan: MigrationPlan,
	shape: BucketSettings,
	proposal: { unit: string; base: number; source: string; assumed: boolean },
) {
	return {
		bucket_count: shape.count,
		base: { value: proposal.base, unit: proposal.unit, source: proposal.source, assumed: proposal.assumed },
		levels: plan.levels.map((level) => ({
			level: level.level,
			name: level.name,
			first_bucket: level.first,
			last_bucket: level.last,
			groups: level.groups.map(({ name, defaultBucket, mode }) => ({ name, default_bucket: defaultBucket, mode })),
			share_before: level.shareBefore ?? null,
			share_after: level.shareAfter,
			reach_after: level.reachAfter,
		})),
		warnings: plan.warnings,
	};
}

/** Answers the name of the backup when a file was there. */
function write(output: string, text: string): string | undefined {
	try {
		if (existsSync(output)) return replaceFile(output, text);
		writeFileSync(output, text, { flag: "wx" });
		return undefined;
	} catch (error) {
		const code = (error as NodeJS.ErrnoException).code ?? "unknown reason";
		throw new UserError(`${output}: cannot be written: ${code}`);
	}
}
