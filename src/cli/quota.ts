/** `tokligence quota`: list, show, create, update, delete, adjust. */
import { Command } from "commander";
import { AdminCallError, callJson } from "./admin-client.ts";
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

const TERMS: readonly FieldFlag[] = [
	{ flag: "type", field: "quota_type", kind: "text", doc: "hard, soft, reserved or burstable" },
	{ flag: "limit", field: "limit_value", kind: "number", doc: "tokens, dollars, requests or tokens per second" },
	{ flag: "reset-day", field: "reset_day", kind: "number", doc: "day of the month on which a month begins" },
	{ flag: "timezone", field: "timezone", kind: "text", doc: "IANA name, such as Europe/Berlin" },
	{ flag: "allow-borrow", field: "allow_borrow", kind: "truth", doc: "true or false; of a burstable quota" },
	{ flag: "max-borrow-pct", field: "max_borrow_pct", kind: "number", doc: "0 to 50; of a burstable quota" },
	{ flag: "lend", field: "lend", kind: "truth", doc: "true or false; whether others may use an unused assured rate" },
];
const CREATE: readonly FieldFlag[] = [
	{ flag: "account", field: "account_id", kind: "text", doc: "account, or any account of the organisation or team" },
	{ flag: "node", field: "node", kind: "text", doc: "organisation, team, account, environment or token (account)" },
	{ flag: "token", field: "token_id", kind: "text", doc: "token that is limited" },
	{ flag: "environment", field: "environment", kind: "text", doc: "count only what is used in this environment" },
	{
		flag: "dimension",
		field: "limit_dimension",
		kind: "text",
		doc: "tokens_per_month, tokens_per_day, usd_per_month, usd_per_day, requests_per_day or tps",
	},
	...TERMS,
];
const ADJUST: readonly FieldFlag[] = [
	{ flag: "tokens", field: "delta_tokens", kind: "number", doc: "tokens to add; less than 0 takes away" },
	{ flag: "usd", field: "delta_usd", kind: "number", doc: "dollars to add" },
	{ flag: "requests", field: "delta_requests", kind: "number", doc: "requests to add" },
	{ flag: "quota", field: "quota_id", kind: "text", doc: "which quota, when the account has several" },
	{ flag: "environment", field: "environment", kind: "text", doc: "the quota of this environment" },
	{ flag: "dimension", field: "limit_dimension", kind: "text", doc: "the quota of this dimension" },
	{ flag: "reason", field: "reason", kind: "text", doc: "why; it stands in the audit log" },
];
const COLUMNS = [
	"id",
	"node",
	"environment",
	"quota_type",
	"limit_dimension",
	"limit_value",
	"used_value",
	"usage_pct",
	"window_end",
];

type Options = StoreOptions & Readonly<Record<string, unknown>>;

export function quotaCommand(io: CommandIo = processIo()): Command {
	const path = (id: string) => `/quotas/${encodeURIComponent(id)}`;
	const print = (options: Options, item: Item, text: string) =>
		io.out(options.json === true ? JSON.stringify(item) : text);

	const list = withStoreOptions(new Command("list"))
		.description("list quotas and what is used of them")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const quotas = await allItems(client, "/quotas", "quotas");
				io.out(options.json === true ? listJson("quotas", quotas) : table(COLUMNS, quotas));
			}),
		);
	const show = withStoreOptions(new Command("show"))
		.description("everything that limits an account; budgets that come with its tokens among them")
		.argument("<account>")
		.action((account: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const found = await callJson<Item & { readonly quotas: readonly Item[] }>(client, "GET", path(account));
				print(options, found, found.quotas.length === 0 ? "nothing limits it" : table(COLUMNS, found.quotas));
			}),
		);
	const create = withFieldFlags(withStoreOptions(new Command("create")), CREATE)
		.description("create a quota")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const made = await callJson<Item>(client, "POST", "/quotas", fieldsOf(CREATE, options));
				print(options, made, `${made["quota_id"]}: ${made["message"]}`);
			}),
		);
	const update = withFieldFlags(withStoreOptions(new Command("update")), TERMS)
		.description("change the terms of a quota; the value none clears one")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const body = fieldsOf(TERMS, options, true);
				if (Object.keys(body).length === 0)
					throw new AdminCallError("nothing to change: name a field, such as --limit");
				const quota = await callJson<Item>(client, "PATCH", path(id), body);
				print(options, quota, fieldLines(quota));
			}),
		);
	const remove = withStoreOptions(new Command("delete"))
		.description("delete a quota: nothing is limited by it from now on")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const removed = await callJson<Item>(client, "DELETE", path(id));
				print(options, removed, String(removed["message"]));
			}),
		);
	const adjust = withFieldFlags(withStoreOptions(new Command("adjust")), ADJUST)
		.description("add to a budget of an account until its period ends")
		.argument("<account>")
		.action((account: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const quota = await callJson<Item>(client, "POST", `${path(account)}/adjust`, fieldsOf(ADJUST, options));
				print(options, quota, fieldLines(quota));
			}),
		);
	const command = new Command("quota").description("manage budgets");
	for (const each of [list, show, create, update, remove, adjust]) command.addCommand(each);
	return command.addHelpText(
		"after",
		`
Examples:
  tokligence quota create --account customer-1 --type hard --dimension tokens_per_month --limit 10000000
  tokligence quota create --account shop --node environment --environment staging --type soft --dimension usd_per_day --limit 25
  tokligence quota show customer-1
  tokligence quota adjust customer-1 --tokens 500000 --reason "launch week"

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
	);
}
