/**
 * `tokligence benchmark`: how much load an engine sustains, measured by an open loop from the moment each request is due. Progress goes
 * to the error output, the table or the JSON to the output, the report to `--output`.
 */
import { writeFileSync } from "node:fs";
import { basename } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { type BenchmarkOptions, type BenchmarkOutcome, runBenchmark } from "../load/benchmark.ts";
import { profileMix, traceMix } from "../load/benchmark-mix.ts";
import { type BenchmarkReport, benchmarkTable } from "../load/benchmark-report.ts";
import { benchmarkTarget } from "../load/benchmark-workload.ts";
import { WORKLOAD_PROFILE_NAMES, WORKLOAD_PROFILES, type WorkloadProfileName } from "../load/workload-profiles.ts";
import { openTrace, TraceError } from "../simulate/traces.ts";
import { applyReport } from "./apply-report.ts";
import { positive, reportingUserErrors, UserError, wholeNumber } from "./capacity-proposal.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_FAILURE,
	loadOrReport,
	processIo,
	withConfigOptions,
} from "./config-options.ts";

const EXAMPLES = `
Examples:
  tokligence benchmark --endpoint http://127.0.0.1:8000 --model llama-3-8b --duration 300s --output report.json
  tokligence benchmark --workload-profile code --duration 2m --config gateway.ini --apply
  tokligence benchmark --endpoint http://127.0.0.1:8000/v1/chat/completions --model mock --duration 15s --json
  tokligence benchmark --trace AzureLLMInferenceTrace_conv.csv --duration 300s
  tokligence benchmark --trace AzureLLMInferenceTrace_conv.csv --replay 0.5 --duration 300s

--trace takes lengths and bursts from a trace (Azure, Mooncake, ServeGen, VTC; gzipped or not; those without times arrive at random) and
searches the rate; --replay plays the trace at its own times instead, so many times as fast, and reports what came of it.

Without --endpoint and --model: the configuration's first provider, and the first model it names or lists. Start with 50 to 70 % of the
measured maximum, watch for a week, then go to the safe 85 %; measure again each quarter. Ctrl-C ends the run and keeps what was measured.

Exit status: 0 when measured, 1 when the endpoint does not answer or a flag is wrong, 78 when the configuration cannot be used, 130 after
Ctrl-C (the report is written).`;

const MAX_IN_FLIGHT = 2000;
const EXIT_INTERRUPTED = 130;
const MODELS_TIMEOUT_MS = 10_000;

interface BenchmarkFlags extends ConfigOptions {
	readonly endpoint?: string;
	readonly model?: string;
	readonly duration: number;
	readonly workloadProfile: WorkloadProfileName;
	readonly trace?: string;
	readonly replay?: number;
	readonly streamingRatio?: number;
	readonly output?: string;
	readonly seed: number;
	readonly ttftLimit: number;
	readonly errorLimit: number;
	readonly maxInFlight: number;
	readonly apiKeyEnv?: string;
	readonly apply?: boolean;
	readonly json?: boolean;
}

