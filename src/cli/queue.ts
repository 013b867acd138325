/** `tokligence queue`: change, pause, resume and clear queues of the running gateway; in force at once, until the next start. */
import { Command } from "commander";
import { callJson, queryOf } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { type FieldFlag, fieldsOf, withFieldFlags } from "./flags.ts";
import { poolStatuses, poolText } from "./live-view.ts";
import { fieldLines, type Item, type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

const FIELDS: readonly FieldFlag[] = [
	{ flag: "max-depth", field: "max_depth", kind: "number", doc: "requests that may wait in it" },
	{ flag: "timeout", field: "timeout_sec", kind: "number", doc: "seconds that requests from now on may wait" },
	{ flag: "weight", field: "weight", kind: "number", doc: "its share under schedulers that weigh" },
	{ flag: "limit-tps", field: "limit_tps", kind: "number", doc: "ceiling in tokens per second; none takes it away" },
	{ flag: "limit-rps", field: "limit_rps", kind: "number", doc: "ceiling in requests per second; none takes it away" },
];

type Options = StoreOptions & Readonly<Record<string, unknown>> & { readonly pool?: string };

const QUEUE = "number, label or name: 0, P0, B3, critical";

export function queueCommand(io: CommandIo = processIo()): Command {
	const list = withStoreOptions(new Command("list"))
		.description("queues of the running gateway, as status shows them")
		.option("--pool <name>", "of this pool; otherwise of all")
		.action((options: Options) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const pools = await poolStatuses(client, options.pool);
					if (options.json === true) {
						const queues = pools.flatMap((one) => one.queues.map((queue) => ({ pool: one.pool, ...queue })));
						io.out(JSON.stringify({ queues, count: queues.length, next_cursor: null }));
					} else io.out(pools.map((one) => poolText(one)).join("\n\n"));
				},
				{ gatewayOnly: true },
			),
		);
	const set = withFieldFlags(own("set", "change a queue, with requests waiting in it"), FIELDS).action(
		(queue: string, options: Options) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const path = `/scheduler/queues/${encodeURIComponent(queue)}${queryOf({ pool: options.pool })}`;
					const changed = await callJson<Item>(client, "PATCH", path, fieldsOf(FIELDS, options, true));
					io.out(options.json === true ? JSON.stringify(changed) : fieldLines(changed));
				},
				{ gatewayOnly: true },
			),
	);
	const verb = (name: "pause" | "resume" | "clear", doc: string, done: (queue: Item) => string) =>
		own(name, doc).action((queue: string, options: Options) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const path = `/scheduler/queues/${encodeURIComponent(queue)}/${name}${queryOf({ pool: options.pool })}`;
					const after = await callJson<Item>(client, "POST", path);
					io.out(options.json === true ? JSON.stringify(after) : `queue ${after["label"]}: ${done(after)}`);
				},
				{ gatewayOnly: true },
			),
		);
	return new Command("queue")
		.description("steer the queues of the running gateway")
		.addCommand(list)
		.addCommand(set)
		.addCommand(
			verb(
				"pause",
				"dispatch nothing from a queue; it still fills",
				(queue) => `paused, ${queue["current_depth"]} waiting`,
			),
		)
		.addCommand(verb("resume", "dispatch from a queue again", (queue) => `open, ${queue["current_depth"]} waiting`))
		.addCommand(
			verb("clear", "refuse everything that waits in a queue", (queue) => `${queue["cleared"]} requests were refused`),
		)
		.addHelpText(
			"after",
			`
Examples:
  tokligence queue list
  tokligence queue set P3 --max-depth 200 --timeout 60
  tokligence queue set batch --limit-tps none
  tokligence queue pause P4
  tokligence queue clear P4 --pool default --json

Changes are in force at once and last until the next start. Exit status: 0, 1 when it is refused or no gateway runs, 78 for a wrong configuration.`,
		);
}

function own(name: string, doc: string): Command {
	return withStoreOptions(new Command(name))
		.description(doc)
		.argument("<queue>", QUEUE)
		.option("--pool <name>", "of this pool; otherwise of the first");
}
