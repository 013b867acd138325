/** Policy files (YAML, or JSON, which is YAML too): reading them, and saying where in them something is wrong. */
import { readFileSync } from "node:fs";
import { isNode, LineCounter, parseDocument } from "yaml";
import type { AdminClient } from "./admin-client.ts";
import { AdminCallError } from "./admin-client.ts";
import type { Item } from "./store-access.ts";

export interface PolicyFile {
	readonly name: string;
	readonly content: unknown;
	/** Of the innermost thing that is there on the way to `path`; 1 is the first line. */
	lineOf(path: readonly (string | number)[]): number;
}

export type PolicyFileResult =
	| { readonly ok: true; readonly file: PolicyFile }
	| { readonly ok: false; readonly problems: readonly string[] };

/** `-` reads the standard input. */
export function readPolicyFile(
	path: string,
	standardInput: () => string = () => readFileSync(0, "utf8"),
): PolicyFileResult {
	const name = path === "-" ? "standard input" : path;
	let text: string;
	try {
		text = path === "-" ? standardInput() : readFileSync(path, "utf8");
	} catch (error) {
		return { ok: false, problems: [`${name} cannot be read: ${(error as Error).message}`] };
	}
	const lines = new LineCounter();
	const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
	if (document.errors.length > 0) {
		const problems = document.errors.map(({ message, pos }) => `${name}:${lines.linePos(pos[0]).line}: ${message}`);
		return { ok: false, problems };
	}
	return {
		ok: true,
		file: {
			name,
			content: document.toJS() ?? {},
			lineOf(path) {
				for (let depth = path.length; depth > 0; depth--) {
					const node = document.getIn(path.slice(0, depth), true);
					if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
				}
				return 1;
			},
		},
	};
}

export interface PolicyDifference {
	readonly action: "create" | "update" | "delete";
	readonly kind: string;
	readonly name: string;
	readonly before: Item | null;
	readonly after: Item | null;
}

export interface PolicyAnswer {
	readonly applied: boolean;
	readonly changes: readonly PolicyDifference[];
	readonly count: number;
	readonly message: string;
}

interface Refusal {
	readonly error?: {
		readonly message?: string;
		readonly problems?: readonly { readonly path: readonly (string | number)[]; readonly message: string }[];
	};
}

/** What a gateway says about a file, or every problem of it, each with its line. */
export async function sendPolicy(
	client: AdminClient,
	file: PolicyFile,
	options: { readonly dryRun: boolean; readonly prune: boolean },
): Promise<PolicyAnswer> {
	const { status, text } = await client.call("POST", "/policy", {
		policy: file.content,
		dry_run: options.dryRun,
		prune: options.prune,
	});
	if (status < 400) return JSON.parse(text) as PolicyAnswer;
	throw new PolicyRefused(problemLines(text, status, file));
}

export class PolicyRefused extends AdminCallError {
	readonly problems: readonly string[];

	constructor(problems: readonly string[]) {
		super(problems.join("\n"));
		this.problems = problems;
	}
}

function problemLines(text: string, status: number, file: PolicyFile): readonly string[] {
	let refusal: Refusal = {};
	try {
		refusal = JSON.parse(text) as Refusal;
	} catch {
		// an answer of something else than the admin plane
	}
	const { problems, message = `the admin plane answered with status ${status}` } = refusal.error ?? {};
	if (problems === undefined) return [message];
	return problems
		.map((problem) => ({ line: file.lineOf(problem.path), message: problem.message }))
		.sort((a, b) => a.line - b.line)
		.map((problem) => `${file.name}:${problem.line}: ${problem.message}`);
}
