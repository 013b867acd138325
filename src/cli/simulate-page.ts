/**
 * Results of a simulation as one page of HTML that needs nothing from anywhere else: styles and plots stand in it. Light and dark as the
 * reader's system is.
 */
import type { SimulationReport } from "../simulate/report.ts";
import { headingsOf, letter, promises, refusals, rowsOf, services } from "./simulate-report.ts";

const COLOURS = ["#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#9c755f", "#ff9da7", "#76b7b2"] as const;

const STYLE = `:root{color-scheme:light dark}
body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em}
h1{font-size:1.5em}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}td,th{padding:2px 8px;border-bottom:1px solid #8884;text-align:right;white-space:nowrap}
td:nth-child(-n+2),th:nth-child(-n+2){text-align:left}.wide{overflow-x:auto}
svg{width:100%;display:block;margin:1em 0}svg text{fill:currentColor}svg .axis{stroke:currentColor;opacity:.5}svg .grid{stroke:currentColor;opacity:.12}svg .window{fill:#4e79a7;opacity:.1}svg .closed{fill:#e15759;opacity:.14}`;

interface Line {
	readonly name: string;
	readonly stepMs: number;
	/** Null: nothing to show. */
	readonly values: readonly (number | null)[];
}

interface Quantity {
	readonly title: string;
	/** Times of every size, from one millisecond on, on a logarithmic scale: a tenth of a second is seen beside a minute. */
	readonly logarithmic: boolean;
	readonly linesOf: (report: SimulationReport) => readonly Line[];
}

