/** `tokligence simulate`: a trace or a scenario through one configuration or two, in virtual time; as a table, JSON, or a page with plots. */
import { readFileSync, writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { parse } from "yaml";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { ENGINE_PROFILE_NAMES, ENGINE_PROFILES, type EngineProfileName } from "../simulate/engine-profiles.ts";
import { type SimulationReport, simulateConfig } from "../simulate/report.ts";
import { readScenario, ScenarioError, scenarioArrivals } from "../simulate/scenario.ts";
import { openTrace, TraceError } from "../simulate/traces.ts";
import { type SimulatedArrival, traceArrivals } from "../simulate/workload.ts";
import { positive, reportingUserErrors, UserError } from "./capacity-proposal.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, problemsOf, processIo } from "./config-options.ts";
import { simulationPage, simulationTable } from "./simulate-report.ts";

const EXAMPLES = `
Examples:
  tokligence simulate --config gateway.ini --trace AzureLLMInferenceTrace_conv.csv
  tokligence simulate --config old.ini --compare new.ini --trace day.csv.gz --speed-up 2 --html report.html
  tokligence simulate --config gateway.ini --scenario flood.yaml --engine-profile h100-70b --json

Traces: Azure LLM inference, Mooncake, ServeGen, VTC; gzipped or not. Rows without tiers get them by a fixed split of hashes: production
30 %, staging 10 %, premium 20 %, standard 20 %, spot 10 %, batch 10 %; a client of the trace keeps one tier.
A scenario is YAML: duration, seed, and tiers with name, tier, environment, workload, tenants, rate, prompt, output, from, until, stream.
Rules are the default ones, estimates are learnt as the gateway learns them. Same input, same output.

Exit status: 0, 78 when a configuration cannot be used, 1 when a trace or scenario cannot be read.`;

interface SimulateFlags {
	readonly config?: string;
	readonly compare?: string;
	readonly trace?: string;
	readonly scenario?: string;
	readonly engineProfile: EngineProfileName;
	readonly speedUp: number;
	readonly json?: boolean;
	readonly html?: string;
}

export function simulateCommand(io: CommandIo = processIo()): Command {
	return new Command("simulate")
		.description("play a trace or scenario through the scheduler on modelled engines, in virtual time")
		.option("-c, --config <file>", "configuration file (else TOKLIGENCE_CONFIG, else config/gateway.ini)")
		.option("--compare <file>", "a second configuration, side by side")
		.addOption(new Option("--trace <file>", "requests of a public trace").conflicts("scenario"))
		.option("--scenario <file>", "requests as a YAML file describes them")
		.addOption(
			new Option("--engine-profile <name>", "engine behind every endpoint")
				.choices(ENGINE_PROFILE_NAMES)
				.default("a100-8b"),
		)
		.addOption(
			new Option("--speed-up <factor>", "2 lets everything arrive in half the time").argParser(positive).default(1),
		)
		.option("--json", "print the result as JSON")
		.option("--html <file>", "write a page with plots, complete in itself")
		.addHelpText("after", EXAMPLES)
		.action((flags: SimulateFlags) => reportingUserErrors(io, EXIT_FAILURE, () => run(flags, io)));
}

function run(flags: SimulateFlags, io: CommandIo): void {
	const arrivals = arrivalsOf(flags);
	const reports: SimulationReport[] = [];
	for (const path of flags.compare === undefined ? [flags.config] : [flags.config, flags.compare]) {
		const loaded = loadConfig({ ...(path === undefined ? {} : { path }), env: io.env });
		for (const problem of problemsOf(loaded)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
		if (!loaded.ok) {
			io.setExitCode(EXIT_CONFIG);
			return;
		}
		const name = loaded.file ?? "built-in defaults";
		const profile = ENGINE_PROFILES[flags.engineProfile];
		try {
			reports.push(simulateConfig({ name, config: loaded.config, profile, arrivals: arrivals() }));
		} catch (error) {
			if (error instanceof TraceError) throw new UserError(error.message);
			throw error;
		}
	}
	if (flags.html !== undefined) {
		try {
			writeFileSync(flags.html, simulationPage(reports));
		} catch (error) {
			throw new UserError(`${flags.html}: cannot be written: ${(error as NodeJS.ErrnoException).code}`);
		}
	}
	const source = flags.trace ?? flags.scenario;
	io.out(
		flags.json === true
			? JSON.stringify({ version: 1, source, speed_up: flags.speedUp, runs: reports }, undefined, 2)
			: simulationTable(reports),
	);
}

/** Begins anew for each configuration. */
function arrivalsOf({ trace, scenario, speedUp }: SimulateFlags): () => Iterable<SimulatedArrival> {
	if (trace === undefined && scenario === undefined)
		throw new UserError("name the requests with --trace or --scenario");
	try {
		if (trace !== undefined) {
			const opened = openTrace(trace);
			if (!opened.hasArrivals)
				throw new UserError(`${trace}: has lengths only, no times of arrival; take its lengths into a scenario`);
			return () => traceArrivals(opened, speedUp);
		}
		const read = readScenario(parse(readFileSync(scenario!, "utf8")));
		return () => scenarioArrivals(read, speedUp);
	} catch (error) {
		if (error instanceof UserError) throw error;
		if (error instanceof TraceError) throw new UserError(error.message);
		if (error instanceof ScenarioError) throw new UserError(`${scenario}: ${error.message}`);
		const { code, message } = error as NodeJS.ErrnoException;
		throw new UserError(`${scenario}: ${code?.startsWith("E") === true ? `cannot be read: ${code}` : message}`);
	}
}
