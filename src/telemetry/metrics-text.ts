/**
 * The text of `/metrics`: Prometheus' format 0.0.4, or OpenMetrics 1.0 when a scraper asks for it.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/. A family has one HELP and one TYPE line and its samples stand together.
 */
export type Labels = Readonly<Record<string, string | number>>;
export type FamilyType = "counter" | "gauge" | "histogram";

export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";
export const OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8";

export class MetricsText {
	readonly #lines: string[] = [];

	/** Begins a family; its samples follow. */
	family(name: string, type: FamilyType, help: string): void {
		this.#lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
	}

	sample(name: string, labels: Labels, value: number): void {
		this.#lines.push(`${name}${labelText(labels)} ${numberText(value)}`);
	}

	/** Of a family that has one sample. */
	single(name: string, type: FamilyType, help: string, value: number, labels: Labels = {}): void {
		this.family(name, type, help);
		this.sample(name, labels, value);
	}

	/** Lines of another part, whole families each. */
	lines(lines: Iterable<string>): void {
		for (const line of lines) this.#lines.push(line);
	}

	toString(): string {
		return `${this.#lines.join("\n")}\n`;
	}
}

/** Which form a scraper wants: OpenMetrics only when it names it. */
export function wantsOpenMetrics(accept: string | undefined): boolean {
	return accept !== undefined && /application\/openmetrics-text/i.test(accept);
}

/** There, a counter's family goes without the `_total` of its samples, and the text has an end mark. */
export function asOpenMetrics(text: string): string {
	const counters = new Set([...text.matchAll(/^# TYPE (\S+)_total counter$/gm)].map((match) => match[1]));
	const renamed = text.replaceAll(
		/^# (HELP|TYPE) (\S+)_total (.*)$/gm,
		(line: string, word: string, name: string, rest: string) =>
			counters.has(name) ? `# ${word} ${name} ${rest}` : line,
	);
	return `${renamed}# EOF\n`;
}

function labelText(labels: Labels): string {
	const entries = Object.entries(labels);
	return entries.length === 0 ? "" : `{${entries.map(([name, value]) => `${name}="${escaped(value)}"`).join(",")}}`;
}

function escaped(value: string | number): string {
	if (typeof value === "number") return String(value);
	return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
	if (value === Number.POSITIVE_INFINITY) return "+Inf";
	return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}
