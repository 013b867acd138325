/** `tokligence simulate`: a trace or a scenario through one configuration or more, in virtual time; as a table, JSON, or a page with plots. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { parse } from "yaml";
import { systemCalendar } from "../app/calendar.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { Millis } from "../core/model/units.ts";
import { ENGINE_PROFILE_NAMES, ENGINE_PROFILES, type EngineProfileName } from "../simulate/engine-profiles.ts";
import { type SimulationReport, simulateConfig } from "../simulate/report.ts";
import { readScenario, type Scenario, ScenarioError, scenarioArrivals } from "../simulate/scenario.ts";
import { openTrace, TraceError } from "../simulate/traces.ts";
import { type SimulatedArrival, traceArrivals } from "../simulate/workload.ts";
import { notNegative, positive, reportingUserErrors, UserError } from "./capacity-proposal.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, problemsOf, processIo } from "./config-options.ts";
import { instantOf, openPolicy, POLICY_FLAG, policyFor } from "./offline-policy.ts";
import type { PolicyFile } from "./policy-file.ts";
import { simulationPage } from "./simulate-page.ts";
import { simulationTable } from "./simulate-report.ts";

const BUNDLED = new URL("../../config/scenarios/", import.meta.url);
const DEFAULT_ENGINE = "a100-8b";
const DEFAULT_NETWORK_DELAY_MS: Millis = 1;

const EXAMPLES = `
Examples:
  tokligence simulate --scenario vtc-overload --html report.html
  tokligence simulate --scenario batch-beside-chat --only chat
  tokligence simulate --config gateway.ini --trace AzureLLMInferenceTrace_conv.csv
  tokligence simulate --config old.ini --compare new.ini --trace day.csv.gz --speed-up 2 --html report.html
  tokligence simulate --config gateway.ini --scenario flood.yaml --engine-profile h100-70b --policy policy.yaml --json
  tokligence simulate --config gateway.ini --policy policy.yaml --start 2026-11-27T21:50+01:00 --scenario flood.yaml

Traces: Azure LLM inference, Mooncake, ServeGen, VTC; gzipped or not. Rows without tiers get them by a fixed split of hashes: production
30 %, staging 10 %, premium 20 %, standard 20 %, spot 10 %, batch 10 %; a client of the trace keeps one tier.
A scenario is YAML: duration, seed, and tiers with name, tier, environment, workload, tenants, rate (or from and to), arrivals, on, off,
count, prompt, output, from, until, stream; and, where the flags say nothing, engine, network_delay, configs, rules, policy, start. Those that come along
(--scenarios lists them) are taken by name. A policy file is one as \`tokligence export\` writes it: its time windows hold at their times,
counted from --start (else 2026-01-05T00:00Z, a Monday), its budgets begin with nothing used, its accounts are tenants of those names.
Estimates are learnt as the gateway learns them. Same input, same output.

Exit status: 0, 78 when a configuration cannot be used, 1 when a trace or scenario cannot be read.`;

interface SimulateFlags {
	readonly config?: string;
	readonly compare?: string;
	readonly trace?: string;
	readonly scenario?: string;
	readonly scenarios?: boolean;
	readonly policy?: string;
	readonly start?: string;
	readonly engineProfile?: EngineProfileName;
	readonly speedUp: number;
	readonly networkDelay?: Millis;
	readonly only?: readonly string[];
	readonly json?: boolean;
	readonly html?: string;
}

export function simulateCommand(io: CommandIo = processIo()): Command {
	return new Command("simulate")
		.description("play a trace or scenario through the scheduler on modelled engines, in virtual time")
		.option("-c, --config <file>", "configuration file (else the scenario's, TOKLIGENCE_CONFIG, config/gateway.ini)")
		.option("--compare <file>", "a second configuration, side by side")
		.addOption(new Option("--trace <file>", "requests of a public trace").conflicts(["scenario", "only"]))
		.option("--scenario <file or name>", "requests as a YAML file describes them")
		.option("--only <tiers>", "these of the scenario's tiers, by name, separated by commas", names)
		.option("--scenarios", "list the scenarios that come along")
		.option("--policy <file>", POLICY_FLAG)
		.option("--start <instant>", "what the calendar shows when it begins, like 2026-11-27T21:50+01:00")
		.addOption(
			new Option(
				"--engine-profile <name>",
				`engine behind every endpoint (else the scenario's, ${DEFAULT_ENGINE})`,
			).choices(ENGINE_PROFILE_NAMES),
		)
		.addOption(
			new Option("--speed-up <factor>", "2 lets everything arrive in half the time").argParser(positive).default(1),
		)
		.addOption(
			new Option(
				"--network-delay <ms>",
				`from the gateway to its engine, and again back (else the scenario's, ${DEFAULT_NETWORK_DELAY_MS})`,
			).argParser(notNegative),
		)
		.option("--json", "print the result as JSON")
		.option("--html <file>", "write a page with plots, complete in itself")
		.addHelpText("after", EXAMPLES)
		.action((flags: SimulateFlags) => reportingUserErrors(io, EXIT_FAILURE, () => run(flags, io)));
}

/** What is played, and with what where the flags say nothing. */
interface Source {
	readonly name: string;
	readonly about: string;
	/** Begins anew for each configuration. */
	arrivals(): Iterable<SimulatedArrival>;
	readonly scenario?: Scenario;
}

interface NamedConfig {
	readonly name?: string;
	readonly path?: string;
	readonly text?: string;
}

