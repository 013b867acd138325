/** What fits the form of a policy document and yet cannot be: all of it at once, before anything is touched. */
import type { AdminContext } from "./admin-context.ts";
import type { AdminRefusal, FieldProblem } from "./admin-error.ts";
import { type PolicyDocument, type PolicyItem, type PolicySection, policySections } from "./policy-sections.ts";
import { wrongTerms } from "./quotas.ts";
import { windowOf, wrongWindow } from "./windows.ts";

export function entriesOf(document: unknown, name: PolicySection["name"]): readonly PolicyItem[] {
	const entries = (document as Readonly<Record<string, unknown>> | null | undefined)?.[name];
	return Array.isArray(entries) ? (entries as PolicyItem[]) : [];
}

/** Of a document that may be misshapen: entries that stand twice, levels that there are not. */
export function entryProblems(context: AdminContext, document: unknown): readonly FieldProblem[] {
	return policySections.flatMap((section) => [
		...duplicates(document, section),
		...unknownLevels(context, document, section),
	]);
}

/** Of a document of the right form. */
export async function contradictions(
	context: AdminContext,
	document: PolicyDocument,
	prune: boolean,
): Promise<readonly FieldProblem[]> {
	return [
		...(await withoutAccount(context, document)),
		...(await lostCatchAll(context, document, prune)),
		...wrongWindows(context, document),
		...wrongQuotas(context, document),
	];
}

function duplicates(document: unknown, { name, noun, key }: PolicySection): readonly FieldProblem[] {
	const problems: FieldProblem[] = [];
	const firstAt = new Map<string, number>();
	for (const [at, entry] of entriesOf(document, name).entries()) {
		if (entry?.[key] === undefined) continue;
		const isHash = key === "sha256";
		const value = isHash ? String(entry[key]).toLowerCase() : String(entry[key]);
		const first = firstAt.get(value);
		if (first === undefined) firstAt.set(value, at);
		else {
			const shown = isHash ? "" : ` ${JSON.stringify(value)}`;
			problems.push({
				path: [name, at, key],
				message: `${name}.${at}: ${noun}${shown} is in ${name}.${first} already`,
			});
		}
	}
	return problems;
}

function unknownLevels(
	{ priorityLevels }: AdminContext,
	document: unknown,
	{ name, levels }: PolicySection,
): readonly FieldProblem[] {
	if (priorityLevels === undefined) return [];
	const problems: FieldProblem[] = [];
	for (const [at, entry] of entriesOf(document, name).entries()) {
		for (const field of levels) {
			const level = entry?.[field];
			if (typeof level !== "number" || level < priorityLevels) continue;
			problems.push({
				path: [name, at, field],
				message: `${name}.${at}.${field} ${level} is not allowed: levels are 0 to ${priorityLevels - 1}`,
			});
		}
	}
	return problems;
}

/** Tokens and quotas of accounts that neither the document nor the store has. */
async function withoutAccount({ stores }: AdminContext, document: PolicyDocument): Promise<readonly FieldProblem[]> {
	const problems: FieldProblem[] = [];
	const statuses = new Map(document.accounts?.map(({ id, status }) => [id, status ?? "active"]));
	for (const name of ["quotas", "tokens"] as const) {
		for (const [at, { account_id: id }] of (document[name] ?? []).entries()) {
			if (!statuses.has(id)) statuses.set(id, (await stores.accounts.get(id))?.status ?? "deleted");
			if (statuses.get(id) !== "deleted") continue;
			problems.push({
				path: [name, at, "account_id"],
				message: `${name}.${at}.account_id ${JSON.stringify(id)} is no account: add it to accounts`,
			});
		}
	}
	return problems;
}

function wrongWindows(context: AdminContext, document: PolicyDocument): readonly FieldProblem[] {
	return (document.windows ?? []).flatMap((entry, at) => {
		const wrong = wrongWindow(context, { enabled: true, order: 0, ...windowOf(entry) });
		return wrong === undefined ? [] : [within(["windows", at], wrong)];
	});
}

function wrongQuotas(context: AdminContext, document: PolicyDocument): readonly FieldProblem[] {
	return (document.quotas ?? []).flatMap((entry, at) => {
		const wrong = wrongTerms(context, entry);
		return wrong === undefined ? [] : [within(["quotas", at], wrong)];
	});
}

function within(place: readonly (string | number)[], { message, param = "" }: AdminRefusal): FieldProblem {
	const inner = param.split(".").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
	return { path: param === "" ? place : [...place, ...inner], message: `${place.join(".")}: ${message}` };
}

async function lostCatchAll(
	context: AdminContext,
	document: PolicyDocument,
	prune: boolean,
): Promise<readonly FieldProblem[]> {
	if (document.rules === undefined) return [];
	const section = policySections.find(({ name }) => name === "rules")!;
	const after = new Map(prune ? [] : await section.current(context, []));
	for (const rule of document.rules) after.set(rule.rule_name, section.complete(rule));
	const isCatchAll = (rule: PolicyItem) =>
		rule["enabled"] === true &&
		Object.entries(rule).every(([field, value]) => !field.startsWith("match_") || value === null);
	if ([...after.values()].some(isCatchAll)) return [];
	return [
		{
			path: ["rules"],
			message:
				"rules would leave no enabled rule that matches everything: keep one catch-all (a rule without any match field)",
		},
	];
}
