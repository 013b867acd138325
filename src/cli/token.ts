/**
 * `tokligence token`: create, list, get, usage, revoke, rotate, import, hash. A token's text is printed by create and rotate and read, for `hash`,
 * from the standard input: never from an argument, which the process list would show.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { AdminCallError, callJson, queryOf } from "./admin-client.ts";
import { type CommandIo, EXIT_FAILURE, processIo } from "./config-options.ts";
import { type FieldFlag, fieldsOf, withFieldFlags } from "./flags.ts";
import {
	allItems,
	fieldLines,
	type Item,
	listJson,
	numberOrText,
	type StoreOptions,
	table,
	withAdmin,
	withStoreOptions,
} from "./store-access.ts";

const FIELDS: readonly FieldFlag[] = [
	{ flag: "account", field: "account_id", kind: "text", doc: "id of its account" },
	{
		flag: "tier",
		field: "priority_tier",
		kind: "text",
		doc: "internal, external, premium, spot, or a word of your rules",
	},
	{ flag: "environment", field: "environment", kind: "text", doc: "production, staging, dev, …" },
	{
		flag: "workload",
		field: "workload_tag",
		kind: "text",
		doc: "realtime, batch, interactive, or a tag of your rules",
	},
	{ flag: "name", field: "name", kind: "text", doc: "name for people" },
	{ flag: "description", field: "description", kind: "text", doc: "what it is for" },
	{ flag: "expires-at", field: "expires_at", kind: "text", doc: "date or instant, such as 2027-01-31" },
	{ flag: "quota-tokens-per-month", field: "quota_tokens_per_month", kind: "number", doc: "tokens per month" },
	{ flag: "quota-tps-limit", field: "quota_tps_limit", kind: "number", doc: "tokens per second" },
	{ flag: "priority-override", field: "priority_override", kind: "number", doc: "level, whatever the rules say" },
	{ flag: "weight-override", field: "weight_override", kind: "number", doc: "weight, whatever the rules say" },
	{ flag: "max-priority", field: "max_priority", kind: "number", doc: "best level that its hints may ask for" },
	{ flag: "may-use-critical", field: "may_use_critical", kind: "switch", doc: "may send X-Request-Class: critical" },
	{ flag: "allowed-models", field: "allowed_models", kind: "list", doc: "models it may use; * stands for any text" },
	{ flag: "max-parallel-requests", field: "max_parallel_requests", kind: "number", doc: "requests at once" },
];
const COLUMNS = [
	"id",
	"token_prefix",
	"account_id",
	"priority_tier",
	"environment",
	"name",
	"status",
	"total_requests",
];

type Options = StoreOptions & Readonly<Record<string, unknown>>;

export interface TokenCommandInput {
	/** All of the standard input. */
	readonly readInput: () => Promise<string>;
}