export function benchmarkCommand(io: CommandIo = processIo()): Command {
	const command = new Command("benchmark")
		.description("find the highest load that an engine sustains, and write it into the configuration if wanted")
		.option("--endpoint <url>", "base URL or full address of the chat completions")
		.option("--model <name>", "model to ask for")
		.addOption(
			new Option("--duration <time>", "whole run, like 300s or 5m").argParser(duration).default(300_000, "300s"),
		)
		.addOption(
			new Option("--workload-profile <name>", "lengths of prompts and answers")
				.choices(WORKLOAD_PROFILE_NAMES)
				.default("realistic"),
		)
		.addOption(new Option("--trace <file>", "lengths and bursts of a trace instead").conflicts("workloadProfile"))
		.addOption(
			new Option(
				"--replay <factor>",
				"play the trace at its own times, 2 in half the time, without a search",
			).argParser(positive),
		)
		.addOption(
			new Option("--streaming-ratio <share>", "share of streamed requests, over the profile's (a trace: 1)").argParser(
				share,
			),
		)
		.option("--output <file>", "write the report there as JSON")
		.addOption(new Option("--seed <n>", "same seed, same requests").argParser(wholeNumber(0, 0xffff_ffff)).default(1))
		.addOption(
			new Option("--ttft-limit <time>", "highest P95 to the first token that counts as sustained")
				.argParser(duration)
				.default(2000, "2s"),
		)
		.addOption(new Option("--error-limit <share>", "highest share of failed requests").argParser(share).default(0.01))
		.addOption(new Option("--max-in-flight <n>", "never more at a time").argParser(positive).default(MAX_IN_FLIGHT))
		.option("--api-key-env <name>", "environment variable that holds the key of the endpoint")
		.option("--apply", "write the capacity into the configuration file; the old text is kept as FILE.bak")
		.option("--json", "print the report as JSON");
	return withConfigOptions(command)
		.addHelpText("after", EXAMPLES)
		.action((flags: BenchmarkFlags) => reportingUserErrors(io, EXIT_FAILURE, () => benchmark(flags, io)));
}

async function benchmark(flags: BenchmarkFlags, io: CommandIo): Promise<void> {
	const where = await destination(flags, io);
	if (where === undefined) return;
	const target = benchmarkTarget(where.endpoint);
	if (target === undefined)
		throw new UserError(`--endpoint ${JSON.stringify(where.endpoint)}: an http or https URL is allowed`);
	const { mix, replay, durationMs } = workloadOf(flags);
	const stop = new AbortController();
	const interrupt = () => stop.abort();
	process.once("SIGINT", interrupt);
	process.once("SIGTERM", interrupt);
	let outcome: BenchmarkOutcome;
	try {
		outcome = await runBenchmark({
			endpoint: where.endpoint,
			target,
			model: where.model,
			mix,
			...(replay === undefined ? {} : { replay }),
			durationMs,
			seed: flags.seed,
			headers: where.key === undefined ? {} : { authorization: `Bearer ${where.key}` },
			ttftLimitMs: flags.ttftLimit,
			failureLimit: flags.errorLimit,
			maxInFlight: flags.maxInFlight,
			signal: stop.signal,
			onStep: ({ phase, startMs, rate }) =>
				io.error(
					`${progressBar(startMs / durationMs)} ${phase}${rate === 0 ? "" : ` at ${rate.toFixed(1)} requests/s`}`,
				),
		});
	} finally {
		process.off("SIGINT", interrupt);
		process.off("SIGTERM", interrupt);
	}
	if (outcome.kind === "unanswered") {
		if (stop.signal.aborted) throw new UserError("stopped before anything was measured");
		const status = outcome.status === 0 ? "" : ` (status ${outcome.status})`;
		throw new UserError(`${where.endpoint}: the first request failed: ${outcome.code}${status}`);
	}
	if (replay !== undefined) io.error("replayed, not searched: the maximum below is what was completed");
	else if (!outcome.saturated)
		io.error("warning: the run ended before the server was at its limit, which may be higher: use a longer --duration");
	deliver(outcome.report, flags, io);
	if (outcome.interrupted) io.setExitCode(EXIT_INTERRUPTED);
}

function deliver(report: BenchmarkReport, flags: BenchmarkFlags, io: CommandIo): void {
	if (flags.output !== undefined) {
		try {
			writeFileSync(flags.output, `${JSON.stringify(report, undefined, 2)}\n`);
		} catch (error) {
			throw new UserError(`${flags.output}: cannot be written: ${(error as NodeJS.ErrnoException).code}`);
		}
	}
	io.out(flags.json === true ? JSON.stringify(report, undefined, 2) : benchmarkTable(report));
	if (flags.apply === true) for (const line of applyReport(report, flags, io.env)) io.error(line);
}

