/** `tokligence doctor`: checks what a gateway needs, and says what to do. */
import { Command } from "commander";
import { examine, type Finding } from "../app/doctor.ts";
import { formatProblem } from "../config/problem.ts";
import { type CommandIo, EXIT_CONFIG, EXIT_FAILURE, loadFromOptions, processIo } from "./config-options.ts";
import { type StoreOptions, withStoreOptions } from "./store-access.ts";

interface Options extends StoreOptions {
	readonly upstream?: string;
}

export function doctorCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("doctor"))
		.description("check configuration, storage, providers, ports, clock and limits")
		.option("--upstream <url>", "as for `start`: inference server, when the configuration names no provider")
		.addHelpText(
			"after",
			`
Nothing is changed. Each line is ok, warn or fail; a warning or a failure says what to do.

Examples:
  tokligence doctor
  tokligence doctor --config config/gateway.ini --upstream http://127.0.0.1:8000 --json

Exit status: 0 when nothing failed (warnings may be there), 1 when something did, 78 for a wrong configuration.`,
		)
		.action(async (options: Options) => {
			const loaded = loadFromOptions(options, io, {
				...(options.dataDir === undefined ? {} : { dataDir: options.dataDir }),
				...(options.upstream === undefined ? {} : { upstream: options.upstream }),
			});
			const problems = loaded.ok ? loaded.warnings : [...loaded.errors, ...loaded.warnings];
			const findings: Finding[] = problems.map((problem) => ({
				check: "configuration",
				status: problem.severity === "error" ? "fail" : "warn",
				message: formatProblem(problem),
			}));
			if (problems.length === 0) {
				findings.push({ check: "configuration", status: "ok", message: loaded.file ?? "no file, the defaults" });
			}
			if (loaded.ok) findings.push(...(await examine(loaded.config, io.env)));
			const failed = findings.filter(({ status }) => status === "fail").length;
			const warned = findings.filter(({ status }) => status === "warn").length;
			const summary = `${failed} failed, ${warned} warnings, ${findings.length - failed - warned} ok`;
			io.out(
				options.json === true
					? JSON.stringify({ findings, failed, warned })
					: [...findings.map(line), "", summary].join("\n"),
			);
			io.setExitCode(failed === 0 ? 0 : loaded.ok ? EXIT_FAILURE : EXIT_CONFIG);
		});
}

function line({ check, status, message, advice }: Finding): string {
	const heading = `${status.padEnd(4)}  ${check}: ${message.replaceAll(/\p{Cc}/gu, "?")}`;
	return advice === undefined ? heading : `${heading}\n      → ${advice}`;
}
