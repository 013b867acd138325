/** `tokligence start`: runs the gateway until SIGTERM or SIGINT. */
import { Command } from "commander";
import { startGateway } from "../app/gateway.ts";
import { type ConfigOptions, EXIT_FAILURE, loadOrReport, processIo, withConfigOptions } from "./config-options.ts";

interface StartFlags extends ConfigOptions {
	readonly upstream?: string;
	readonly dataDir?: string;
	readonly port?: string;
	readonly adminPort?: string;
	readonly json?: boolean;
}

export function startCommand(): Command {
	return withConfigOptions(new Command("start"))
		.description("run the gateway")
		.option("--upstream <url>", "inference server to put it in front of, when the configuration names no provider")
		.option("--data-dir <folder>", "where database, journal and admin token are kept")
		.option("--port <n>", "port of the data plane; 0 takes any free one")
		.option("--admin-port <n>", "port of the admin plane; 0 takes any free one")
		.option("--json", "print the ready line as JSON")
		.addHelpText(
			"after",
			"\nExamples:\n  tokligence start --upstream http://127.0.0.1:8000\n  tokligence start --config config/gateway.ini --port 0 --json\n\nExit status: 0 after a clean stop, 1 when it cannot start, 78 for a wrong configuration.",
		)
		.action(async (flags: StartFlags) => {
			const io = processIo();
			const loaded = loadOrReport(flags, io, {
				...(flags.upstream === undefined ? {} : { upstream: flags.upstream }),
				...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
				...(flags.port === undefined ? {} : { port: flags.port }),
				...(flags.adminPort === undefined ? {} : { adminPort: flags.adminPort }),
			});
			if (loaded === undefined) return;
			try {
				const gateway = await startGateway(loaded.config);
				for (const notice of gateway.notices) io.error(notice);
				io.out(
					flags.json === true
						? JSON.stringify({ event: "ready", data: gateway.dataUrl, admin: gateway.adminUrl })
						: `ready: data plane ${gateway.dataUrl}, admin plane ${gateway.adminUrl}`,
				);
				const stop = () => {
					void gateway.close().then(() => process.exit(0));
				};
				process.once("SIGTERM", stop);
				process.once("SIGINT", stop);
			} catch (error) {
				io.error(`cannot start: ${(error as Error).message}`);
				io.setExitCode(EXIT_FAILURE);
				process.exit();
			}
		});
}
