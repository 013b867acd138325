/** `tokligence bucket-scheduler visualize`: ceilings, guarantees and tier mappings of a configuration in the terminal, as SVG or as JSON. */
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { reportingUserErrors, UserError } from "./capacity-proposal.ts";
import { chartAsJson, chartData } from "./chart-data.ts";
import { chartSvg } from "./chart-svg.ts";
import { chartText } from "./chart-text.ts";
import {
	type CommandIo,
	type ConfigOptions,
	EXIT_FAILURE,
	loadOrReport,
	processIo,
	withConfigOptions,
} from "./config-options.ts";

const EXAMPLES = `
Examples:
  tokligence bucket-scheduler visualize --config gateway.ini
  tokligence bucket-scheduler visualize --config gateway.ini --svg buckets.svg
  tokligence bucket-scheduler visualize --set allocator.bucket.bucket_count=20 --json

Exit status: 0, 78 when the configuration cannot be used, 1 when a file cannot be written.`;

interface VisualizeOptions extends ConfigOptions {
	readonly svg?: string;
	readonly json?: boolean;
}

export function visualizeCommand(io: CommandIo = processIo()): Command {
	return withConfigOptions(new Command("visualize"))
		.description("show what every bucket (or priority level) may have, what it is assured, and who arrives there")
		.option("--svg <file>", "write a drawing instead (an existing file is replaced)")
		.option("--json", "print as JSON")
		.addHelpText("after", EXAMPLES)
		.action((options: VisualizeOptions) => reportingUserErrors(io, EXIT_FAILURE, () => visualize(options, io)));
}

function visualize(options: VisualizeOptions, io: CommandIo): void {
	const loaded = loadOrReport(options, io);
	if (loaded === undefined) return;
	const data = chartData(loaded.config);
	if (options.svg !== undefined) {
		try {
			writeFileSync(options.svg, chartSvg(data));
		} catch (error) {
			throw new UserError(`${options.svg}: cannot be written: ${(error as NodeJS.ErrnoException).code ?? error}`);
		}
	}
	if (options.json === true) io.out(JSON.stringify(chartAsJson(data), undefined, 2));
	else io.out(options.svg === undefined ? chartText(data) : `${options.svg} is written`);
}
