/**
 * The SVG face of `bucket-scheduler visualize`: one drawing without scripts, fonts or links, so that it can stand in a page or a document. All
 * figures are text, colours follow the reader's light or dark setting.
 */
import type { ChartView } from "./chart-view.ts";

const ROW = 24;
const TOP = 80;
const BAR_WIDTH = 300;
const GROUP_WIDTH = 34;
/** Of the font below, on average. */
const CHARACTER = 7.5;

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

export function chartSvg({ headline, legend, rows, mappings, sentences }: ChartView): string {
	// Labels and notes are as long as what is drawn makes them.
	const left = 28 + CHARACTER * Math.max(...rows.map(({ label }) => label.length));
	const notes = left + BAR_WIDTH + 12;
	const groups = notes + 20 + CHARACTER * Math.max(...rows.map(({ note }) => note.length));
	const sides = CHARACTER * Math.max(0, ...rows.map(({ side }) => side.length));
	const bottom = TOP + rows.length * ROW;
	const widest = groups + (mappings.length === 0 ? sides : mappings.length * GROUP_WIDTH) + 16;
	const longest = Math.max(0, ...sentences.map((sentence) => sentence.length));
	const width = Math.max(widest, 32 + 7.2 * Math.max(legend.drawing.length, longest), 32 + 9 * headline.length);
	const below = bottom + (mappings.length === 0 ? 16 : 40 + mappings.length * 20);
	const height = below + (sentences.length === 0 ? 0 : 8 + sentences.length * 20);
	const parts = [
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
		`<title id="title">${escapeXml(headline)}</title>`,
		`<desc id="description">${escapeXml([description(rows, mappings), ...sentences].join("; "))}</desc>`,
		`<style>${STYLE}</style>`,
		`<rect class="paper" width="${width}" height="${height}"/>`,
		text(16, 28, headline, "title"),
		text(16, 48, legend.drawing, "quiet"),
	];
	for (const [index, { label, full, most, note, side }] of rows.entries()) {
		const y = TOP + index * ROW;
		parts.push(text(16, y + 16, label));
		if (most > full) parts.push(bar(left, y, most, "most"));
		if (full > 0) parts.push(bar(left, y, full, "full"));
		parts.push(text(notes, y + 16, note));
		if (mappings.length === 0) parts.push(text(groups, y + 16, side, "quiet"));
	}
	for (const [index, mapping] of mappings.entries()) {
		const x = groups + 12 + index * GROUP_WIDTH;
		const middle = (bucket: number) => TOP + bucket * ROW + ROW / 2;
		parts.push(
			text(x - 3, TOP - 4, String(index + 1), "quiet"),
			`<line class="range" x1="${x}" y1="${middle(mapping.first)}" x2="${x}" y2="${middle(mapping.last)}"/>`,
			`<circle class="arrives" cx="${x}" cy="${middle(mapping.defaultBucket)}" r="6"/>`,
			text(16, bottom + 28 + index * 20, `${index + 1}  ${mappingSentence(mapping)}`),
		);
	}
	for (const [index, sentence] of sentences.entries()) parts.push(text(16, below + 8 + index * 20, sentence));
	return `${parts.join("\n")}\n</svg>\n`;
}

function description(rows: ChartView["rows"], mappings: ChartView["mappings"]): string {
	const queues = rows.map(({ label, note }) => `${label}: ${note}`);
	return [...queues, ...mappings.map(mappingSentence)].join("; ");
}

function mappingSentence({ group, first, last, defaultBucket, mode }: ChartView["mappings"][number]): string {
	return `${group}: B${first} to B${last}, arrives in B${defaultBucket}, ${mode}`;
}

function bar(left: number, y: number, part: number, kind: string): string {
	const width = Math.max(1, Math.round(part * BAR_WIDTH * 10) / 10);
	return `<rect class="${kind}" x="${left}" y="${y + 3}" width="${width}" height="${ROW - 7}" rx="2"/>`;
}

function text(x: number, y: number, content: string, kind?: string): string {
	return `<text x="${x}" y="${y}"${kind === undefined ? "" : ` class="${kind}"`}>${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
	return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
