/**
 * What `benchmark --apply` writes into a configuration file: the concurrency, and with buckets the safe rate as base of all buckets
 * together. Comments and all other lines stay; the text before is kept beside the file; a result that could not be used is not written.
 */
import { readFileSync } from "node:fs";
import { parseIni } from "../config/ini.ts";
import { type Environment, loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problem.ts";
import type { BenchmarkReport } from "../load/benchmark-report.ts";
import { figure, UserError } from "./capacity-proposal.ts";
import { replaceFile } from "./config.ts";
import { problemsOf } from "./config-options.ts";

const BUCKETS = "allocator.bucket";

/** Answers what was done, for people. */
export function applyReport(
	report: BenchmarkReport,
	options: { readonly config?: string },
	env: Environment,
): readonly string[] {
	const path = options.config ?? (env["TOKLIGENCE_CONFIG"] || undefined);
	// Only the file's own values: what the environment says today is not written into it.
	const before = loadConfig(path === undefined ? {} : { path });
	if (!before.ok) throw new UserError(before.errors.map(formatProblem).join("\n"));
	const { file, config } = before;
	if (file === undefined)
		throw new UserError(
			"--apply needs a configuration file; name one with --config, or make one with `tokligence scheduler configure`",
		);
	const {
		recommended_max_concurrent: concurrent,
		recommended_safe_rps: rps,
		recommended_safe_tps: tps,
	} = report.results;
	if (!(concurrent >= 1 && tps > 0)) throw new UserError("nothing was measured, so nothing is applied");
	const document = parseIni(readFileSync(file, "utf8"));
	const done = [`[capacity] max_concurrent = ${concurrent}`];
	// The provider measured may have a value of its own, which wins.
	const provider = `provider.${config.providers[0]!.name}`;
	const section = document.get(provider, "max_concurrent") === undefined ? "capacity" : provider;
	done[0] = `[${section}] max_concurrent = ${concurrent}`;
	document.set(section, "max_concurrent", String(concurrent));
	if (config.requestScheduler.allocator === "bucket") {
		const inRequests = config.allocator.bucket.baseCapacityRps !== undefined;
		const key = inRequests ? "base_capacity_rps" : "base_capacity_tps";
		const base = figure(inRequests ? rps : tps);
		document.set(BUCKETS, key, base);
		document.set(BUCKETS, "capacity_basis", "total");
		done.push(`[${BUCKETS}] ${key} = ${base}, capacity_basis = total`);
	}
	const text = document.text();
	const after = loadConfig({ path: file, text, env: {} });
	if (!after.ok)
		throw new UserError(
			`nothing is written: the result could not be used:\n${problemsOf(after).map(formatProblem).join("\n")}`,
		);
	const backup = replaceFile(file, text);
	return [...done.map((line) => `${file}: ${line}`), `the old text is kept as ${backup}`];
}