/** @param about what was simulated, in a sentence */
export function simulationPage(reports: readonly SimulationReport[], about: string): string {
	const header = headingsOf(reports)
		.map((cell) => `<th>${escaped(cell)}</th>`)
		.join("");
	const body = rowsOf(reports)
		.map((row) => `<tr>${row.map((cell) => `<td>${escaped(cell)}</td>`).join("")}</tr>`)
		.join("\n");
	const names = reports.map(
		({ config, engine_profile: engine, simulated_ms: ms }, index) =>
			`${letter(index)}: ${config} on ${engine}, ${(ms / 1000).toFixed(1)} s simulated`,
	);
	return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Simulation: ${escaped(about)}</title>
<style>${STYLE}</style></head>
<body><h1>Simulation: ${escaped(about)}</h1>
<p>${names.map(escaped).join("<br>")}</p>
<p>${[...services(reports), ...refusals(reports), ...promises(reports)].map(escaped).join("<br>")}</p>
<p>Times in ms.${reports.some((report) => bandsOf(report).length > 0) ? " Shaded in blue: a time window holds; in red: the capacity guard is closed." : ""}</p>
<div class="wide"><table><thead><tr>${header}</tr></thead><tbody>
${body}
</tbody></table></div>
${plotsOf(reports).join("\n")}
</body></html>
`;
}

/** One scale for a quantity in all configurations, so that the plots can be compared. */
function plotsOf(reports: readonly SimulationReport[]): readonly string[] {
	const quantities: readonly Quantity[] = [
		{
			title: "mean wait in the queue",
			logarithmic: true,
			linesOf: ({ series }) =>
				busy(series).map(({ name, step_ms: stepMs, wait_ms: values }) => ({ name, stepMs, values })),
		},
		{
			title: "mean time to the first token",
			logarithmic: true,
			linesOf: ({ series }) =>
				busy(series).map(({ name, step_ms: stepMs, ttft_ms: values }) => ({ name, stepMs, values })),
		},
		{
			title: "tokens per second",
			logarithmic: false,
			linesOf: ({ series }) =>
				busy(series).map(({ name, step_ms: stepMs, tokens_per_second: values }) => ({ name, stepMs, values })),
		},
		{
			title: "service received by each tenant (prompt tokens + 2 × answer tokens)",
			logarithmic: false,
			linesOf: ({ service }) =>
				service.tenants.length < 2
					? []
					: service.tenants.map(({ name, service_total: values }) => ({ name, stepMs: service.step_ms, values })),
		},
		{
			title: "difference of service between backlogged tenants",
			logarithmic: false,
			linesOf: ({ service }) =>
				service.max_difference === 0 ? [] : [{ name: "largest", stepMs: service.step_ms, values: service.difference }],
		},
	];
	return quantities.flatMap(({ title, logarithmic, linesOf }) => {
		const all = reports.map(linesOf);
		const most = Math.max(
			1,
			...all.flat().map(({ values }) => values.reduce((a: number, b) => Math.max(a, b ?? 0), 0)),
		);
		const scale = logarithmic ? logarithmicScale(most) : linearScale(most);
		const endMs = Math.max(1, ...all.flat().map(({ stepMs, values }) => stepMs * values.length));
		return all.flatMap((lines, index) =>
			lines.length === 0
				? []
				: [
						plot(
							`${letter(index)} (${reports[index]!.config}): ${title}`,
							lines,
							scale,
							endMs,
							bandsOf(reports[index]!),
						),
					],
		);
	});
}

interface Scale {
	/** 0 is the bottom, 1 the top. */
	readonly place: (value: number) => number;
	readonly ticks: readonly { readonly value: number; readonly text: string }[];
}

function linearScale(most: number): Scale {
	const top = roundTop(most);
	const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => ({ value: part * top, text: shortened(part * top) }));
	return { place: (value) => value / top, ticks };
}

/** Of milliseconds; whatever is below one stands at the bottom. */
function logarithmicScale(most: number): Scale {
	const decades = Math.max(1, Math.ceil(Math.log10(most) - 1e-9));
	const ticks = Array.from({ length: decades + 1 }, (_, decade) => ({
		value: 10 ** decade,
		text: decade === 0 ? "≤ 1 ms" : decade < 3 ? `${10 ** decade} ms` : `${shortened(10 ** (decade - 3))} s`,
	}));
	return { place: (value) => Math.log10(Math.max(1, value)) / decades, ticks };
}

interface Band {
	readonly name: string;
	readonly kind: "window" | "closed";
	readonly from: number;
	readonly to: number;
}

/** Times in which a window holds or the guard is closed. */
function bandsOf({ promises: { windows, guard } }: SimulationReport): readonly Band[] {
	return [
		...windows.flatMap(({ name, spans_ms: spans }) =>
			spans.map(([from, to]) => ({ name, kind: "window" as const, from, to })),
		),
		...(guard?.spans_ms ?? []).map(([from, to]) => ({ name: "guard closed", kind: "closed" as const, from, to })),
	];
}

function busy(series: SimulationReport["series"]): SimulationReport["series"] {
	return series.filter(({ tokens_per_second: tokens }) => tokens.length > 0);
}

const WIDTH = 960;
const HEIGHT = 250;
const LEFT = 80;
const RIGHT = 190;
const TOP = 30;
const BOTTOM = 28;

function plot(title: string, lines: readonly Line[], scale: Scale, endMs: number, bands: readonly Band[]): string {
	const width = WIDTH - LEFT - RIGHT;
	const height = HEIGHT - TOP - BOTTOM;
	const x = (ms: number) => (LEFT + (ms / endMs) * width).toFixed(1);
	const y = (value: number) => (TOP + height * (1 - scale.place(value))).toFixed(1);
	const shades = bands
		.filter(({ from }) => from < endMs)
		.map(({ name, kind, from, to }) => {
			const [left, right] = [x(from), x(Math.min(to, endMs))];
			return `<rect class="${kind}" x="${left}" y="${TOP}" width="${(Number(right) - Number(left)).toFixed(1)}" height="${height}"><title>${escaped(name)}</title></rect>`;
		});
	const rows = scale.ticks.map(
		({ value, text }, index) =>
			`<path class="${index === 0 ? "axis" : "grid"}" d="M${LEFT} ${y(value)}h${width}"/><text x="${LEFT - 6}" y="${Number(y(value)) + 4}" text-anchor="end">${text}</text>`,
	);
	const columns = [0, 0.25, 0.5, 0.75, 1].map(
		(part) =>
			`<text x="${x(part * endMs)}" y="${HEIGHT - 8}" text-anchor="middle">${((part * endMs) / 1000).toFixed(endMs < 20_000 ? 1 : 0)} s</text>`,
	);
	const drawn = lines.map(({ name, stepMs, values }, index) => {
		const colour = COLOURS[index % COLOURS.length];
		const labelY = TOP + 10 + index * 17;
		return `<path fill="none" stroke="${colour}" stroke-width="1.6" stroke-linecap="round" d="${curve(values, (at) => x((at + 0.5) * stepMs), y)}"/>
<path stroke="${colour}" stroke-width="3" d="M${WIDTH - RIGHT + 12} ${labelY - 4}h14"/><text x="${WIDTH - RIGHT + 32}" y="${labelY}">${escaped(name)}</text>`;
	});
	return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}" font-size="12">
<text x="${LEFT}" y="18" font-weight="bold">${escaped(title)}</text>
${[...shades, ...rows, ...columns, ...drawn].join("\n")}
</svg>`;
}

/** Steps without a value that a line goes over; a longer pause breaks it. */
const LONGEST_GAP = 3;

function curve(values: Line["values"], x: (at: number) => string, y: (value: number) => string): string {
	let path = "";
	let last = Number.NEGATIVE_INFINITY;
	for (const [at, value] of values.entries()) {
		if (value === null) continue;
		const point = `${x(at)} ${y(value)}`;
		// A line of no length is a dot: a value between two pauses is seen.
		path += at - last > LONGEST_GAP ? `M${point}L${point}` : `L${point}`;
		last = at;
	}
	return path;
}

/** The next of a few round steps times a power of ten. */
function roundTop(value: number): number {
	const power = 10 ** Math.floor(Math.log10(value));
	return power * ([1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value) ?? 10);
}

function shortened(value: number): string {
	if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
	return value >= 10_000 ? `${Number((value / 1000).toPrecision(3))} k` : String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
