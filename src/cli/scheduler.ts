/**
 * `tokligence scheduler configure` (also `bucket-scheduler configure`): asks what it needs on a terminal, takes everything by flags elsewhere, and
 * writes a commented configuration that `validate-config` accepts. A file that is there is replaced only with `--force` or a yes, and kept as `.bak`.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { Command, Option } from "commander";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { CLASSIFIERS } from "../config/schema-scheduler.ts";
import { MAX_LEVELS, MIN_LEVELS } from "../core/allocate/priority-allocator.ts";
import { ALLOCATORS, SCHEDULERS } from "../core/model/policy.ts";
import {
	bucketCount,
	capacityOptions,
	proposeBase,
	readReport,
	reportingUserErrors,
	UserError,
	wholeNumber,
} from "./capacity-proposal.ts";
import { replaceFile } from "./config.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, problemsOf, processIo } from "./config-options.ts";
import {
	type Answers,
	askMissing,
	type ConfigureFlags,
	type Questions,
	terminalQuestions,
} from "./scheduler-questions.ts";
import { newConfigText } from "./scheduler-text.ts";
import { visualizeCommand } from "./visualize.ts";

const DEFAULT_OUTPUT = "config/gateway.ini";

const EXAMPLES = `
Examples:
  tokligence scheduler configure
  tokligence scheduler configure --allocator bucket --bucket-count 10 --base-capacity-rps 50 --output gateway.ini --yes
  tokligence scheduler configure --report report.json --output gateway.ini --force --yes

On a terminal it asks for what no flag says; with --yes, or without a terminal, the defaults are taken.
Exit status: 0 when the file is written, 1 when it is not (it exists and neither --force nor a yes was given, a flag is wrong, the questions were
left), 78 when the result could not be used.`;

interface ConfigureOptions extends ConfigureFlags {
	readonly output?: string;
	readonly force?: boolean;
	readonly yes?: boolean;
	readonly json?: boolean;
}

/** @param questions asks a person; absent where there is none */
export function schedulerCommand(io: CommandIo = processIo(), questions = terminalQuestions()): Command {
	return new Command("scheduler").description("set the scheduler up").addCommand(configureCommand(io, questions));
}

export function bucketSchedulerCommand(io: CommandIo = processIo(), questions = terminalQuestions()): Command {
	return new Command("bucket-scheduler")
		.description("look at capacity buckets, or set them up")
		.addCommand(visualizeCommand(io))
		.addCommand(configureCommand(io, questions));
}

function configureCommand(io: CommandIo, questions: Questions | undefined): Command {
	const command = new Command("configure")
		.description("write a commented configuration, by questions or by flags")
		.addOption(new Option("--allocator <kind>", "priority levels or capacity buckets").choices(ALLOCATORS))
		.addOption(new Option("--scheduler <kind>", "order in which queues are served").choices(SCHEDULERS))
		.addOption(new Option("--classifier <kind>", "how requests are told apart").choices(CLASSIFIERS))
		.addOption(new Option("--bucket-count <n>", "number of buckets, 2 to 100").argParser(bucketCount))
		.addOption(
			new Option("--priority-levels <n>", "number of levels, 2 to 20").argParser(wholeNumber(MIN_LEVELS, MAX_LEVELS)),
		);
	for (const option of capacityOptions()) command.addOption(option);
	return command
		.option("--upstream <url>", "base URL of the engine (else http://127.0.0.1:8000 when it starts)")
		.option("--trusted-cidrs <list>", "peers whose X-TGW-* headers count, like 10.0.0.0/8")
		.option("--output <file>", `where to write (else ${DEFAULT_OUTPUT})`)
		.option("--force", "replace a file that is there (it is kept as FILE.bak)")
		.option("--yes", "ask nothing")
		.option("--json", "print what was written as JSON")
		.addHelpText("after", EXAMPLES)
		.action((options: ConfigureOptions) =>
			reportingUserErrors(io, EXIT_FAILURE, () => configure(options, io, options.yes === true ? undefined : questions)),
		);
}

async function configure(options: ConfigureOptions, io: CommandIo, questions: Questions | undefined): Promise<void> {
	const output = options.output ?? DEFAULT_OUTPUT;
	const refused = `${output}: is there already; --force replaces it and keeps the old text as ${output}.bak`;
	// Nobody should answer ten questions to hear that.
	if (existsSync(output) && options.force !== true && questions === undefined) throw new UserError(refused);
	const report = options.report === undefined ? undefined : readReport(options.report);
	const answers: Answers = await askMissing(options, report, questions);
	const proposal = answers.allocator === "bucket" ? proposeBase(answers, report) : undefined;
	const text = newConfigText(answers, proposal, report);
	const result = loadConfig({ path: output, text, env: {} });
	for (const problem of problemsOf(result)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
	if (!result.ok) {
		io.error("error: nothing is written: the result could not be used");
		io.setExitCode(EXIT_CONFIG);
		return;
	}
	if (
		existsSync(output) &&
		options.force !== true &&
		(await questions?.confirm(`${output} exists. Replace it?`)) !== true
	)
		throw new UserError(refused);
	const backup = write(output, text);
	if (options.json === true) {
		io.out(
			JSON.stringify({ output, backup: backup ?? null, ...summary(answers), base: proposal ?? null }, undefined, 2),
		);
		return;
	}
	if (proposal?.assumed === true) io.error(`warning: the base of ${proposal.base} requests/s is ${proposal.source}`);
	io.out(`${output} is written${backup === undefined ? "" : `, the old text is kept as ${backup}`}`);
	if (answers.allocator === "bucket") io.out(`see it with: tokligence bucket-scheduler visualize --config ${output}`);
	io.out(`run it with: tokligence start --config ${output}`);
}

function summary({ allocator, scheduler, classifier }: Answers) {
	return { allocator, scheduler, classifier };
}

function write(output: string, text: string): string | undefined {
	try {
		if (existsSync(output)) return replaceFile(output, text);
		mkdirSync(dirname(output), { recursive: true });
		writeFileSync(output, text, { flag: "wx" });
		return undefined;
	} catch (error) {
		throw new UserError(`${output}: cannot be written: ${(error as NodeJS.ErrnoException).code ?? "unknown reason"}`);
	}
}
