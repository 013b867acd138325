/** `tokligence rule`: list, create, get, update, delete, test. */
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

const MATCHES = ["tier", "environment", "account-type", "account-tier", "workload", "model", "tag"];

const FIELDS: readonly FieldFlag[] = [
	{ flag: "name", field: "rule_name", kind: "text", doc: "unique name" },
	{ flag: "description", field: "description", kind: "text", doc: "what it is for" },
	{ flag: "order", field: "priority_order", kind: "number", doc: "lower ones are tried first" },
	...MATCHES.map(
		(name): FieldFlag => ({
			flag: `match-${name}`,
			field: `match_${name.replaceAll("-", "_")}`,
			kind: "list",
			doc: `${name.replaceAll("-", " ")}, or several of them`,
		}),
	),
	{ flag: "assign-priority", field: "assign_priority", kind: "number", doc: "level" },
	{ flag: "assign-weight", field: "assign_weight", kind: "number", doc: "weight of the flow inside its queue" },
	{
		flag: "assign-priority-in-range",
		field: "assign_priority_in_range",
		kind: "number",
		doc: "0 to 1, place inside the group's buckets",
	},
	{ flag: "assign-queue", field: "assign_queue", kind: "text", doc: "bucket:N or group:NAME" },
	{ flag: "max-tps", field: "max_tps", kind: "number", doc: "tokens per second" },
	{ flag: "max-qps", field: "max_qps", kind: "number", doc: "requests per second" },
	{ flag: "max-queue-depth", field: "max_queue_depth", kind: "number", doc: "requests of this rule that may wait" },
	{ flag: "queue-timeout", field: "queue_timeout_sec", kind: "number", doc: "seconds" },
	{ flag: "quota-multiplier", field: "quota_multiplier", kind: "number", doc: "factor on quotas" },
	{ flag: "enabled", field: "enabled", kind: "truth", doc: "true or false" },
];
const SAMPLE: readonly FieldFlag[] = MATCHES.map((name) => ({
	flag: name,
	field: name.replaceAll("-", "_"),
	kind: "text",
	doc: `${name.replaceAll("-", " ")} of the request`,
}));
const COLUMNS = [
	"priority_order",
	"id",
	"rule_name",
	"match",
	"assign_priority",
	"assign_weight",
	"max_queue_depth",
	"queue_timeout_sec",
	"enabled",
];

type Options = StoreOptions & Readonly<Record<string, unknown>>;

export function ruleCommand(io: CommandIo = processIo()): Command {
	const path = (id: string) => `/routing-rules/${encodeURIComponent(id)}`;
	const print = (options: Options, item: Item, text: string) =>
		io.out(options.json === true ? JSON.stringify(item) : text);

	const list = withStoreOptions(new Command("list"))
		.description("list rules, in the order in which they are tried")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const rules = await allItems(client, "/routing-rules", "rules");
				const shown = rules.map((rule) => ({ ...rule, match: matchText(rule) }));
				io.out(options.json === true ? listJson("rules", rules) : table(COLUMNS, shown));
			}),
		);
	const get = withStoreOptions(new Command("get"))
		.description("show a rule")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const rule = await callJson<Item>(client, "GET", path(id));
				print(options, rule, fieldLines(rule));
			}),
		);
	const create = withFieldFlags(withStoreOptions(new Command("create")), FIELDS)
		.description("create a rule")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const created = await callJson<Item>(client, "POST", "/routing-rules", fieldsOf(FIELDS, options));
				print(options, created, `${created["rule_id"]}: ${created["message"]}`);
			}),
		);
	const update = withFieldFlags(withStoreOptions(new Command("update")), FIELDS)
		.description("change fields of a rule; the value none clears one")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const body = fieldsOf(FIELDS, options, true);
				if (Object.keys(body).length === 0)
					throw new AdminCallError("nothing to change: name a field, such as --max-tps");
				const rule = await callJson<Item>(client, "PATCH", path(id), body);
				print(options, rule, fieldLines(rule));
			}),
		);
	const remove = withStoreOptions(new Command("delete"))
		.description("delete a rule; one that matches everything must stay")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const removed = await callJson<Item>(client, "DELETE", path(id));
				print(options, removed, String(removed["message"]));
			}),
		);
	const test = withFieldFlags(withStoreOptions(new Command("test")), SAMPLE)
		.description("which rule takes a request, and why not those before it")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const body = fieldsOf(SAMPLE, options);
				const result = await callJson<TestAnswer>(client, "POST", "/routing-rules/test", body);
				const passed = result.passed_over.map(({ rule_name, because }) => `not ${rule_name}: ${because}`);
				print(
					options,
					{ ...result },
					[...passed, `takes it: ${result.rule["rule_name"]}`, "", fieldLines(result.rule)].join("\n"),
				);
			}),
		);
	const command = new Command("rule").description("manage routing rules");
	for (const each of [list, get, create, update, remove, test]) command.addCommand(each);
	return command.addHelpText(
		"after",
		`
Examples:
  tokligence rule list
  tokligence rule create --name "Night batch" --order 7 --match-tag nightly --assign-priority 4 --max-tps 500
  tokligence rule update rule_1 --max-tps none
  tokligence rule test --tier internal --environment staging

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
	);
}

interface TestAnswer {
	readonly rule: Item;
	readonly passed_over: readonly { readonly rule_name: string; readonly because: string }[];
}

function matchText(rule: Item): string {
	const parts = MATCHES.flatMap((name) => {
		const value = rule[`match_${name.replaceAll("-", "_")}`];
		if (value === null || value === undefined) return [];
		return [`${name}=${Array.isArray(value) ? value.join("|") : value}`];
	});
	return parts.length === 0 ? "anything" : parts.join(" ");
}