export function tokenCommand(io: CommandIo = processIo(), input: TokenCommandInput = { readInput }): Command {
	const path = (id: string) => `/tokens/${encodeURIComponent(id)}`;
	const print = (options: Options, item: Item, text: string) =>
		io.out(options.json === true ? JSON.stringify(item) : text);

	const create = withFieldFlags(withStoreOptions(new Command("create")), FIELDS)
		.description("create a token; it is shown once")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const issued = await callJson<Item>(client, "POST", "/tokens", fieldsOf(FIELDS, options));
				print(
					options,
					issued,
					`${fieldLines({ token_id: issued["token_id"], token: issued["token"] })}\n\n${issued["message"]}`,
				);
			}),
		);
	const list = withStoreOptions(new Command("list"))
		.description("list tokens")
		.option("--account <id>", "of this account only")
		.option("--status <status>", "active, revoked or expired")
		.action((options: Options & { readonly account?: string; readonly status?: string }) =>
			withAdmin(options, io, async (client) => {
				const query = { account_id: options.account, status: options.status };
				const tokens = await allItems(client, "/tokens", "tokens", query);
				io.out(options.json === true ? listJson("tokens", tokens) : table(COLUMNS, tokens));
			}),
		);
	const get = withStoreOptions(new Command("get"))
		.description("show a token and what it used this month")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const token = await callJson<Item>(client, "GET", path(id));
				const usage = await callJson<Item>(client, "GET", `${path(id)}/usage`);
				print(options, { ...token, usage }, `${fieldLines(token)}\n\n${fieldLines(usage)}`);
			}),
		);
	const revoke = withStoreOptions(new Command("revoke"))
		.description("revoke a token; it is refused at once")
		.argument("<id>")
		.option("--reason <text>", "for the record")
		.action((id: string, options: Options & { readonly reason?: string }) =>
			withAdmin(options, io, async (client) => {
				const body = options.reason === undefined ? undefined : { reason: options.reason };
				const revoked = await callJson<Item>(client, "DELETE", path(id), body);
				print(options, revoked, `token ${id} is revoked`);
			}),
		);
	const rotate = withStoreOptions(new Command("rotate"))
		.description("replace a token by a new one with the same rights")
		.argument("<id>")
		.option("--grace <time>", "how long the old one is still good: 90 (seconds), 30m, 24h", "0")
		.action((id: string, options: Options & { readonly grace: string }) =>
			withAdmin(options, io, async (client) => {
				const body = { grace_period: numberOrText(options.grace) };
				const issued = await callJson<Item>(client, "POST", `${path(id)}/rotate`, body);
				const { token_id, token, replaced_ends_at } = issued;
				print(options, issued, `${fieldLines({ token_id, token, replaced_ends_at })}\n\n${issued["message"]}`);
			}),
		);
	const usage = withStoreOptions(new Command("usage"))
		.description("what a token used this month (UTC), or in another period")
		.argument("<id>")
		.option("--since <time>", "date or instant")
		.option("--until <time>", "date or instant")
		.action((id: string, options: Options & { readonly since?: string; readonly until?: string }) =>
			withAdmin(options, io, async (client) => {
				const query = queryOf({ since: options.since, until: options.until });
				const used = await callJson<Item>(client, "GET", `${path(id)}/usage${query}`);
				print(options, used, fieldLines(used));
			}),
		);
	const importKeys = withStoreOptions(new Command("import"))
		.description("take over existing keys by their SHA-256: sha256,account_id,tier,environment,workload,name")
		.argument("<file>", "CSV file; - reads the standard input")
		.action((file: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const text = file === "-" ? await input.readInput() : readFileSync(file, "utf8");
				const { parseTokenList } = await import("../app/local-admin.ts");
				const parsed = parseTokenList(text, file);
				if (!parsed.ok) throw new AdminCallError(`nothing was imported\n${parsed.errors.join("\n")}`);
				const tokens = parsed.rows.map(({ accountId, ...row }) => ({ ...row, account_id: accountId }));
				const summary = await callJson<Item>(client, "POST", "/tokens/import", { tokens });
				print(options, summary, String(summary["message"]));
			}),
		);
	const hash = new Command("hash")
		.description("print the line that imports a key; the key is read from the standard input")
		.requiredOption("--account <id>", "account that it will belong to")
		.requiredOption("--tier <tier>", "internal, external, premium, spot, or a word of your rules")
		.option("--environment <word>", "production, staging, dev, …", "")
		.option("--workload <word>", "realtime, batch or interactive", "")
		.option("--name <text>", "name for people", "")
		.option("--json", "print as JSON")
		.action(
			async (
				options: Readonly<Record<"account" | "tier" | "environment" | "workload" | "name", string>> & {
					readonly json?: boolean;
				},
			) => {
				const key = (await input.readInput()).replace(/\r?\n$/, "");
				if (key === "") {
					io.error('error: no key on the standard input: printf %s "$KEY" | tokligence token hash …');
					io.setExitCode(EXIT_FAILURE);
					return;
				}
				const sha256 = createHash("sha256").update(key).digest("hex");
				const { account, tier, environment, workload, name } = options;
				const quoted = /[",]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
				if (options.json === true)
					io.out(JSON.stringify({ sha256, account_id: account, tier, environment, workload, name }));
				else io.out([sha256, account, tier, environment, workload, quoted].join(","));
			},
		);
	const command = new Command("token").description("manage API tokens");
	for (const each of [create, list, get, usage, revoke, rotate, importKeys, hash]) command.addCommand(each);
	return command.addHelpText(
		"after",
		`
Examples:
  tokligence token create --account acct_1 --tier internal --environment production
  tokligence token list --account acct_1 --json
  tokligence token usage token_1 --since 2026-11-01
  tokligence token rotate token_1 --grace 24h
  tokligence token revoke token_1 --reason "left the company"
  printf %s "$KEY" | tokligence token hash --account acct_1 --tier external >> keys.csv
  tokligence token import keys.csv

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
	);
}

async function readInput(): Promise<string> {
	const chunks: Buffer[] = [];
	for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
	return Buffer.concat(chunks).toString("utf8");
}