async function run(flags: SimulateFlags, io: CommandIo): Promise<void> {
	if (flags.scenarios === true) {
		for (const name of bundledNames()) io.out(`${name.padEnd(20)} ${bundledScenario(name).about ?? ""}`.trimEnd());
		return;
	}
	const source = sourceOf(flags);
	const { scenario } = source;
	const policy = policyFileOf(flags.policy, source);
	const start = flags.start ?? scenario?.start;
	const startAt = start === undefined ? undefined : instantOf(start);
	const profile =
		flags.engineProfile === undefined
			? (scenario?.engine ?? ENGINE_PROFILES[DEFAULT_ENGINE])
			: ENGINE_PROFILES[flags.engineProfile];
	const delayMs = flags.networkDelay ?? scenario?.networkDelayMs ?? DEFAULT_NETWORK_DELAY_MS;
	const reports: SimulationReport[] = [];
	for (const { name, path, text } of configsOf(flags, scenario)) {
		// A scenario's own configuration is what it says, wherever it runs.
		const loaded = loadConfig(text === undefined ? { ...(path && { path }), env: io.env } : { text, env: {} });
		for (const problem of problemsOf(loaded)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
		if (!loaded.ok) {
			io.setExitCode(EXIT_CONFIG);
			return;
		}
		try {
			reports.push(
				simulateConfig({
					name: name ?? loaded.file ?? "built-in defaults",
					config: loaded.config,
					profile,
					arrivals: source.arrivals(),
					network: { requestMs: delayMs, responseMs: delayMs },
					offset: systemCalendar.offset,
					...(startAt === undefined ? {} : { startAt }),
					...(await policyOf(policy, loaded.config)),
					...(flags.policy === undefined && scenario?.rules !== undefined ? { rules: scenario.rules } : {}),
				}),
			);
		} catch (error) {
			if (error instanceof TraceError) throw new UserError(error.message);
			throw error;
		}
	}
	if (flags.html !== undefined) {
		try {
			writeFileSync(flags.html, simulationPage(reports, source.about));
		} catch (error) {
			throw new UserError(`${flags.html}: cannot be written: ${(error as NodeJS.ErrnoException).code}`);
		}
	}
	io.out(
		flags.json === true
			? JSON.stringify({ version: 1, source: source.name, speed_up: flags.speedUp, runs: reports }, undefined, 2)
			: simulationTable(reports),
	);
}

function configsOf({ config, compare }: SimulateFlags, scenario: Scenario | undefined): readonly NamedConfig[] {
	if (config === undefined && compare === undefined && scenario !== undefined && scenario.configs.length > 0)
		return scenario.configs;
	const first = config === undefined ? {} : { path: config };
	return compare === undefined ? [first] : [first, { path: compare }];
}

const names = (text: string) => text.split(",").map((name) => name.trim());

function sourceOf({ trace, scenario, speedUp, only }: SimulateFlags): Source {
	if (trace === undefined && scenario === undefined)
		throw new UserError("name the requests with --trace or --scenario");
	if (trace === undefined) {
		const read = partOf(existsSync(scenario!) ? scenarioFile(scenario!) : bundledScenario(scenario!), only);
		return {
			name: scenario!,
			about: read.about ?? basename(scenario!),
			arrivals: () => scenarioArrivals(read, speedUp),
			scenario: read,
		};
	}
	try {
		const opened = openTrace(trace);
		if (!opened.hasArrivals)
			throw new UserError(`${trace}: has lengths only, no times of arrival; take its lengths into a scenario`);
		return { name: trace, about: basename(trace), arrivals: () => traceArrivals(opened, speedUp) };
	} catch (error) {
		if (error instanceof TraceError) throw new UserError(error.message);
		throw error;
	}
}

function partOf(scenario: Scenario, only: readonly string[] | undefined): Scenario {
	if (only === undefined) return scenario;
	const known = new Set(scenario.tiers.map(({ name }) => name));
	const unknown = only.find((name) => !known.has(name));
	if (unknown !== undefined)
		throw new UserError(`--only ${unknown}: the scenario has no tier of that name; it has ${[...known].join(", ")}`);
	// Each tier draws from a seed of its own, by its place: what is left asks as it did among the others.
	return {
		...scenario,
		tiers: scenario.tiers.map((tier) => (only.includes(tier.name) ? tier : { ...tier, untilMs: 0 })),
	};
}

function bundledNames(): readonly string[] {
	return readdirSync(BUNDLED)
		.filter((name) => name.endsWith(".yaml"))
		.map((name) => basename(name, ".yaml"))
		.sort();
}

function bundledScenario(name: string): Scenario {
	const names = bundledNames();
	if (!names.includes(name))
		throw new UserError(
			`${name}: there is no such file, and no scenario of that name comes along; those are ${names.join(", ")}`,
		);
	return scenarioFile(fileURLToPath(new URL(`${name}.yaml`, BUNDLED)));
}

function scenarioFile(file: string): Scenario {
	return reading(file, (text) => readScenario(parse(text)));
}

/** The file that is named, else what the scenario brings. */
function policyFileOf(path: string | undefined, { name, scenario }: Source): PolicyFile | undefined {
	if (path !== undefined) return openPolicy(path);
	if (scenario?.policy === undefined) return undefined;
	return { name: `${name}, policy`, content: scenario.policy, lineOf: () => 1 };
}

async function policyOf(file: PolicyFile | undefined, config: GatewayConfig) {
	if (file === undefined) return {};
	const { rules, ...policy } = await policyFor(file, config);
	return { rules, policy };
}

/** Errors of the file's content begin with its name. */
function reading<T>(file: string, read: (text: string) => T): T {
	let text: string;
	try {
		text = readFileSync(file, "utf8");
	} catch (error) {
		throw new UserError(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code}`);
	}
	try {
		return read(text);
	} catch (error) {
		if (error instanceof ScenarioError || error instanceof Error) throw new UserError(`${file}: ${error.message}`);
		throw error;
	}
}
