/** What `capacity_from` points at: the report that `tokligence benchmark --output` writes (design 06 §5), as far as capacity needs it. */
import { readFileSync } from "node:fs";

export interface MeasuredCapacity {
	readonly maxConcurrent?: number;
	readonly maxTokensPerSec?: number;
}

export type Measured =
	| { readonly ok: true; readonly capacity: MeasuredCapacity }
	| { readonly ok: false; readonly why: string };

/** Space comes first; the safe rate is taken where a report names no concurrency. */
export function measuredCapacity(path: string | undefined): Measured {
	if (path === undefined) return { ok: false, why: "capacity_from is not set" };
	let report: unknown;
	try {
		report = JSON.parse(readFileSync(path, "utf8"));
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		return { ok: false, why: `${path}: ${code === undefined ? "is not JSON" : `cannot be read (${code})`}` };
	}
	const results = (report as { readonly results?: Readonly<Record<string, unknown>> } | null)?.results ?? {};
	const number = (key: string) => {
		const value = results[key];
		return typeof value === "number" && value > 0 && Number.isFinite(value) ? value : undefined;
	};
	const maxConcurrent = number("recommended_max_concurrent");
	if (maxConcurrent !== undefined)
		return { ok: true, capacity: { maxConcurrent: Math.max(1, Math.floor(maxConcurrent)) } };
	const maxTokensPerSec = number("recommended_safe_tps");
	if (maxTokensPerSec !== undefined) return { ok: true, capacity: { maxTokensPerSec } };
	return {
		ok: false,
		why: `${path}: has neither results.recommended_max_concurrent nor …_safe_tps; is it a benchmark report?`,
	};
}
