/** `tokligence tail`: what the running gateway decides and how requests end, as it happens. */
import { Command, Option } from "commander";
import { type AdminClient, callJson, queryOf } from "./admin-client.ts";
import { wholeNumber } from "./capacity-proposal.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import { durationText } from "./live-view.ts";
import { cell, type Item, type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

const WAIT_SEC = 20;
const PAGE = 1000;

interface Options extends StoreOptions {
	readonly pool?: string;
	readonly queue?: string;
	readonly account?: string;
	readonly request?: string;
	readonly event?: string;
	readonly ends?: boolean;
	readonly lines: number;
	readonly follow: boolean;
}

interface Listed {
	readonly decisions: readonly Item[];
	readonly latest_sequence: number;
}

export interface TailControl {
	/** Whether to go on; asked before each question to the gateway. */
	goesOn(): boolean;
}

export function tailCommand(io: CommandIo = processIo(), control: TailControl = { goesOn: () => true }): Command {
	return withStoreOptions(new Command("tail"))
		.description("follow decisions and ends of requests as they happen")
		.option("--ends", "only how requests ended")
		.addOption(
			new Option("--event <kind>", "only these").choices([
				"dispatch",
				"wait",
				"shed",
				"evict",
				"preempt",
				"requeue",
				"end",
			]),
		)
		.option("--pool <name>", "only of this pool")
		.option("--queue <label>", "only of this queue, like P0 or B3")
		.option("--account <id>", "only of this account")
		.option("--request <id>", "only of this request")
		.addOption(
			new Option("-n, --lines <n>", "how many past ones to begin with").argParser(wholeNumber(0, PAGE)).default(10),
		)
		.option("--no-follow", "print the past ones and end")
		.addHelpText(
			"after",
			`
Examples:
  tokligence tail
  tokligence tail --ends --account acme
  tokligence tail --event evict --json
  tokligence tail --request req_… --no-follow

With --json a line per event. Ctrl-C ends it.
Exit status: 0, 1 when no gateway runs or it stops answering, 78 for a wrong configuration.`,
		)
		.action((options: Options) =>
			withAdmin(options, io, (client) => follow(client, options, io, control), { gatewayOnly: true }),
		);
}

async function follow(client: AdminClient, options: Options, io: CommandIo, control: TailControl): Promise<void> {
	const filters = {
		event: options.ends === true ? "end" : options.event,
		pool: options.pool,
		queue: options.queue,
		account_id: options.account,
		request_id: options.request,
	};
	const print = (event: Item) => io.out(options.json === true ? JSON.stringify(event) : eventLine(event));
	const past = await callJson<Listed>(
		client,
		"GET",
		`/decisions${queryOf({ ...filters, limit: Math.max(1, options.lines) })}`,
	);
	if (options.lines > 0) for (const event of past.decisions.toReversed()) print(event);
	let after = past.latest_sequence;
	while (options.follow && control.goesOn()) {
		const query = queryOf({ ...filters, after, wait_sec: WAIT_SEC, limit: PAGE });
		const { decisions, latest_sequence } = await callJson<Listed>(client, "GET", `/decisions${query}`);
		for (const event of decisions) print(event);
		// A full page may have left newer ones behind.
		after = decisions.length === PAGE ? Number(decisions.at(-1)!["sequence"]) : latest_sequence;
	}
}

function eventLine(event: Item): string {
	const text = (field: string) => cell(event[field]);
	const kind = String(event["event"]);
	const payer = event["payer"] === undefined ? "" : ` on ${text("payer")}`;
	return [
		String(event["at"]).slice(11, 23),
		text("request_id"),
		kind.padEnd(8),
		`${text("queue")}${payer}`.padEnd(3),
		text("account_id"),
		text("model"),
		kind === "end" ? endText(event) : decisionText(event),
	].join("  ");
}

function decisionText(event: Item): string {
	const reason = event["reason"] === undefined ? [] : [cell(event["reason"])];
	const place = event["position"] === undefined ? [] : [`place ${event["position"]}`];
	const waited = Number(event["wait_ms"]);
	return [...reason, ...place, ...(waited > 0 ? [`waited ${durationText(waited)}`] : [])].join(", ");
}

function endText(event: Item): string {
	const { outcome, code, prompt_tokens, completion_tokens, ttft_ms, duration_ms, wait_ms } = event;
	return [
		code === undefined ? cell(outcome) : `${cell(outcome)} (${cell(code)})`,
		...(prompt_tokens === undefined ? [] : [`${prompt_tokens} + ${completion_tokens} tokens`]),
		`waited ${durationText(Number(wait_ms))}`,
		...(ttft_ms === undefined ? [] : [`first token ${durationText(Number(ttft_ms))}`]),
		`took ${durationText(Number(duration_ms))}`,
	].join(", ");
}
