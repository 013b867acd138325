/**
 * `tokligence bucket-scheduler visualize`: ceilings, guarantees and tier mappings of a configuration, or with `--live` what runs and waits in a
 * running gateway; in the terminal, as SVG or as JSON.
 */
import { writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { type AdminClient, callJson, queryOf } from "./admin-client.ts";
import { positive, reportingUserErrors, UserError } from "./capacity-proposal.ts";
import { chartAsJson, chartsOf } from "./chart-data.ts";
import { type LiveStatus, liveView } from "./chart-live.ts";
import { chartSvg } from "./chart-svg.ts";
import { chartText } from "./chart-text.ts";
import { type ChartView, chartView } from "./chart-view.ts";
import { type CommandIo, EXIT_FAILURE, loadOrReport, processIo } from "./config-options.ts";
import { poolStatuses, promisesNow, promisesText } from "./live-view.ts";
import { type StoreOptions, withAdmin, withStoreOptions } from "./store-access.ts";

const EXAMPLES = `
Examples:
  tokligence bucket-scheduler visualize --config gateway.ini
  tokligence bucket-scheduler visualize --config gateway.ini --svg buckets.svg
  tokligence bucket-scheduler visualize --set allocator.bucket.bucket_count=20 --json
  tokligence bucket-scheduler visualize --live
  tokligence bucket-scheduler visualize --live --pool default --json

--live draws anew every --interval seconds in a terminal until Ctrl-C, and once in a pipe, with --json or with --svg. Its JSON is that of
GET /v1/admin/scheduler/status. With allocator = weighted_router both allocators are shown, each with its share; a drawing has the buckets.

Exit status: 0, 78 when the configuration cannot be used, 1 when a file cannot be written or no gateway runs.`;

interface VisualizeOptions extends StoreOptions {
	readonly svg?: string;
	readonly live?: boolean;
	readonly pool?: string;
	readonly interval: number;
}

export interface VisualizeParts {
	/** Whether `--live` draws anew. */
	readonly isTerminal: boolean;
	/** Resolves after a time, or with false when the reader has had enough. */
	readonly pause: (ms: number) => Promise<boolean>;
}

export function visualizeCommand(io: CommandIo = processIo(), parts: VisualizeParts = terminalParts()): Command {
	return withStoreOptions(new Command("visualize"))
		.description("show what every bucket (or priority level) may have, what it is assured, and who arrives there")
		.option("--svg <file>", "write a drawing instead (an existing file is replaced)")
		.option("--live", "what runs and waits in the running gateway instead")
		.option("--pool <name>", "with --live: of this pool")
		.addOption(new Option("--interval <seconds>", "with --live: between two drawings").argParser(positive).default(2))
		.addHelpText("after", EXAMPLES)
		.action((options: VisualizeOptions) =>
			reportingUserErrors(io, EXIT_FAILURE, () =>
				options.live === true
					? withAdmin(options, io, (client) => drawLive(client, options, io, parts), { gatewayOnly: true })
					: drawConfig(options, io),
			),
		);
}

function drawConfig(options: VisualizeOptions, io: CommandIo): void {
	const loaded = loadOrReport(options, io);
	if (loaded === undefined) return;
	const charts = chartsOf(loaded.config);
	const json = charts.map(chartAsJson);
	draw(
		charts.map(chartView),
		json.length === 1 ? json[0] : { allocator: "weighted_router", halves: json },
		options,
		io,
	);
}

async function drawLive(
	client: AdminClient,
	options: VisualizeOptions,
	io: CommandIo,
	{ isTerminal, pause }: VisualizeParts,
): Promise<void> {
	const again = isTerminal && options.json !== true && options.svg === undefined;
	do {
		const status = await callJson<LiveStatus>(client, "GET", `/scheduler/status${queryOf({ pool: options.pool })}`);
		const promises = options.json === true ? undefined : promisesText(await promisesNow(client));
		if (again) io.out("\u001b[2J\u001b[H");
		// The other half of the same pool is a part of the picture.
		const others =
			status.router === undefined || options.pool !== undefined || options.json === true
				? []
				: (await poolStatuses(client, undefined)).slice(1);
		const sentences = promises?.split("\n");
		const views = [status, ...others];
		// What the whole gateway promised stands once, at the end.
		draw(
			views.map((one, index) => liveView(one, index === views.length - 1 ? sentences : [])),
			status,
			options,
			io,
		);
	} while (again && (await pause(options.interval * 1000)));
}

/** A drawing has one chart: with two, that of the buckets. */
function draw(
	views: readonly ChartView[],
	json: unknown,
	{ svg, json: asJson }: VisualizeOptions,
	io: CommandIo,
): void {
	if (svg !== undefined) {
		try {
			writeFileSync(svg, chartSvg(views.at(-1)!));
		} catch (error) {
			throw new UserError(`${svg}: cannot be written: ${(error as NodeJS.ErrnoException).code ?? error}`);
		}
	}
	if (asJson === true) io.out(JSON.stringify(json, undefined, 2));
	else io.out(svg === undefined ? views.map(chartText).join("\n\n") : `${svg} is written`);
}

/** Ctrl-C ends the drawing, not the process in the middle of it: once there is a drawing, also while the next one is fetched. */
function terminalParts(): VisualizeParts {
	let left = false;
	let listens = false;
	let wake = () => {};
	const leave = () => {
		left = true;
		wake();
	};
	return {
		isTerminal: process.stdout.isTTY === true,
		pause: (ms) => {
			if (!listens) process.once("SIGINT", leave);
			listens = true;
			return new Promise((resolve) => {
				if (left) return resolve(false);
				const timer = setTimeout(() => resolve(true), ms);
				wake = () => {
					clearTimeout(timer);
					resolve(false);
				};
			});
		},
	};
}
