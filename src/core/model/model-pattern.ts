/** Patterns of model names, in which `*` stands for any text. Linear, no regular expression: names come from clients. */

export function matchesModel(pattern: string, model: string): boolean {
	if (!pattern.includes("*")) return pattern === model;
	const parts = pattern.split("*");
	if (!model.startsWith(parts[0]!)) return false;
	let at = parts[0]!.length;
	for (let i = 1; i < parts.length - 1; i++) {
		const found = model.indexOf(parts[i]!, at);
		if (found < 0) return false;
		at = found + parts[i]!.length;
	}
	const last = parts[parts.length - 1]!;
	return model.length - at >= last.length && model.endsWith(last);
}
