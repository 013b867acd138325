/**
 * What every command that reads a configuration shares: `--config`, `--set`, loading, and the way problems are shown. Commands write through
 * `CommandIo`, so that tests run them without a process.
 */
import type { Command } from "commander";
import { type ConfigFlags, type Environment, type LoadResult, loadConfig } from "../config/load.ts";
import { type ConfigProblem, formatProblem } from "../config/problem.ts";

/** Exit status of a configuration that cannot be used (`EX_CONFIG` of sysexits). */
export const EXIT_CONFIG = 78;
/** Exit status of a command that could not do its work. */
export const EXIT_FAILURE = 1;

export interface CommandIo {
	readonly env: Environment;
	/** One line, or several joined by line feeds. */
	readonly out: (text: string) => void;
	readonly error: (text: string) => void;
	readonly setExitCode: (code: number) => void;
}

export function processIo(): CommandIo {
	return {
		env: process.env,
		out: (text) => process.stdout.write(`${text}\n`),
		error: (text) => process.stderr.write(`${text}\n`),
		setExitCode: (code) => {
			process.exitCode = code;
		},
	};
}

export interface ConfigOptions {
	readonly config?: string;
	readonly set: readonly string[];
}

/** Adds `--config F` and `--set section.key=value` (repeatable). */
export function withConfigOptions(command: Command): Command {
	return command
		.option("-c, --config <file>", "configuration file (else TOKLIGENCE_CONFIG, else config/gateway.ini)")
		.option(
			"--set <section.key=value>",
			"set one value, over file and environment (repeatable)",
			(value: string, before: readonly string[]) => [...before, value],
			[],
		);
}

export function loadFromOptions(options: ConfigOptions, io: CommandIo, flags: ConfigFlags = {}): LoadResult {
	return loadConfig({
		...(options.config === undefined ? {} : { path: options.config }),
		env: io.env,
		sets: options.set,
		flags,
	});
}

/** Loads, shows problems on the error output, and answers nothing (with the exit status set) when there are errors. */
export function loadOrReport(
	options: ConfigOptions,
	io: CommandIo,
	flags: ConfigFlags = {},
): (LoadResult & { readonly ok: true }) | undefined {
	const result = loadFromOptions(options, io, flags);
	for (const problem of problemsOf(result)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
	if (result.ok) return result;
	io.setExitCode(EXIT_CONFIG);
	return undefined;
}

/** Errors first. */
export function problemsOf(result: LoadResult): readonly ConfigProblem[] {
	return result.ok ? result.warnings : [...result.errors, ...result.warnings];
}
