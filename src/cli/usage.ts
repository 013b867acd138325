/** `tokligence usage`: what was used, as sums or as one row per settled request, from the ledger and what is on its way there. */
import { Command } from "commander";
import { type AdminClient, callJson, callText, queryOf } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import {
	type Item,
	type Listed,
	listJson,
	pagesOf,
	type StoreOptions,
	table,
	withAdmin,
	withStoreOptions,
} from "./store-access.ts";

const SUM_COLUMNS = ["requests", "prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens", "cost_usd"];
/** Groups whose field has another name. */
const GROUP_FIELDS: Readonly<Record<string, string>> = { account: "account_id", token: "token_id" };
const ROW_COLUMNS = ["settled_at", "request_id", "account_id", "model", "queue", "total_tokens", "wait_ms", "outcome"];

interface Options extends StoreOptions {
	readonly requests?: boolean;
	readonly by?: string;
	readonly account?: string;
	readonly token?: string;
	readonly model?: string;
	readonly since?: string;
	readonly until?: string;
	readonly csv?: boolean;
}

type Filter = Readonly<Record<string, string | undefined>>;

export function usageCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("usage"))
		.description("what was used: sums, or with --requests a row per settled request")
		.option("--requests", "one row per settled request, newest first")
		.option("--by <groups>", "account, token, organisation, team, model, environment, day, outcome (comma-separated)")
		.option("--account <id>", "of this account only")
		.option("--token <id>", "of this token only")
		.option("--model <name>", "of this model only")
		.option("--since <time>", "settled at or after, such as 2027-01-31")
		.option("--until <time>", "settled before")
		.option("--csv", "print as CSV")
		.addHelpText(
			"after",
			`
Examples:
  tokligence usage --by account,day
  tokligence usage --requests --since 2027-01-31 --json
  tokligence usage --by model --csv > usage.csv

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
		)
		.action((options: Options) =>
			withAdmin(options, io, (client) => {
				const filter: Filter = {
					account_id: options.account,
					token_id: options.token,
					model: options.model,
					since: options.since,
					until: options.until,
				};
				return options.requests === true
					? printRequests(client, filter, options, io)
					: printSums(client, { group_by: options.by, ...filter }, options, io);
			}),
		);
}

async function printSums(client: AdminClient, query: Filter, options: Options, io: CommandIo): Promise<void> {
	if (options.csv === true) {
		io.out((await callText(client, `/usage${queryOf({ ...query, format: "csv" })}`)).trimEnd());
		return;
	}
	const { usage } = await callJson<{ readonly usage: readonly Item[] }>(client, "GET", `/usage${queryOf(query)}`);
	if (options.json === true) {
		io.out(listJson("usage", usage));
		return;
	}
	const groups = (options.by ?? "").split(",").filter((group) => group !== "");
	io.out(table([...groups.map((group) => GROUP_FIELDS[group] ?? group), ...SUM_COLUMNS], usage));
}

/** Page by page, so that a ledger of any size fits. */
async function printRequests(client: AdminClient, filter: Filter, options: Options, io: CommandIo): Promise<void> {
	if (options.csv === true) {
		io.out((await callText(client, `/usage/requests${queryOf({ ...filter, format: "csv" })}`)).trimEnd());
		return;
	}
	if (options.json === true) io.out('{"requests":[');
	let count = 0;
	for await (const page of pagesOf<Listed & { readonly requests: readonly Item[] }>(
		client,
		"/usage/requests",
		filter,
	)) {
		count += page.count;
		const last = page.next_cursor === null;
		if (options.json !== true) io.out(table(ROW_COLUMNS, page.requests));
		else if (page.count > 0) io.out(page.requests.map((row) => JSON.stringify(row)).join(",\n") + (last ? "" : ","));
	}
	if (options.json === true) io.out(`],"count":${count},"next_cursor":null}`);
}
