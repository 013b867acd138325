/** The terminal face of `bucket-scheduler visualize`: plain characters, no colours, no cursor; the same in a pipe. */
import { figure } from "./capacity-proposal.ts";
import { barsOf, type ChartData, headline, numbersOf } from "./chart-data.ts";

/** Cells of the longest bar. */
const WIDTH = 32;

export function chartText(data: ChartData): string {
	const bars = barsOf(data);
	const labelWidth = Math.max(...data.queues.map(({ label }) => label.length));
	const notes = data.queues.map((queue) => numbersOf(data, queue, figure));
	const noteWidth = Math.max(...notes.map((note) => note.length));
	const lines = data.queues.map((queue, index) => {
		const bar = barText(bars[index]!);
		return `${queue.label.padEnd(labelWidth)} ${bar} ${notes[index]!.padEnd(noteWidth)}  ${queue.arrivals.join(", ")}`.trimEnd();
	});
	return [headline(data, figure), legend(data), "", ...lines, ...mappingLines(data, labelWidth)].join("\n");
}

function legend({ allocator }: ChartData): string {
	return allocator === "priority"
		? "█ weight; on the right the default rules that lead here"
		: "█ assured  ░ more while it lasts; on the right the groups that arrive here without a priority";
}

/** A bar of something is never shown as nothing. */
function barText({ full, most }: { readonly full: number; readonly most: number }): string {
	const cells = (part: number) => (part > 0 ? Math.max(1, Math.round(part * WIDTH)) : 0);
	const assured = cells(full);
	return `${"█".repeat(assured)}${"░".repeat(Math.max(0, cells(most) - assured))}`.padEnd(WIDTH);
}

/** One row per group over the buckets: `●` where it arrives, `─` where priorities move it. */
function mappingLines({ mappings, queues }: ChartData, labelWidth: number): readonly string[] {
	if (mappings.length === 0) return [];
	const width = Math.max(...mappings.map(({ group }) => group.length), labelWidth);
	const rows = mappings.map(({ group, first, last, defaultBucket, mode }) => {
		const cells = queues.map((_, bucket) => {
			if (bucket === defaultBucket) return "●";
			return first <= bucket && bucket <= last ? "─" : "·";
		});
		const range = first === last ? `B${first}` : `B${first}-B${last}`;
		return `${group.padEnd(width)} ${cells.join("")} ${range}, ${mode}`;
	});
	return ["", `tier mappings, best bucket on the left (● arrives, ─ reached with a priority)`, ...rows];
}
