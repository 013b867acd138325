/** Policy files and instants for the commands that answer without a gateway: as they would hold in a fresh one with a given configuration. */
import type { Policy, PolicyProblem } from "../app/policy-reader.ts";
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { EpochMillis } from "../core/model/units.ts";
import { UserError } from "./capacity-proposal.ts";
import { type PolicyFile, readPolicyFile } from "./policy-file.ts";

export const POLICY_FLAG =
	"accounts, rules, time windows and quotas of a policy file, as apply brings a new gateway to it";

export function openPolicy(path: string): PolicyFile {
	const read = readPolicyFile(path);
	if (!read.ok) throw new UserError(read.problems.join("\n"));
	return read.file;
}

export async function policyFor(file: PolicyFile, config: GatewayConfig): Promise<Policy> {
	// A bare list is one of rules.
	const content = Array.isArray(file.content) ? { rules: file.content } : file.content;
	// With it comes the admin API, which no other use of these commands needs.
	const { readPolicy } = await import("../app/policy-reader.ts");
	const read = await readPolicy(content, config);
	if (read.ok) return read.policy;
	throw new UserError(placed(file, read.problems).join("\n"));
}

/** In the order of the file, each with its line. */
export function placed(file: PolicyFile, problems: readonly PolicyProblem[]): readonly string[] {
	return problems
		.map(({ path, message }) => ({ line: file.lineOf(path), message }))
		.sort((a, b) => a.line - b.line)
		.map(({ line, message }) => `${file.name}:${line}: ${message}`);
}

const INSTANT = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/** For a flag: a date, or an instant; without a zone it is UTC. */
export function instantOf(text: string): EpochMillis {
	const zoned = /T|\s/.test(text) && !/(Z|[+-]\d{2}:\d{2})$/.test(text) ? `${text}Z` : text;
	const at = Date.parse(zoned.replace(" ", "T"));
	if (!INSTANT.test(text) || Number.isNaN(at))
		throw new UserError(
			`${JSON.stringify(text)} is no instant: allowed is 2026-11-27T21:50+01:00, or a date (midnight UTC)`,
		);
	return at;
}
