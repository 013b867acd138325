/**
 * `tokligence validate-config [file]`: every error and warning of a configuration at once, with file and line. Exit status 0 or 78.
 */
import { Command } from "commander";
import { formatProblem } from "../config/problem.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_CONFIG,
	loadFromOptions,
	problemsOf,
	processIo,
	withConfigOptions,
} from "./config-options.ts";

const EXAMPLES = `
Examples:
  tokligence validate-config config/gateway.ini
  tokligence validate-config gateway.ini --set allocator.bucket.bucket_count=20
  tokligence validate-config gateway.ini --json

Exit status: 0 when the configuration can be used (warnings included), 78 when it cannot.`;

export function validateConfigCommand(io: CommandIo = processIo()): Command {
	const command = new Command("validate-config")
		.description("check a configuration: all errors and warnings, with line numbers")
		.argument("[file]", "configuration file (same as --config)");
	return withConfigOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText("after", EXAMPLES)
		.action((file: string | undefined, options: ConfigOptions & { readonly json?: boolean }) =>
			validateConfig(file === undefined ? options : { ...options, config: file }, options.json === true, io),
		);
}

function validateConfig(options: ConfigOptions, json: boolean, io: CommandIo): void {
	const result = loadFromOptions(options, io);
	const problems = problemsOf(result);
	const errors = result.ok ? [] : result.errors;
	if (!result.ok) io.setExitCode(EXIT_CONFIG);
	if (json) {
		const { ok, file = null, warnings } = result;
		io.out(JSON.stringify({ ok, file, errors, warnings }, undefined, 2));
		return;
	}
	for (const problem of problems) io.out(`${problem.severity}: ${formatProblem(problem)}`);
	const name = result.file ?? "built-in defaults";
	const count = `${counted(errors.length, "error")}, ${counted(problems.length - errors.length, "warning")}`;
	io.out(`${name}: ${problems.length === 0 ? "no problems" : count}`);
}

function counted(count: number, noun: string): string {
	return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
