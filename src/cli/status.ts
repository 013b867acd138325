/** `tokligence status`: queues and capacity of the running gateway. */
import { Command } from "commander";
import { type CommandIo, processIo } from "./config-options.ts";
import { poolStatuses, poolText } from "./live-view.ts";
import { type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

interface Options extends StoreOptions {
	readonly pool?: string;
}

export function statusCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("status"))
		.description("queues and capacity of the running gateway")
		.option("--pool <name>", "of this pool; otherwise of all")
		.addHelpText(
			"after",
			`
Examples:
  tokligence status
  tokligence status --pool default --json
  TOKLIGENCE_ADMIN_TOKEN=… tokligence status --url http://gateway.internal:8080

Exit status: 0, 1 when no gateway runs, 78 for a wrong configuration.`,
		)
		.action((options: Options) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const all = await poolStatuses(client, options.pool);
					if (options.json === true) io.out(JSON.stringify(all.length === 1 ? all[0] : { pools: all }));
					else io.out(all.map((status) => poolText(status)).join("\n\n"));
				},
				{ gatewayOnly: true },
			),
		);
}
