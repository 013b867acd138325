/**
 * `/v1/admin/policy`: accounts and rules as one reviewed document (design 02 §2). Export and apply are each other's inverse: what was
 * exported applies without a change. Applying is all or nothing, and all that is wrong is said at once.
 */
import { z } from "zod";
import type { PolicyChange } from "../../ports/policy-store.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, type FieldProblem, fromStore, refuse } from "./admin-error.ts";
import { message } from "./fields.ts";
import { answer, type Operation, operation } from "./operation.ts";
import { contradictions, entriesOf, entryProblems } from "./policy-check.ts";
import { type PolicyDocument, type PolicyItem, policyDocument, policySections } from "./policy-sections.ts";
import { problemsOf } from "./validation.ts";

const MAX_SENTENCES = 5;
const ACTIONS = ["create", "update", "delete"] as const;

interface PolicyDifference {
	readonly action: (typeof ACTIONS)[number];
	/** `account`, `rule`, `token`. */
	readonly kind: string;
	readonly name: string;
	/** Only what differs; `null` stands for nothing. */
	readonly before: PolicyItem | null;
	readonly after: PolicyItem | null;
}

const difference = z.object({
	action: z.enum(ACTIONS),
	kind: z.string(),
	name: z.string(),
	before: z.record(z.string(), z.unknown()).nullable(),
	after: z.record(z.string(), z.unknown()).nullable(),
});

const exportPolicy = operation(
	{
		method: "GET",
		path: "/policy",
		summary: "Accounts, rules, windows and quotas as one document; tokens are never exported",
		answer: z.object({
			version: z.literal(1),
			accounts: z.array(z.record(z.string(), z.unknown())),
			rules: z.array(z.record(z.string(), z.unknown())),
			windows: z.array(z.record(z.string(), z.unknown())),
			quotas: z.array(z.record(z.string(), z.unknown())),
		}),
	},
	async (context) => {
		const document: Record<string, unknown> = { version: 1 };
		for (const section of policySections.filter(({ isExported }) => isExported)) {
			document[section.name] = [...(await section.current(context, [])).values()].map(brief);
		}
		return answer(document);
	},
);

const applyPolicy = operation(
	{
		method: "POST",
		path: "/policy",
		summary: "Bring accounts, rules, windows, quotas and imported keys to what a document says, all or nothing",
		body: z.strictObject({
			policy: z.unknown().describe("version, accounts, rules, tokens; entries as in the calls that create them"),
			dry_run: z.boolean().nullish().describe("only say what would change"),
			prune: z.boolean().nullish().describe("remove what its sections do not have; accounts stay"),
		}),
		answer: z.object({ applied: z.boolean(), changes: z.array(difference), count: z.number(), message }),
	},
	async (context, { body, actor }) => {
		const prune = body.prune === true;
		const misshapen = problemsOf(policyDocument, body.policy, "policy");
		if (misshapen.length > 0) return invalid([...misshapen, ...entryProblems(context, body.policy)]);
		const document = body.policy as PolicyDocument;
		const problems = [...entryProblems(context, document), ...(await contradictions(context, document, prune))];
		if (problems.length > 0) return invalid(problems);
		const { differences, changes } = await compare(context, document, prune);
		const summary = summaryOf(differences);
		if (body.dry_run === true) {
			return answer({ applied: false, changes: differences, count: differences.length, message: summary });
		}
		if (changes.length > 0) {
			const result = await context.stores.policy.apply(changes, actor);
			if (!result.ok) return fromStore(result);
			context.tokensChanged();
			await context.policyChanged();
		}
		return answer({ applied: true, changes: differences, count: differences.length, message: summary });
	},
);

function invalid(problems: readonly FieldProblem[]): AdminRefusal {
	const sentences = problems.slice(0, MAX_SENTENCES).map((problem) => problem.message);
	if (problems.length > MAX_SENTENCES) sentences.push(`and ${problems.length - MAX_SENTENCES} more`);
	return { ...refuse("invalid_request", sentences.join("; "), problems[0]!.path.join(".")), problems };
}

async function compare(context: AdminContext, document: PolicyDocument, prune: boolean) {
	const differences: PolicyDifference[] = [];
	const changes: PolicyChange[] = [];
	for (const section of policySections) {
		if (document[section.name] === undefined) continue;
		const entries = entriesOf(document, section.name);
		const wanted = entries.map((entry) => section.complete(entry));
		const current = await section.current(context, wanted);
		for (const [at, after] of wanted.entries()) {
			const name = String(after[section.key]);
			const before = current.get(name);
			const found = differenceOf(before, after);
			if (found === undefined) continue;
			differences.push({ ...found, kind: section.noun, name });
			changes.push(section.put(entries[at]));
		}
		const { remove } = section;
		if (!prune || remove === undefined) continue;
		const named = new Set(wanted.map((item) => String(item[section.key])));
		for (const [name, before] of current) {
			if (named.has(name)) continue;
			differences.push({ action: "delete", kind: section.noun, name, before: brief(before), after: null });
			changes.push(remove(name));
		}
	}
	return { differences, changes };
}

function differenceOf(
	before: PolicyItem | undefined,
	after: PolicyItem,
): Pick<PolicyDifference, "action" | "before" | "after"> | undefined {
	if (before === undefined) return { action: "create", before: null, after: brief(after) };
	const changed = Object.keys(after).filter((field) => canonical(before[field]) !== canonical(after[field]));
	if (changed.length === 0) return undefined;
	const pick = (item: PolicyItem) => Object.fromEntries(changed.map((field) => [field, item[field] ?? null]));
	return { action: "update", before: pick(before), after: pick(after) };
}

/** Without what says nothing: a file is read by people. */
function brief(item: PolicyItem): PolicyItem {
	const isEmpty = (value: unknown) =>
		value === null || (typeof value === "object" && !Array.isArray(value) && Object.keys(value ?? {}).length === 0);
	return Object.fromEntries(Object.entries(item).filter(([, value]) => !isEmpty(value)));
}

function canonical(value: unknown): string {
	return JSON.stringify(value ?? null, (_, part: unknown) =>
		part !== null && typeof part === "object" && !Array.isArray(part)
			? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
			: part,
	);
}

function summaryOf(differences: readonly PolicyDifference[]): string {
	if (differences.length === 0) return "Nothing differs.";
	const count = (action: string) => differences.filter((one) => one.action === action).length;
	return `${count("create")} to create, ${count("update")} to change, ${count("delete")} to remove.`;
}

export const policyOperations: readonly Operation[] = [exportPolicy, applyPolicy];