/** What to send, and for how long: a replay ends with its trace. */
function workloadOf(flags: BenchmarkFlags): Pick<BenchmarkOptions, "mix" | "replay" | "durationMs"> {
	const { trace, replay, streamingRatio, duration: durationMs } = flags;
	if (trace === undefined) {
		if (replay !== undefined) throw new UserError("--replay needs a --trace");
		const profile = WORKLOAD_PROFILES[flags.workloadProfile];
		return { mix: profileMix(streamingRatio === undefined ? profile : { ...profile, streamingRatio }), durationMs };
	}
	try {
		const mix = traceMix(openTrace(trace), basename(trace), streamingRatio ?? 1);
		if (mix === undefined) throw new UserError(`${trace}: has no rows`);
		if (replay === undefined) return { mix, durationMs };
		if (mix.recordedRate === undefined)
			throw new UserError(`${trace}: has lengths only, no times to replay; leave --replay away`);
		const ratePerSecond = mix.recordedRate * replay;
		return {
			mix,
			replay: { ratePerSecond, requests: mix.rows },
			// The first comes one gap after the start.
			durationMs: Math.min(durationMs, ((mix.rows + 1) / ratePerSecond) * 1000),
		};
	} catch (error) {
		if (error instanceof TraceError) throw new UserError(error.message);
		throw error;
	}
}

/** Where to send requests: the flags, else the configuration's first provider, and the first model that it names or lists. */
async function destination(
	flags: BenchmarkFlags,
	io: CommandIo,
): Promise<{ endpoint: string; model: string; key: string | undefined } | undefined> {
	const keyFrom = (name: string | undefined) => (name === undefined ? undefined : io.env[name]);
	const { endpoint, model, apiKeyEnv } = flags;
	if (endpoint !== undefined && model !== undefined && flags.apply !== true)
		return { endpoint, model, key: keyFrom(apiKeyEnv) };
	const loaded = loadOrReport(flags, io);
	if (loaded === undefined) return undefined;
	const provider = loaded.config.providers[0]!;
	const named = [...provider.families.flatMap((family) => family.models), ...provider.models].find(
		(name) => !name.includes("*"),
	);
	const url = endpoint ?? provider.endpoints[0]!;
	// A provider's key goes to the provider only.
	const key = keyFrom(apiKeyEnv ?? (endpoint === undefined ? provider.apiKeyEnv : undefined));
	return { endpoint: url, model: model ?? named ?? (await firstModel(url, key)), key };
}

/** What the endpoint lists first. */
async function firstModel(endpoint: string, key: string | undefined): Promise<string> {
	const target = benchmarkTarget(endpoint);
	const path = target?.path.replace(/\/chat\/completions.*$/, "/models");
	let problem = "";
	try {
		const response = await fetch(`${target?.baseUrl}${path}`, {
			headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
			signal: AbortSignal.timeout(MODELS_TIMEOUT_MS),
		});
		const { data } = (await response.json()) as { readonly data?: readonly { readonly id?: unknown }[] };
		const first = data?.[0]?.id;
		if (typeof first === "string") return first;
		problem = `answered with status ${response.status} and no model`;
	} catch (error) {
		const { cause, message } = error as Error;
		problem = (cause as NodeJS.ErrnoException | undefined)?.code ?? message;
	}
	throw new UserError(`${endpoint}: ${path ?? ""} ${problem}; name a model with --model`);
}

function progressBar(part: number): string {
	const filled = Math.round(20 * Math.min(1, part));
	return `[${"#".repeat(filled)}${".".repeat(20 - filled)}]`;
}

function duration(text: string): number {
	const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
	const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[parts?.[2] ?? "s"] ?? Number.NaN;
	const ms = Number(parts?.[1]) * unit;
	if (!(ms >= 1 && ms <= 86_400_000))
		throw new InvalidArgumentError("It must be a time like 15s, 500ms or 5m, at most 24h.");
	return ms;
}

function share(text: string): number {
	const value = text.trim() === "" ? Number.NaN : Number(text);
	if (!(value >= 0 && value <= 1)) throw new InvalidArgumentError("It must be a number from 0 to 1.");
	return value;
}
