/** `tokligence window`: list, show, create, update, delete; `tokligence windows --at`: which hold then and what they change. */
import { Command } from "commander";
import { AdminCallError, callJson, queryOf } from "./admin-client.ts";
import { type CommandIo, processIo } from "./config-options.ts";
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
	{ flag: "name", field: "name", kind: "text", doc: "unique name" },
	{ flag: "timezone", field: "timezone", kind: "text", doc: "IANA name, such as Europe/Berlin (UTC)" },
	{ flag: "order", field: "order", kind: "number", doc: "of windows that overlap the lowest wins an override" },
	{ flag: "enabled", field: "enabled", kind: "truth", doc: "true or false" },
];
const COLUMNS = ["id", "name", "schedule_expr", "duration", "timezone", "order", "enabled", "state", "changes"];
const DURATION = /^(\d+)(s|m|h|d)?$/;
const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 };

interface WindowOptions extends StoreOptions {
	readonly cron?: string;
	readonly once?: string;
	readonly duration?: string;
	readonly adjust?: readonly string[];
}

type Options = WindowOptions & Readonly<Record<string, unknown>>;

export function windowCommand(io: CommandIo = processIo()): Command {
	const path = (id: string) => `/time-windows/${encodeURIComponent(id)}`;
	const print = (options: Options, item: Item, text: string) =>
		io.out(options.json === true ? JSON.stringify(item) : text);
	const withWindowFlags = (command: Command) =>
		withFieldFlags(withStoreOptions(command), FIELDS)
			.option("--cron <expression>", "minute hour day-of-month month day-of-week, in the zone")
			.option("--once <instant>", "2026-11-27T09:00:00+01:00, or a local time of the zone")
			.option("--duration <time>", "how long it holds from each start: 90m, 8h, 2d")
			.option(
				"--adjust <rule>",
				"TARGET:ADJUSTMENT=VALUE[,…], such as tier=spot:priority_delta=-1 or all:capacity_multiplier=0.5; repeatable",
				(rule: string, before: readonly string[] = []) => [...before, rule],
			);

	const list = withStoreOptions(new Command("list"))
		.description("list time windows, and whether they hold now")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const windows = await allItems(client, "/time-windows", "windows");
				io.out(options.json === true ? listJson("windows", windows) : table(COLUMNS, windows.map(shownRow)));
			}),
		);
	const show = withStoreOptions(new Command("show"))
		.description("show a time window")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const window = await callJson<Item>(client, "GET", path(id));
				print(options, window, fieldLines(window));
			}),
		);
	const create = withWindowFlags(new Command("create"))
		.description("create a time window")
		.action((options: Options) =>
			withAdmin(options, io, async (client) => {
				const made = await callJson<Item>(client, "POST", "/time-windows", bodyOf(options));
				print(options, made, `${made["window_id"]}: ${made["message"]}`);
			}),
		);
	const update = withWindowFlags(new Command("update"))
		.description("change fields of a time window; --adjust replaces all of its rules")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const body = bodyOf(options);
				if (Object.keys(body).length === 0) throw new AdminCallError("nothing to change: name a field, such as --cron");
				const window = await callJson<Item>(client, "PATCH", path(id), body);
				print(options, window, fieldLines(window));
			}),
		);
	const remove = withStoreOptions(new Command("delete"))
		.description("delete a time window: it holds no longer")
		.argument("<id>")
		.action((id: string, options: Options) =>
			withAdmin(options, io, async (client) => {
				const removed = await callJson<Item>(client, "DELETE", path(id));
				print(options, removed, String(removed["message"]));
			}),
		);
	const command = new Command("window").description("manage time windows: changes of policy by calendar");
	for (const each of [list, show, create, update, remove]) command.addCommand(each);
	return command.addHelpText(
		"after",
		`
Targets: all, tier=T, environment=E, workload=W, account_tier=A, account=ID.
Adjustments: priority_override, priority_delta, bucket_shift, weight_multiplier, quota_multiplier, capacity_multiplier, queue_timeout_multiplier,
max_queue_depth_multiplier, cost_multiplier.

Examples:
  tokligence window create --name Night --cron "0 22 * * *" --duration 8h --timezone Europe/Berlin --adjust workload=batch:priority_delta=-2
  tokligence window create --name "Black Friday" --once 2026-11-27T00:00 --duration 1d --timezone America/New_York --adjust environment=production:priority_override=0
  tokligence window update window_1 --enabled false
  tokligence windows --at 2026-11-27T09:00+01:00

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
	);
}

export function windowsCommand(io: CommandIo = processIo()): Command {
	return withStoreOptions(new Command("windows"))
		.description("which time windows hold at an instant, and what they change")
		.option("--at <instant>", "such as 2026-11-27T09:00+01:00 (now)")
		.action((options: StoreOptions & { readonly at?: string }) =>
			withAdmin(options, io, async (client) => {
				const query = queryOf({ at: options.at });
				const found = await callJson<Preview>(client, "GET", `/time-windows/preview${query}`);
				if (options.json === true) {
					io.out(JSON.stringify(found));
					return;
				}
				const next =
					found.next_change === null ? "nothing changes after it" : `the next change is at ${found.next_change}`;
				const windows =
					found.windows.length === 0
						? "no time window holds"
						: table(["name", "order", "active_since", "active_until", "changes"], found.windows.map(shownRow));
				io.out(`at ${found.at}\n${windows}\n${next}`);
			}),
		)
		.addHelpText(
			"after",
			`
Examples:
  tokligence windows
  tokligence windows --at 2026-11-27T09:00+01:00 --json

Exit status: 0, 1 when it is refused, 78 for a wrong configuration.`,
		);
}

interface Preview extends Item {
	readonly at: string;
	readonly windows: readonly Item[];
	readonly next_change: string | null;
}

function bodyOf(options: Options): Record<string, unknown> {
	const body = fieldsOf(FIELDS, options);
	if (options.cron !== undefined && options.once !== undefined) {
		throw new AdminCallError("--cron and --once exclude each other");
	}
	const expression = options.cron ?? options.once;
	if (expression !== undefined) {
		body["schedule_type"] = options.cron === undefined ? "one_time" : "cron";
		body["schedule_expr"] = expression;
	}
	if (options.duration !== undefined) body["duration_sec"] = secondsOf(options.duration);
	if (options.adjust !== undefined) body["rules"] = options.adjust.map(ruleOf);
	return body;
}

function secondsOf(text: string): number | string {
	const parts = DURATION.exec(text.trim());
	return parts === null ? text : Number(parts[1]) * SECONDS[(parts[2] ?? "s") as keyof typeof SECONDS];
}

/** `tier=spot:priority_delta=-1,quota_multiplier=2`. */
function ruleOf(text: string): object {
	const colon = text.indexOf(":");
	if (colon < 0) throw new AdminCallError(`--adjust "${text}" has no target: write tier=spot:priority_delta=-1`);
	const [targetType, targetValue] = halves(text.slice(0, colon));
	const adjustments = text
		.slice(colon + 1)
		.split(",")
		.map((part): [string, unknown] => {
			const [field, value] = halves(part);
			return [field, value === undefined ? value : numberOrText(value)];
		});
	return {
		target_type: targetType,
		...(targetValue === undefined ? {} : { target_value: targetValue }),
		adjustments: Object.fromEntries(adjustments),
	};
}

function halves(text: string): [string, string | undefined] {
	const equals = text.indexOf("=");
	return equals < 0 ? [text.trim(), undefined] : [text.slice(0, equals).trim(), text.slice(equals + 1).trim()];
}

interface ShownRule {
	readonly target_type: string;
	readonly target_value: string | null;
	readonly adjustments: Readonly<Record<string, number>>;
}

function shownRow(window: Item): Item {
	const rules = window["rules"] as readonly ShownRule[];
	const state =
		window["active"] === true
			? `until ${window["active_until"]}`
			: window["next_start"] === null
				? "over"
				: `from ${window["next_start"]}`;
	return {
		...window,
		duration: durationText(window["duration_sec"] as number),
		state: window["enabled"] === true ? state : "disabled",
		changes: rules.map(ruleText).join("; "),
	};
}

function ruleText({ target_type, target_value, adjustments }: ShownRule): string {
	const target = target_value === null ? target_type : `${target_type}=${target_value}`;
	return `${target}:${Object.entries(adjustments)
		.map(([field, value]) => `${field}=${value}`)
		.join(",")}`;
}

function durationText(seconds: number): string {
	if (seconds % 3600 === 0) return `${seconds / 3600}h`;
	return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
}
