/** The terminal face of `bucket-scheduler visualize`: plain characters, no colours, no cursor; the same in a pipe. */
import type { ChartView } from "./chart-view.ts";

/** Cells of the longest bar. */
const WIDTH = 32;

export function chartText(view: ChartView): string {
	const { headline, legend, rows } = view;
	const labelWidth = Math.max(...rows.map(({ label }) => label.length));
	const noteWidth = Math.max(...rows.map(({ note }) => note.length));
	const lines = rows.map((row) =>
		`${row.label.padEnd(labelWidth)} ${barText(row)} ${row.note.padEnd(noteWidth)}  ${row.side}`.trimEnd(),
	);
	const below = view.sentences.length === 0 ? [] : ["", ...view.sentences];
	return [headline, legend.text, "", ...lines, ...mappingLines(view, labelWidth), ...below].join("\n");
}

/** A bar of something is never shown as nothing. */
function barText({ full, most }: { readonly full: number; readonly most: number }): string {
	const cells = (part: number) => (part > 0 ? Math.max(1, Math.round(part * WIDTH)) : 0);
	const assured = cells(full);
	return `${"█".repeat(assured)}${"░".repeat(Math.max(0, cells(most) - assured))}`.padEnd(WIDTH);
}

/** One row per group over the buckets: `●` where it arrives, `─` where priorities move it. */
function mappingLines({ mappings, rows: queues }: ChartView, labelWidth: number): readonly string[] {
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
