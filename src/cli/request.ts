/** `tokligence request`: what waits and runs in the running gateway; why; cancelling one. */
import { Command, Option } from "commander";
import { callJson } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { durationText } from "./live-view.ts";
import {
	allItems,
	cell,
	fieldLines,
	type Item,
	listJson,
	type StoreOptions,
	table,
	withAdmin,
	withStoreOptions,
} from "./store-access.ts";

interface ListOptions extends StoreOptions {
	readonly state?: string;
	readonly account?: string;
	readonly token?: string;
	readonly pool?: string;
	readonly queue?: string;
	readonly tier?: string;
	readonly model?: string;
}

export function requestCommand(io: CommandIo = processIo()): Command {
	const list = withStoreOptions(new Command("list"))
		.description("requests that wait or run, oldest first")
		.addOption(new Option("--state <state>", "only these").choices(["waiting", "running"]))
		.option("--account <id>", "only of this account")
		.option("--token <id>", "only of this token")
		.option("--pool <name>", "only of this pool")
		.option("--queue <label>", "only of this queue, like P0 or B3")
		.option("--tier <tier>", "only of this tier")
		.option("--model <name>", "only for this model")
		.action((options: ListOptions) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const { state, account, token, pool, queue, tier, model } = options;
					const query = { state, account_id: account, token_id: token, pool, queue, tier, model };
					const requests = await allItems(client, "/requests", "requests", query);
					io.out(options.json === true ? listJson("requests", requests) : requestTable(requests));
				},
				{ gatewayOnly: true },
			),
		);
	const show = withStoreOptions(new Command("show"))
		.description("what was decided for one request, and why: one that waits, runs, or ended lately")
		.argument("<id>", "its X-Request-ID")
		.action((id: string, options: StoreOptions) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const record = await callJson<Item>(client, "GET", `/decisions/${encodeURIComponent(id)}`);
					io.out(options.json === true ? JSON.stringify(record) : recordText(record));
				},
				{ gatewayOnly: true },
			),
		);
	const cancel = withStoreOptions(new Command("cancel"))
		.description("end a request that waits or runs; its client gets cancelled_by_operator")
		.argument("<id>", "its X-Request-ID")
		.action((id: string, options: StoreOptions) =>
			withAdmin(
				options,
				io,
				async (client) => {
					const answer = await callJson<Item>(client, "DELETE", `/requests/${encodeURIComponent(id)}`);
					io.out(
						options.json === true ? JSON.stringify(answer) : `request ${cell(answer["request_id"])} was cancelled`,
					);
				},
				{ gatewayOnly: true },
			),
		);
	return new Command("request")
		.description("requests of the running gateway: list, show, cancel")
		.addCommand(list)
		.addCommand(show)
		.addCommand(cancel)
		.addHelpText(
			"after",
			`
Examples:
  tokligence request list --state waiting
  tokligence request list --account acme --json
  tokligence request show req_…
  tokligence request cancel req_…

Exit status: 0, 1 when it is refused or no gateway runs, 78 for a wrong configuration.`,
		);
}

function requestTable(requests: readonly Item[]): string {
	const rows = requests.map((one) => ({
		request_id: one["request_id"],
		state: one["state"],
		queue: one["queue"],
		pool: one["pool"],
		account: one["account_id"],
		tier: one["tier"],
		model: one["model"],
		waited: durationText(Number(one["wait_ms"])),
		tokens:
			one["produced_tokens"] === null
				? `~${one["estimated_tokens"]}`
				: `${one["produced_tokens"]} of ~${one["estimated_tokens"]}`,
	}));
	const columns = ["request_id", "state", "queue", "pool", "account", "tier", "model", "waited", "tokens"];
	return table(columns, rows);
}

function recordText(record: Item): string {
	const { decisions, ...fields } = record;
	return `${fieldLines(fields)}\n\n${table(
		["at", "decision", "queue", "pool", "reason", "position", "wait_ms"],
		decisions as readonly Item[],
	)}`;
}
