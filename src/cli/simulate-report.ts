/** Results of a simulation for people: a table with the configurations under each other, and one page of HTML with plots in it. */
import type { GroupReport, SeriesReport, SimulationReport } from "../simulate/report.ts";

const HEADINGS = [
	"queue or tenant",
	"config",
	"requests",
	"served",
	"refused",
	"wait p50",
	"wait p99",
	"ttft p50",
	"ttft p99",
	"tokens/s",
	"upgrades",
	"preempted",
	"Jain",
] as const;

export function simulationTable(reports: readonly SimulationReport[]): string {
	const rows = [HEADINGS as readonly string[], ...rowsOf(reports)];
	const widths = HEADINGS.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
	const table = rows.map((row) =>
		row
			.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
			.join("  ")
			.trimEnd(),
	);
	const names = reports.map(
		(report, index) =>
			`${letter(index)}: ${report.config} on ${report.engine_profile}, ${(report.simulated_ms / 1000).toFixed(1)} s simulated`,
	);
	return [...names, "times in ms", ...table, ...refusals(reports)].join("\n");
}

function rowsOf(reports: readonly SimulationReport[]): readonly (readonly string[])[] {
	const rows: string[][] = [];
	for (const pick of [
		(report: SimulationReport) => [report.total],
		(report: SimulationReport) => report.queues.filter(({ requests }) => requests > 0),
		(report: SimulationReport) => report.tenants,
	]) {
		const lists = reports.map(pick);
		const names = new Set(lists.flatMap((list) => list.map(({ name }) => name)));
		for (const name of names)
			for (const [index, list] of lists.entries()) {
				const group = list.find((candidate) => candidate.name === name);
				if (group !== undefined) rows.push(cells(group, letter(index)));
			}
	}
	return rows;
}

function cells(group: GroupReport, config: string): string[] {
	return [
		group.name,
		config,
		group.requests,
		group.served,
		group.requests - group.served,
		group.wait_ms.p50,
		group.wait_ms.p99,
		group.ttft_ms.p50,
		group.ttft_ms.p99,
		group.tokens_per_second,
		group.upgrades,
		group.preemptions,
		group.jain_index ?? "",
	].map(String);
}

function refusals(reports: readonly SimulationReport[]): readonly string[] {
	return reports.flatMap(({ total }, index) => {
		const reasons = Object.entries(total.refused).map(([reason, count]) => `${reason} ${count}`);
		return reasons.length === 0 ? [] : [`refused in ${letter(index)}: ${reasons.join(", ")}`];
	});
}

function letter(index: number): string {
	return String.fromCharCode(65 + index);
}

const COLOURS = [
	"#1f77b4",
	"#ff7f0e",
	"#2ca02c",
	"#d62728",
	"#9467bd",
	"#8c564b",
	"#e377c2",
	"#7f7f7f",
	"#bcbd22",
	"#17becf",
];

/** Needs nothing from anywhere else: styles and plots stand in it. */
export function simulationPage(reports: readonly SimulationReport[]): string {
	const header = HEADINGS.map((cell) => `<th>${escaped(cell)}</th>`).join("");
	const body = rowsOf(reports)
		.map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`)
		.join("\n");
	const plots = reports.flatMap((report, index) => {
		const busy = report.series.filter(({ tokens_per_second: tokens }) => tokens.length > 0);
		return [
			`<h2>${letter(index)}: ${escaped(report.config)}</h2>`,
			plot("mean wait, ms", busy, ({ wait_ms }) => wait_ms),
			plot("tokens per second", busy, ({ tokens_per_second }) => tokens_per_second),
		];
	});
	return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Simulation</title>
<style>body{font:14px system-ui,sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:2px 8px;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;display:block;margin:1em 0}</style></head>
<body><h1>Simulation</h1>
<p>${reports.map((report, index) => `${letter(index)}: ${escaped(report.config)} on ${escaped(report.engine_profile)}, ${(report.simulated_ms / 1000).toFixed(1)} s simulated`).join("<br>")}. Times in ms.</p>
${plots.join("\n")}
<table><thead><tr>${header}</tr></thead><tbody>
${body}
</tbody></table>
${refusals(reports)
	.map((line) => `<p>${escaped(line)}</p>`)
	.join("\n")}
</body></html>
`;
}

const WIDTH = 860;
const HEIGHT = 260;
const LEFT = 70;
const BOTTOM = 30;

function plot(
	title: string,
	series: readonly SeriesReport[],
	valuesOf: (series: SeriesReport) => readonly number[],
): string {
	const endMs = Math.max(1, ...series.map((one) => valuesOf(one).length * one.step_ms));
	const top = Math.max(1, ...series.flatMap(valuesOf));
	const plotWidth = WIDTH - LEFT - 150;
	const plotHeight = HEIGHT - BOTTOM - 30;
	const lines = series.map((one, index) => {
		const colour = COLOURS[index % COLOURS.length];
		const points = valuesOf(one).map((value, at) => {
			const x = LEFT + (((at + 0.5) * one.step_ms) / endMs) * plotWidth;
			return `${x.toFixed(1)},${(30 + plotHeight * (1 - value / top)).toFixed(1)}`;
		});
		return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(" ")}"/>
<text x="${WIDTH - 140}" y="${40 + index * 16}" fill="${colour}">${escaped(one.name)}</text>`;
	});
	return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}" font-size="12">
<text x="${LEFT}" y="18" font-weight="bold">${escaped(title)}</text>
<path d="M${LEFT} 30V${30 + plotHeight}H${LEFT + plotWidth}" fill="none" stroke="#888"/>
<text x="${LEFT - 6}" y="36" text-anchor="end">${top}</text><text x="${LEFT - 6}" y="${30 + plotHeight}" text-anchor="end">0</text>
<text x="${LEFT + plotWidth}" y="${HEIGHT - 10}" text-anchor="end">${(endMs / 1000).toFixed(0)} s</text>
${lines.join("\n")}
</svg>`;
}

function escaped(text: string): string {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
