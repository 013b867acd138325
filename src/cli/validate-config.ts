/**
 * `tokligence validate-config [file]`: every error and warning of a configuration at once, with file and line, and of a policy file that is to be used
 * with it. Exit status 0 or 78.
 */
import { Command } from "commander";
import type { LoadResult } from "../config/load.ts";
import { type ConfigProblem, formatProblem } from "../config/problem.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_CONFIG,
	loadFromOptions,
	problemsOf,
	processIo,
	withConfigOptions,
} from "./config-options.ts";
import { readPolicyFile } from "./policy-file.ts";
import { policyFindings } from "./policy-findings.ts";

const EXAMPLES = `
Examples:
  tokligence validate-config config/gateway.ini
  tokligence validate-config gateway.ini --set allocator.bucket.bucket_count=20
  tokligence validate-config gateway.ini --json
  tokligence validate-config gateway.ini --policy policy.yaml

Exit status: 0 when the configuration can be used (warnings included), 78 when it cannot.`;

export function validateConfigCommand(io: CommandIo = processIo()): Command {
	const command = new Command("validate-config")
		.description("check a configuration: all errors and warnings, with line numbers")
		.argument("[file]", "configuration file (same as --config)");
	return withConfigOptions(command)
		.option("--policy <file>", "check a policy file with it: accounts, rules, time windows, quotas")
		.option("--json", "print the result as JSON")
		.addHelpText("after", EXAMPLES)
		.action((file: string | undefined, options: ValidateOptions) =>
			validateConfig(file === undefined ? options : { ...options, config: file }, io),
		);
}

interface ValidateOptions extends ConfigOptions {
	readonly json?: boolean;
	readonly policy?: string;
}

async function validateConfig(options: ValidateOptions, io: CommandIo): Promise<void> {
	const result = loadFromOptions(options, io);
	const policy = options.policy === undefined ? [] : await policyProblems(options.policy, result);
	const problems = [...problemsOf(result), ...policy];
	const isError = ({ severity }: ConfigProblem) => severity === "error";
	const errors = problems.filter(isError);
	const warnings = problems.filter((problem) => !isError(problem));
	if (errors.length > 0) io.setExitCode(EXIT_CONFIG);
	if (options.json === true) {
		const { file = null } = result;
		const checked = options.policy === undefined ? { file } : { file, policy: options.policy };
		io.out(JSON.stringify({ ok: errors.length === 0, ...checked, errors, warnings }, undefined, 2));
		return;
	}
	for (const problem of problems) io.out(`${problem.severity}: ${formatProblem(problem)}`);
	const name = [result.file ?? "built-in defaults", options.policy ?? []].flat().join(" with ");
	const count = `${counted(errors.length, "error")}, ${counted(warnings.length, "warning")}`;
	io.out(`${name}: ${problems.length === 0 ? "no problems" : count}`);
}

async function policyProblems(path: string, loaded: LoadResult): Promise<readonly ConfigProblem[]> {
	const read = readPolicyFile(path);
	if (!read.ok)
		return read.problems.map((problem) => {
			const [, where = path, message = problem] = /^(.*?:\d+): (.*)$/s.exec(problem) ?? [];
			return { severity: "error", where, message };
		});
	// Without a configuration there is nothing that it could be right or wrong with.
	if (!loaded.ok) return [];
	const { file } = read;
	const { readPolicy } = await import("../app/policy-reader.ts");
	const found = await readPolicy(file.content, loaded.config);
	const problems: readonly {
		readonly severity?: ConfigProblem["severity"];
		readonly path: readonly (string | number)[];
		readonly message: string;
	}[] = found.ok ? policyFindings(file.content, found.policy, loaded.config, Date.now()) : found.problems;
	return problems
		.map(({ severity = "error", path: at, message }) => ({ severity, line: file.lineOf(at), message }))
		.sort((a, b) => a.line - b.line)
		.map(({ severity, line, message }) => ({ severity, where: `${file.name}:${line}`, message }));
}

function counted(count: number, noun: string): string {
	return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
