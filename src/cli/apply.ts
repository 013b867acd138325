/** `tokligence apply`, `diff` and `export`: accounts, rules, windows, quotas and imported keys as one reviewed file. */
import { Command } from "commander";
import { stringify } from "yaml";
import { type AdminClient, callJson } from "./admin-client.ts";
import { type CommandIo, EXIT_FAILURE, processIo } from "./config-options.ts";
import { type PolicyFile, PolicyRefused, readPolicyFile, sendPolicy } from "./policy-file.ts";
import { differencesText } from "./policy-text.ts";
import { type Item, type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

/** Exit status of `diff --exit-code` when something differs. */
const EXIT_DIFFERENT = 2;

interface FileOptions extends StoreOptions {
	readonly file: string;
	readonly prune?: boolean;
}

const withFileOptions = (command: Command): Command =>
	withStoreOptions(command)
		.requiredOption("-f, --file <file>", "policy file, YAML or JSON; - reads the standard input")
		.option("--prune", "also remove rules, windows and quotas that the file does not have");

export function applyCommand(io: CommandIo = processIo()): Command {
	return withFileOptions(new Command("apply"))
		.description("bring accounts, rules, windows, quotas and imported keys to what a file says: all or nothing")
		.option("--dry-run", "only say what would change")
		.addHelpText(
			"after",
			`
Entries have the fields of the admin API. Each becomes exactly what the file says: a field that is left out is cleared.
Accounts that the file does not have stay; one goes with \`status: deleted\`. Keys are taken over by their SHA-256 and never changed.

Examples:
  tokligence apply -f policy.yaml --dry-run
  tokligence apply -f policy.yaml --prune
  tokligence export | tokligence apply -f -

Exit status: 0; 1 when it is refused, and then nothing was changed; 78 for a wrong configuration.`,
		)
		.action((options: FileOptions & { readonly dryRun?: boolean }) =>
			withPolicy(options, io, async (client, file) => {
				const prune = options.prune === true;
				const differences = await sendPolicy(client, file, { dryRun: true, prune });
				const isWanted = options.dryRun !== true && differences.count > 0;
				if (options.json !== true) io.out(differencesText(differences));
				const answer = isWanted ? await sendPolicy(client, file, { dryRun: false, prune }) : differences;
				if (options.json === true) io.out(JSON.stringify({ ...answer, applied: options.dryRun !== true }));
				else if (isWanted) io.out("Applied.");
			}),
		);
}

export function diffCommand(io: CommandIo = processIo()): Command {
	return withFileOptions(new Command("diff"))
		.description("what `apply` would change")
		.option("--exit-code", `exit with status ${EXIT_DIFFERENT} when something differs`)
		.addHelpText(
			"after",
			`
Examples:
  tokligence diff -f policy.yaml
  tokligence diff -f policy.yaml --exit-code --json

Exit status: 0; 1 when the file is wrong; 2 with --exit-code when something differs; 78 for a wrong configuration.`,
		)
		.action((options: FileOptions & { readonly exitCode?: boolean }) =>
			withPolicy(options, io, async (client, file) => {
				const answer = await sendPolicy(client, file, { dryRun: true, prune: options.prune === true });
				io.out(options.json === true ? JSON.stringify(answer) : differencesText(answer));
				if (options.exitCode === true && answer.count > 0) io.setExitCode(EXIT_DIFFERENT);
			}),
		);
}

export function exportCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("export"))
		.description("accounts, rules, windows and quotas as a file for `apply`; tokens are never exported")
		.addHelpText(
			"after",
			`
Examples:
  tokligence export > policy.yaml
  tokligence export --json

Exit status: 0, 1 when it cannot be read, 78 for a wrong configuration.`,
		)
		.action((options: StoreOptions) =>
			withAdmin(options, io, async (client) => {
				const document = await callJson<Item>(client, "GET", "/policy");
				io.out(options.json === true ? JSON.stringify(document) : stringify(document, { lineWidth: 0 }).trimEnd());
			}),
		);
}

async function withPolicy(
	options: FileOptions,
	io: CommandIo,
	work: (client: AdminClient, file: PolicyFile) => Promise<void>,
): Promise<void> {
	const refuse = (problems: readonly string[]) => {
		if (options.json === true) io.out(JSON.stringify({ applied: false, problems }));
		for (const problem of problems) io.error(`error: ${problem}`);
		io.setExitCode(EXIT_FAILURE);
	};
	const read = readPolicyFile(options.file);
	if (!read.ok) return refuse(read.problems);
	await withAdmin(options, io, async (client) => {
		try {
			await work(client, read.file);
		} catch (error) {
			if (!(error instanceof PolicyRefused)) throw error;
			refuse(error.problems);
		}
	});
}
