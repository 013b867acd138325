/** `tokligence account`: create, list, get, update, delete. */
import { Command } from "commander";
import { callJson } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { type FieldFlag, fieldsOf, withFieldFlags } from "./flags.ts";
import {
	allItems,
	fieldLines,
	type Item,
	listJson,
	type StoreOptions,
	table,
	withAdmin,
	withStoreOptions,
} from "./store-access.ts";

const FIELDS: readonly FieldFlag[] = [
	{ flag: "email", field: "email", kind: "text", doc: "address of who is responsible" },
	{ flag: "name", field: "name", kind: "text", doc: "name for people" },
	{ flag: "type", field: "account_type", kind: "text", doc: "internal or external" },
	{ flag: "tier", field: "account_tier", kind: "text", doc: "a word that your rules know" },
	{ flag: "organisation", field: "organisation", kind: "text", doc: "shares fairly as one with its other accounts" },
	{ flag: "team", field: "team", kind: "text", doc: "team for reports" },
	{ flag: "status", field: "status", kind: "text", doc: "active, suspended or deleted" },
];
const COLUMNS = ["id", "name", "email", "account_type", "account_tier", "organisation", "status"];

type Options = StoreOptions & Readonly<Record<string, unknown>>;

export function accountCommand(io: CommandIo = processIo()): Command {
	const create = withFieldFlags(withStoreOptions(new Command("create")), FIELDS)
		.description("create an account")
		.option("--id <id>", "a free string; made when absent")
		.action((options: Options & { readonly id?: string }) =>
			withAdmin(options, io, async (client) => {
				const body = { ...(options.id === undefined ? {} : { id: options.id }), ...fieldsOf(FIELDS, options) };
				const account = await callJson<Item>(client, "POST", "/accounts", body);
				io.out(options.json === true ? JSON.stringify(account) : `account ${account["id"]} was created`);
			}),
		);
	const list = withStoreOptions(new Command("list"))
		.description("list accounts")
		.option("--type <type>", "internal or external")
		.option("--status <status>", "active, suspended or deleted")
		.action((options: Options & { readonly type?: string; readonly status?: string }) =>
			withAdmin(options, io, async (client) => {
				const query = { account_type: options.type, status: options.status };
				const accounts = await allItems(client, "/accounts", "accounts", query);
				io.out(options.json === true ? listJson("accounts", accounts) : table(COLUMNS, accounts));
			}),
		);
	const get = withStoreOptions(new Command("get"))
		.description("show an account")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const account = await callJson<Item>(client, "GET", `/accounts/${encodeURIComponent(id)}`);
				io.out(options.json === true ? JSON.stringify(account) : fieldLines(account));
			}),
		);
	const update = withFieldFlags(withStoreOptions(new Command("update")), FIELDS)
		.description("change fields of an account; the value none clears one")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const body = fieldsOf(FIELDS, options, true);
				const account = await callJson<Item>(client, "PATCH", `/accounts/${encodeURIComponent(id)}`, body);
				io.out(options.json === true ? JSON.stringify(account) : fieldLines(account));
			}),
		);
	const remove = withStoreOptions(new Command("delete"))
		.description("delete an account: its tokens are refused, its ledger rows stay")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const account = await callJson<Item>(client, "DELETE", `/accounts/${encodeURIComponent(id)}`);
				io.out(options.json === true ? JSON.stringify(account) : `account ${account["id"]} is deleted`);
			}),
		);
	return new Command("account")
		.description("manage accounts")
		.addCommand(create)
		.addCommand(list)
		.addCommand(get)
		.addCommand(update)
		.addCommand(remove)
		.addHelpText(
			"after",
			`
Examples:
  tokligence account create --email ops@example.com --name Ops --type internal
  tokligence account list --json
  tokligence account update acct_1 --status suspended

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
		);
}
