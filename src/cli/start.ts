/** `tokligence start`: runs the gateway until SIGTERM or SIGINT; SIGHUP, or a changed file when asked, reads the configuration again. */
import { Command } from "commander";
import { watchFile } from "../app/file-watch.ts";
import { type RunningGateway, startGateway } from "../app/gateway.ts";
import { reloadReport } from "../app/reload-report.ts";
import { systemTimers } from "../app/system.ts";
import {
	type ConfigOptions,
	EXIT_FAILURE,
	loadFromOptions,
	loadOrReport,
	processIo,
	withConfigOptions,
} from "./config-options.ts";

interface StartFlags extends ConfigOptions {
	readonly upstream?: string;
	readonly dataDir?: string;
	readonly port?: string;
	readonly adminPort?: string;
	readonly json?: boolean;
	readonly watch?: boolean;
}

export function startCommand(): Command {
	return withConfigOptions(new Command("start"))
		.description("run the gateway")
		.option("--upstream <url>", "inference server to put it in front of, when the configuration names no provider")
		.option("--data-dir <folder>", "where database, journal and admin token are kept")
		.option("--port <n>", "port of the data plane; 0 takes any free one")
		.option("--admin-port <n>", "port of the admin plane; 0 takes any free one")
		.option("--watch", "reload when the configuration file changes, as SIGHUP does")
		.option("--json", "print the ready line as JSON")
		.addHelpText(
			"after",
			"\nExamples:\n  tokligence start --upstream http://127.0.0.1:8000\n  tokligence start --config config/gateway.ini --port 0 --json\n  tokligence start --config config/gateway.ini --watch\n\nOn SIGHUP the configuration is read again: what can change at once does, the rest is named.\nExit status: 0 after a clean stop, 1 when it cannot start, 78 for a wrong configuration.",
		)
		.action(async (flags: StartFlags) => {
			const io = processIo();
			const configFlags = {
				...(flags.upstream === undefined ? {} : { upstream: flags.upstream }),
				...(flags.dataDir === undefined ? {} : { dataDir: flags.dataDir }),
				...(flags.port === undefined ? {} : { port: flags.port }),
				...(flags.adminPort === undefined ? {} : { adminPort: flags.adminPort }),
			};
			const loaded = loadOrReport(flags, io, configFlags);
			if (loaded === undefined) return;
			// From the first moment: unhandled, the signal would end a process that still starts.
			let running: RunningGateway | undefined;
			process.on("SIGHUP", () => {
				if (running !== undefined) reload(running, "signal:SIGHUP");
			});
			try {
				const gateway = await startGateway(loaded.config, {
					file: loaded.file,
					effective: loaded.effective,
					load: () => loadFromOptions(flags, io, configFlags),
				});
				for (const notice of gateway.notices) gateway.tell(notice);
				io.out(
					flags.json === true
						? JSON.stringify({ event: "ready", data: gateway.dataUrl, admin: gateway.adminUrl })
						: `ready: data plane ${gateway.dataUrl}, admin plane ${gateway.adminUrl}`,
				);
				running = gateway;
				const unwatch =
					flags.watch === true && loaded.file !== undefined
						? watchFile(loaded.file, systemTimers, () => reload(gateway, "file"))
						: () => {};
				const stop = () => {
					unwatch();
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

function reload(gateway: RunningGateway, actor: string): void {
	gateway.reload(actor).then(
		(result) => {
			if (result !== undefined) for (const line of reloadReport(result)) gateway.tell(line);
		},
		(error: unknown) => gateway.tell(`the configuration was not reloaded: ${(error as Error).message}`),
	);
}
