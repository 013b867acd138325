/**
 * Reads single metrics out of Prometheus text (exposition format 0.0.4), as far as load figures need it: all samples of one
 * name, whatever their labels. Other lines are skipped without being parsed.
 */
export interface Samples {
	readonly sum: number;
	readonly max: number;
	readonly count: number;
}

/** Undefined when the name has no finite sample. */
export function readSamples(text: string, name: string): Samples | undefined {
	let sum = 0;
	let max = Number.NEGATIVE_INFINITY;
	let count = 0;
	for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + name.length)) {
		if (at > 0 && text[at - 1] !== "\n") continue;
		const after = text[at + name.length];
		if (after !== "{" && after !== " " && after !== "\t") continue;
		const lineEnd = text.indexOf("\n", at);
		const line = text.slice(at + name.length, lineEnd < 0 ? text.length : lineEnd);
		// Label values may hold any character, so the value stands after the last brace; a timestamp may follow it.
		const value = Number(
			line
				.slice(line.lastIndexOf("}") + 1)
				.trim()
				.split(/\s+/)[0],
		);
		if (!Number.isFinite(value)) continue;
		sum += value;
		max = Math.max(max, value);
		count++;
	}
	return count === 0 ? undefined : { sum, max, count };
}

/** Labels of every sample of a name; values without escapes, which is all that is needed here. */
export function readLabels(text: string, name: string): readonly ReadonlyMap<string, string>[] {
	const found: ReadonlyMap<string, string>[] = [];
	for (let at = text.indexOf(`${name}{`); at >= 0; at = text.indexOf(`${name}{`, at + name.length)) {
		if (at > 0 && text[at - 1] !== "\n") continue;
		const lineEnd = text.indexOf("\n", at);
		const line = text.slice(at + name.length, lineEnd < 0 ? text.length : lineEnd);
		found.push(new Map([...line.matchAll(/(\w+)="([^"\\]*)"/g)].map((pair) => [pair[1]!, pair[2]!])));
	}
	return found;
}

export interface LoadMetricNames {
	readonly running: string;
	readonly waiting: string;
	readonly kvUse?: string;
}

/** Running and waiting add up over ranks; the fullest cache decides. */
export function readLoadMetrics(
	text: string,
	names: LoadMetricNames,
): { running?: number; waiting?: number; kvUse?: number } | undefined {
	const running = readSamples(text, names.running)?.sum;
	const waiting = readSamples(text, names.waiting)?.sum;
	const kvUse = names.kvUse === undefined ? undefined : readSamples(text, names.kvUse)?.max;
	if (running === undefined && waiting === undefined) return undefined;
	return {
		...(running === undefined ? {} : { running }),
		...(waiting === undefined ? {} : { waiting }),
		...(kvUse === undefined ? {} : { kvUse }),
	};
}
