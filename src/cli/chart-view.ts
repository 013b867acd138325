/** A chart of queues as any face of `bucket-scheduler visualize` draws it, the terminal's or the SVG: of a configuration, or of a running gateway. */
import type { TierMapping } from "../core/allocate/tier-mapping.ts";
import { figure } from "./capacity-proposal.ts";
import { barsOf, type ChartData, headline, numbersOf } from "./chart-data.ts";

export interface ChartRow {
	readonly label: string;
	/** Lengths of the two bars, as parts of the longest there is; the light one begins where the full one does. */
	readonly full: number;
	readonly most: number;
	/** What stands beside the bar. */
	readonly note: string;
	/** And beside that. */
	readonly side: string;
}

export interface ChartView {
	readonly headline: string;
	/** Bars in words: "█ full  ░ light" in a terminal, in words in a drawing. */
	readonly legend: { readonly text: string; readonly drawing: string };
	readonly rows: readonly ChartRow[];
	readonly mappings: readonly TierMapping[];
	/** Below everything. */
	readonly sentences: readonly string[];
}

export function chartView(data: ChartData): ChartView {
	const bars = barsOf(data);
	return {
		headline: headline(data, figure),
		legend:
			data.allocator === "priority"
				? {
						text: "█ weight; on the right the default rules that lead here",
						drawing: "Bars are weights; beside them the default rules that lead to the level",
					}
				: {
						text: "█ assured  ░ more while it lasts; on the right the groups that arrive here without a priority",
						drawing:
							"Full bars are assured, light ones the most a bucket may have; lines are tier mappings, dots where they arrive",
					},
		rows: data.queues.map((queue, index) => ({
			label: queue.label,
			...bars[index]!,
			note: numbersOf(data, queue, figure),
			side: queue.arrivals.join(", "),
		})),
		mappings: data.mappings,
		sentences: data.promises,
	};
}
