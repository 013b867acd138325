/**
 * `tokligence config show`: what holds and where it comes from. `config upgrade F`: older spellings to today's. `config reload`: the running gateway
 * reads its configuration again.
 */
import { constants, copyFileSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import { upgradeConfig } from "../config/upgrade.ts";
import type { EffectiveValue } from "../config/values.ts";
import { callJson } from "./admin-client.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_CONFIG,
	EXIT_FAILURE,
	loadOrReport,
	problemsOf,
	processIo,
	withConfigOptions,
} from "./config-options.ts";
import { type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

const SHOW_EXAMPLES = `
Examples:
  tokligence config show
  tokligence config show --config gateway.ini --json

Exit status: 0, or 78 when the configuration cannot be used.`;

const UPGRADE_EXAMPLES = `
Examples:
  tokligence config upgrade gateway.ini --dry-run
  tokligence config upgrade gateway.ini

The old text is kept beside the file as FILE.bak (FILE.bak.1, … when that exists).
Exit status: 0 when the file can be used now, 78 when something is left to decide, 1 when it cannot be read or written.`;

const RELOAD_EXAMPLES = `
Examples:
  tokligence config reload
  tokligence config reload --json

What can change while the gateway runs changes at once, what cannot is named; a file with errors changes nothing.
Exit status: 0, 1 when it is refused or no gateway runs, 78 for a wrong configuration.`;

export function configCommand(io: CommandIo = processIo()): Command {
	const show = withConfigOptions(new Command("show").description("print every effective value and its source"))
		.option("--json", "print as JSON")
		.addHelpText("after", SHOW_EXAMPLES)
		.action((options: ConfigOptions & { readonly json?: boolean }) => showConfig(options, options.json === true, io));
	const upgrade = new Command("upgrade")
		.description("rewrite older spellings to today's, keeping comments and a backup")
		.argument("<file>", "configuration file")
		.option("--dry-run", "print the new text instead of writing it")
		.addHelpText("after", UPGRADE_EXAMPLES)
		.action((file: string, options: { readonly dryRun?: boolean }) => upgradeFile(file, options.dryRun === true, io));
	const reload = withStoreOptions(new Command("reload"))
		.description("let the running gateway read its configuration again, as SIGHUP does")
		.addHelpText("after", RELOAD_EXAMPLES)
		.action((options: StoreOptions) => reloadConfig(options, io));
	return new Command("config")
		.description("show, upgrade or reload the configuration")
		.addCommand(show)
		.addCommand(upgrade)
		.addCommand(reload);
}

interface Reloaded {
	readonly changed: readonly string[];
	readonly needs_restart: readonly string[];
}

function reloadConfig(options: StoreOptions, io: CommandIo): Promise<void> {
	return withAdmin(
		options,
		io,
		async (client) => {
			const answer = await callJson<Reloaded>(client, "POST", "/config/reload");
			if (options.json === true) {
				io.out(JSON.stringify(answer));
				return;
			}
			const { changed, needs_restart } = answer;
			io.out(changed.length === 0 ? "nothing changed" : `in force now: ${changed.join(", ")}`);
			if (needs_restart.length > 0) io.out(`waiting for the next start: ${needs_restart.join(", ")}`);
		},
		{ gatewayOnly: true },
	);
}

function showConfig(options: ConfigOptions, json: boolean, io: CommandIo): void {
	const result = loadOrReport(options, io);
	if (result === undefined) return;
	if (json) {
		io.out(JSON.stringify({ file: result.file ?? null, values: result.effective }, undefined, 2));
		return;
	}
	let section: string | undefined;
	for (const value of result.effective) {
		if (value.section !== section) io.out(`${section === undefined ? "" : "\n"}[${value.section}]`);
		section = value.section;
		io.out(valueLine(value));
	}
}

/** Reads back as INI. */
function valueLine({ key, value, note, where }: EffectiveValue): string {
	const text = `${value === "" && note !== undefined ? "# " : ""}${key} = ${value}`;
	const source = value === "" && note !== undefined ? `not set: ${note}` : where;
	return `${text.padEnd(48)} # ${source}`;
}

function upgradeFile(file: string, dryRun: boolean, io: CommandIo): void {
	const fail = (action: string, error: unknown) => {
		io.error(`error: ${file}: cannot be ${action}: ${(error as NodeJS.ErrnoException).code ?? "unknown reason"}`);
		io.setExitCode(EXIT_FAILURE);
	};
	let before: string;
	try {
		before = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(file));
	} catch (error) {
		fail("read", error);
		return;
	}
	const { text, changes, left } = upgradeConfig(before);
	const result = loadConfig({ path: file, text, env: {} });
	const report = dryRun ? io.error : io.out;
	if (dryRun) io.out(text.replace(/\r?\n$/, ""));
	for (const change of changes) report(change);
	if (!dryRun && changes.length > 0) {
		try {
			report(`the old text is kept as ${replaceFile(file, text)}`);
		} catch (error) {
			fail("written", error);
			return;
		}
	}
	if (changes.length === 0) report(`${file}: no older spellings${left.length > 0 ? " that can be rewritten" : ""}`);
	for (const sentence of left) io.error(`left to decide: ${sentence}`);
	for (const problem of problemsOf(result)) io.error(`${problem.severity}: ${formatProblem(problem)}`);
	if (!result.ok) io.setExitCode(EXIT_CONFIG);
}

/** Keeps the old file under a free name, then replaces it in one step with the same permissions. Answers the backup's name. */
export function replaceFile(file: string, text: string): string {
	const backup = copyToFreeName(file);
	const fresh = `${file}.new-${process.pid}`;
	writeFileSync(fresh, text, { mode: statSync(file).mode & 0o777, flag: "wx" });
	renameSync(fresh, file);
	return backup;
}

function copyToFreeName(file: string): string {
	for (let number = 0; ; number++) {
		const backup = `${file}.bak${number === 0 ? "" : `.${number}`}`;
		try {
			copyFileSync(file, backup, constants.COPYFILE_EXCL);
			return backup;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
		}
	}
}
