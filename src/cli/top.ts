/**
 * `tokligence top`: queues, capacity, what was promised and the busiest accounts of the running gateway, drawn again and again. Without a terminal it prints one view
 * and ends, as with `--once`; with `--json` a line per view.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Command, Option } from "commander";
import type { AdminClient } from "./admin-client.ts";
import { wholeNumber } from "./capacity-proposal.ts";
import { type CommandIo, processIo } from "./config-options.ts";
import {
	accountsText,
	busiestAccounts,
	type PoolStatus,
	type Promises,
	poolStatuses,
	poolText,
	promisesNow,
	promisesText,
} from "./live-view.ts";
import { type Item, type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

interface Options extends StoreOptions {
	readonly pool?: string;
	readonly once?: boolean;
	readonly interval: number;
	readonly accounts: number;
}

/** A terminal that can be drawn on; tests give their own. */
export interface Screen {
	readonly isTerminal: boolean;
	rows(): number;
	columns(): number;
	write(text: string): void;
	/** Resolves when the user wants to leave. */
	readonly left: Promise<void>;
	/** Gives the terminal back as it was. */
	restore(): void;
}

interface View {
	readonly at: number;
	readonly pools: readonly PoolStatus[];
	readonly accounts: readonly Item[];
	readonly promises: Promises;
}

const CLEAR = "\x1b[H\x1b[2J";
const HIDE_CURSOR = "\x1b[?25l";
const SHOW_CURSOR = "\x1b[?25h";
const QUIT_KEYS = new Set(["q", "Q", "\u0003", "\u001b"]);

export function topCommand(io: CommandIo = processIo(), screen: () => Screen = terminal): Command {
	return withStoreOptions(new Command("top"))
		.description(
			"live view of queues, capacity, guard, time windows, budgets nearly spent and the busiest accounts; q leaves",
		)
		.option("--pool <name>", "of this pool; otherwise of all")
		.option("--once", "print one view and end")
		.addOption(new Option("--interval <seconds>", "between views").argParser(wholeNumber(1, 3600)).default(2))
		.addOption(new Option("--accounts <n>", "how many accounts to show").argParser(wholeNumber(0, 100)).default(10))
		.addHelpText(
			"after",
			`
Examples:
  tokligence top
  tokligence top --pool default --interval 5
  tokligence top --once --json

Exit status: 0, 1 when no gateway runs or it stops answering, 78 for a wrong configuration.`,
		)
		.action((options: Options) =>
			withAdmin(options, io, (client) => run(client, options, io, screen()), { gatewayOnly: true }),
		);
}

async function run(client: AdminClient, options: Options, io: CommandIo, screen: Screen): Promise<void> {
	const once = options.once === true || (options.json !== true && !screen.isTerminal);
	const draws = options.json !== true && !once;
	let isOver = false;
	const left = screen.left.then(() => {
		isOver = true;
	});
	let before: View | undefined;
	try {
		if (draws) screen.write(HIDE_CURSOR);
		while (!isOver) {
			const view = await look(client, options);
			if (options.json === true) io.out(JSON.stringify({ ...view, at: new Date(view.at).toISOString() }));
			else if (once) io.out(viewText(view, undefined));
			else screen.write(CLEAR + fitted(viewText(view, before), screen.columns(), screen.rows()));
			if (once) return;
			before = view;
			await Promise.race([left, delay(options.interval * 1000, undefined, { ref: true })]);
		}
	} finally {
		if (draws) screen.write(`${SHOW_CURSOR}\n`);
		screen.restore();
	}
}

async function look(client: AdminClient, { pool, accounts }: Options): Promise<View> {
	const [pools, busiest, promises] = await Promise.all([
		poolStatuses(client, pool),
		accounts === 0 ? [] : busiestAccounts(client, pool, accounts),
		promisesNow(client),
	]);
	return { at: Date.now(), pools, accounts: busiest, promises };
}

function viewText(view: View, before: View | undefined): string {
	const seconds = before === undefined ? 0 : (view.at - before.at) / 1000;
	const pools = view.pools.map((status) => {
		const earlier = before?.pools.find(({ pool }) => pool === status.pool);
		return poolText(status, earlier === undefined ? undefined : { status: earlier, seconds });
	});
	return [...pools, promisesText(view.promises) ?? [], accountsText(view.accounts)].flat().join("\n\n");
}

/** Lines are cut at the edges: a screen that scrolls cannot be drawn over. */
function fitted(text: string, columns: number, rows: number): string {
	return text
		.split("\n")
		.slice(0, Math.max(1, rows - 1))
		.map((line) => line.slice(0, columns))
		.join("\r\n");
}

function terminal(): Screen {
	const { stdin, stdout } = process;
	const isTerminal = stdout.isTTY === true;
	let restore = () => {};
	const left = new Promise<void>((resolve) => {
		if (isTerminal && stdin.isTTY) {
			stdin.setRawMode(true);
			stdin.resume();
			stdin.on("data", (key: Buffer) => {
				if (QUIT_KEYS.has(key.toString())) resolve();
			});
			restore = () => {
				stdin.setRawMode(false);
				stdin.pause();
			};
		}
		for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
	});
	return {
		isTerminal,
		rows: () => stdout.rows ?? 24,
		columns: () => stdout.columns ?? 80,
		write: (text) => stdout.write(text),
		left,
		restore: () => restore(),
	};
}
