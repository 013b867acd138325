/** `tokligence status`: queues and capacity of the running gateway. */
import { Command } from "commander";
import { callJson, queryOf } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { type Item, type StoreOptions, table, withAdmin, withStoreOptions } from "./store-access.ts";

const COLUMNS = [
	"label",
	"name",
	"current_depth",
	"in_flight",
	"avg_wait_ms",
	"total_dequeued",
	"total_timeout",
	"total_dropped",
	"paused",
];

interface Options extends StoreOptions {
	readonly pool?: string;
}

interface Status {
	readonly pool: string;
	readonly pools: readonly string[];
	readonly allocator: string;
	readonly scheduler: string;
	readonly queues: readonly Item[];
	readonly capacity: {
		readonly current_tps: number;
		readonly max_tps: number | null;
		readonly utilization_pct: number;
		readonly active_requests: number;
		readonly mode: string;
	};
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

Exit status: 0, 1 when no gateway runs, 78 for a wrong configuration.`,
		)
		.action((options: Options) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const ask = (pool: string | undefined) =>
						callJson<Status>(client, "GET", `/scheduler/status${queryOf({ pool })}`);
					const first = await ask(options.pool);
					const others = options.pool === undefined ? first.pools.slice(1) : [];
					const all = [first, ...(await Promise.all(others.map(ask)))];
					if (options.json === true) io.out(JSON.stringify(all.length === 1 ? first : { pools: all }));
					else io.out(all.map(statusText).join("\n\n"));
				},
				{ gatewayOnly: true },
			),
		);
}

function statusText({ pool, allocator, scheduler, capacity, queues }: Status): string {
	const ceiling = capacity.max_tps === null ? "" : ` of ${Math.round(capacity.max_tps)}`;
	const heading = [
		`pool ${pool}: ${allocator} allocator, ${scheduler} scheduler`,
		`${Math.round(capacity.current_tps)}${ceiling} tokens/s, ${capacity.active_requests} running, ${capacity.utilization_pct.toFixed(0)} % used (${capacity.mode})`,
	];
	return `${heading.join("\n")}\n${table(COLUMNS, queues)}`;
}
