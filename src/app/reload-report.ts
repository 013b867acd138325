/** What a reload did, in lines for the log of the process. */
import { formatProblem } from "../config/problem.ts";
import type { ReloadResult } from "../http/admin/admin-context.ts";

export function reloadReport(result: ReloadResult): readonly string[] {
	if (!result.ok) {
		return ["the configuration cannot be used, nothing was changed:", ...result.problems.map(formatProblem)];
	}
	const { changed, needsRestart } = result;
	return [
		changed.length === 0 ? "reloaded: nothing changed" : `reloaded, in force now: ${changed.join(", ")}`,
		...(needsRestart.length === 0 ? [] : [`waiting for the next start: ${needsRestart.join(", ")}`]),
	];
}
