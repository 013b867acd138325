/**
 * The SVG face of `bucket-scheduler visualize`: one drawing without scripts, fonts or links, so that it can stand in a page or a document. All
 * figures are text, colours follow the reader's light or dark setting.
 */
import { figure } from "./capacity-proposal.ts";
import { barsOf, type ChartData, headline, numbersOf } from "./chart-data.ts";

const ROW = 24;
const TOP = 64;
const LEFT = 60;
const BAR_WIDTH = 300;
const NOTES = LEFT + BAR_WIDTH + 12;
const GROUPS = NOTES + 250;
const GROUP_WIDTH = 34;

const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #1c2430; }
.title { font-size: 16px; font-weight: 600; }
.quiet { fill: #5a6675; }
.paper { fill: #ffffff; }
.most { fill: #b9cdea; }
.full { fill: #2f6fbf; }
.range { stroke: #5a6675; stroke-width: 3; stroke-linecap: round; }
.arrives { fill: #c2571a; }
@media (prefers-color-scheme: dark) {
text { fill: #e6ebf2; }
.quiet { fill: #a3afbf; }
.paper { fill: #12171f; }
.most { fill: #2b4364; }
.full { fill: #6fa8f0; }
.range { stroke: #a3afbf; }
.arrives { fill: #f09a5e; }
}`;

export function chartSvg(data: ChartData): string {
	const { queues, mappings } = data;
	const bars = barsOf(data);
	const bottom = TOP + queues.length * ROW;
	const width = mappings.length === 0 ? GROUPS + 260 : GROUPS + mappings.length * GROUP_WIDTH + 150;
	const height = bottom + (mappings.length === 0 ? 16 : 40 + mappings.length * 20);
	const parts = [
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
		`<title id="title">${escapeXml(headline(data, figure))}</title>`,
		`<desc id="description">${escapeXml(description(data))}</desc>`,
		`<style>${STYLE}</style>`,
		`<rect class="paper" width="${width}" height="${height}"/>`,
		text(16, 28, headline(data, figure), "title"),
		text(16, 48, legend(data), "quiet"),
	];
	for (const [index, queue] of queues.entries()) {
		const y = TOP + index * ROW;
		const { full, most } = bars[index]!;
		parts.push(text(16, y + 16, queue.label));
		if (most > full) parts.push(bar(y, most, "most"));
		if (full > 0) parts.push(bar(y, full, "full"));
		parts.push(text(NOTES, y + 16, numbersOf(data, queue, figure)));
		if (mappings.length === 0) parts.push(text(GROUPS, y + 16, queue.arrivals.join(", "), "quiet"));
	}
	for (const [index, mapping] of mappings.entries()) {
		const x = GROUPS + 12 + index * GROUP_WIDTH;
		const middle = (bucket: number) => TOP + bucket * ROW + ROW / 2;
		parts.push(
			text(x - 3, TOP - 6, String(index + 1), "quiet"),
			`<line class="range" x1="${x}" y1="${middle(mapping.first)}" x2="${x}" y2="${middle(mapping.last)}"/>`,
			`<circle class="arrives" cx="${x}" cy="${middle(mapping.defaultBucket)}" r="6"/>`,
			text(16, bottom + 28 + index * 20, `${index + 1}  ${mappingSentence(mapping)}`),
		);
	}
	return `${parts.join("\n")}\n</svg>\n`;
}

function legend({ allocator }: ChartData): string {
	return allocator === "priority"
		? "Bars are weights; beside them the default rules that lead to the level"
		: "Full bars are assured, light ones the most a bucket may have; lines are tier mappings, dots where they arrive";
}

function description(data: ChartData): string {
	const queues = data.queues.map((queue) => `${queue.label}: ${numbersOf(data, queue, figure)}`);
	return [...queues, ...data.mappings.map(mappingSentence)].join("; ");
}

function mappingSentence({ group, first, last, defaultBucket, mode }: ChartData["mappings"][number]): string {
	return `${group}: B${first} to B${last}, arrives in B${defaultBucket}, ${mode}`;
}

function bar(y: number, part: number, kind: string): string {
	const width = Math.max(1, Math.round(part * BAR_WIDTH * 10) / 10);
	return `<rect class="${kind}" x="${LEFT}" y="${y + 3}" width="${width}" height="${ROW - 7}" rx="2"/>`;
}

function text(x: number, y: number, content: string, kind?: string): string {
	return `<text x="${x}" y="${y}"${kind === undefined ? "" : ` class="${kind}"`}>${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
	return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
