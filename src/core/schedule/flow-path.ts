/**
 * The path of a request through the fairness hierarchy: one key per step, outermost first (`["acme", "acme-batch"]` under
 * `flow_path = organisation/account`). Made once per identity and reused; its ids are what the flow tree looks up.
 */
export interface FlowPath {
	/** One id per step; `ids[i]` names the node at depth i + 1 and contains all outer keys. */
	readonly ids: readonly string[];
	/**
	 * Where a flow tree last found this path, so that a busy identity costs no look-up by its strings: good while `foundIn` still has that
	 * generation of that leaf below that root. Only the flow tree reads and writes these.
	 */
	foundIn: object | undefined;
	foundRoot: number;
	foundLeaf: number;
	foundGeneration: number;
}

/** A path of ready-made ids. */
export function flowPathOf(ids: readonly string[]): FlowPath {
	return { ids, foundIn: undefined, foundRoot: -1, foundLeaf: -1, foundGeneration: 0 };
}

/**
 * @param keys one key per step, outermost first, at least one; any string, empty and hostile ones included
 * @example
 * ```ts
 * const path = flowPath(["acme", "acme-batch"]);
 * ```
 */
export function flowPath(keys: readonly string[]): FlowPath {
	const ids: string[] = [];
	let id = "";
	for (const key of keys.length === 0 ? [""] : keys) {
		// A separator no escaped key can contain keeps ["a", "b"] and ["a\0b"] apart.
		id += `${key.includes("\0") ? key.replaceAll("\0", "\0\x01") : key}\0\0`;
		ids.push(id);
	}
	return flowPathOf(ids);
}

/** The keys a path was made of. */
export function keysOf(path: FlowPath): string[] {
	return path.ids.map((id, step) => {
		const outer = step === 0 ? 0 : path.ids[step - 1]!.length;
		return id.slice(outer, -2).replaceAll("\0\x01", "\0");
	});
}
