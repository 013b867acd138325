/**
 * The sections of a policy file (design 02 §2): what each one's entries look like, by what they are known, and how they reach the store. A
 * further kind of policy is a further entry of this list.
 */
import { z } from "zod";
import { accountNode, type Quota } from "../../core/quota/quota.ts";
import type { NewAccount } from "../../ports/account-store.ts";
import { MAX_PAGE_LIMIT, type Page, type PageRequest } from "../../ports/page.ts";
import type { PolicyChange } from "../../ports/policy-store.ts";
import type { NewQuota } from "../../ports/quota-store.ts";
import { accountOf, newAccount, showAccount } from "./accounts.ts";
import type { AdminContext } from "./admin-context.ts";
import { id } from "./fields.ts";
import { newQuota, termsOf } from "./quotas.ts";
import { newRule, ruleOf, showRule } from "./rules.ts";
import { newToken, sha256, tokenFieldsOf } from "./tokens.ts";
import { newWindow, showWindow, windowOf } from "./windows.ts";
import { given } from "./wire.ts";

/** As a file spells it, every field there, `null` where it says nothing. */
export type PolicyItem = Readonly<Record<string, unknown>>;

export interface PolicySection {
	readonly name: "accounts" | "rules" | "windows" | "quotas" | "tokens";
	/** Of one entry, for people. */
	readonly noun: string;
	/** The field by which an entry is known. */
	readonly key: string;
	readonly schema: z.ZodType;
	/** What is there now, by key. */
	current(context: AdminContext, wanted: readonly PolicyItem[]): Promise<ReadonlyMap<string, PolicyItem>>;
	/** An entry that fits the schema, in full. */
	complete(entry: unknown): PolicyItem;
	put(entry: unknown): PolicyChange;
	/** Absent: entries are never removed for not being in a file. */
	readonly remove?: (key: string) => PolicyChange;
	readonly isExported: boolean;
	/** Fields that name a priority level. */
	readonly levels: readonly string[];
}

const DEFAULT_WINDOW_ORDER = 100;

const policyAccount = newAccount.extend({ id });
const policyToken = newToken.extend({ sha256 });

const accounts: PolicySection = {
	name: "accounts",
	noun: "account",
	key: "id",
	schema: policyAccount,
	async current({ stores }, wanted) {
		const all = await everything((page) => stores.accounts.list({}, page));
		const named = new Set(wanted.map((entry) => entry["id"]));
		const kept = all.filter((account) => account.status !== "deleted" || named.has(account.id));
		return byKey(
			"id",
			kept.map((account) => without(showAccount(account), "created_at", "updated_at")),
		);
	},
	complete(entry) {
		const account = accountOf(entry as z.infer<typeof policyAccount>);
		const full = { status: "active" as const, ...account, id: account.id ?? "", createdAt: 0, updatedAt: 0 };
		return without(showAccount(full), "created_at", "updated_at");
	},
	put: (entry) => ({
		kind: "put_account",
		account: accountOf(entry as z.infer<typeof policyAccount>) as NewAccount & { readonly id: string },
	}),
	isExported: true,
	levels: [],
};

const rules: PolicySection = {
	name: "rules",
	noun: "rule",
	key: "rule_name",
	schema: newRule,
	async current({ stores }) {
		return byKey(
			"rule_name",
			(await stores.rules.all()).map((rule) => without(showRule(rule), "id")),
		);
	},
	complete: (entry) => without(showRule({ enabled: true, ...ruleOf(entry as z.infer<typeof newRule>), id: "" }), "id"),
	put: (entry) => ({ kind: "put_rule", rule: ruleOf(entry as z.infer<typeof newRule>) }),
	remove: (name) => ({ kind: "delete_rule", name }),
	isExported: true,
	levels: ["assign_priority"],
};

const policyWindow = newWindow.omit({ id: true });

const windows: PolicySection = {
	name: "windows",
	noun: "window",
	key: "name",
	schema: policyWindow,
	async current({ stores }) {
		return byKey("name", (await stores.windows.all()).map(showWindow));
	},
	complete: (entry) =>
		showWindow({ enabled: true, order: DEFAULT_WINDOW_ORDER, ...windowOf(entry as z.infer<typeof policyWindow>) }),
	put: (entry) => ({ kind: "put_window", window: windowOf(entry as z.infer<typeof policyWindow>) }),
	remove: (name) => ({ kind: "delete_window", name }),
	isExported: true,
	levels: [],
};

/** By node as the lists show it. Quotas of tokens are no policy: tokens are not in the file either. */
const policyQuota = newQuota.omit({ token_id: true }).extend({
	id,
	node: z
		.string()
		.regex(/^(organisation|team|account):[^\p{Cc}]{1,300}$/u, "organisation:NAME, team:ORGANISATION/NAME or account:ID")
		.nullish()
		.describe("what is limited (the account)"),
});

const quotas: PolicySection = {
	name: "quotas",
	noun: "quota",
	key: "id",
	schema: policyQuota,
	async current({ stores }) {
		const all = (await stores.quotas.all()).filter(({ node }) => !node.startsWith("token:"));
		return byKey(
			"id",
			all.map(showTerms).sort((a, b) => (String(a["id"]) < String(b["id"]) ? -1 : 1)),
		);
	},
	complete: (entry) => showTerms({ allowBorrow: true, lend: true, ...quotaOf(entry as z.infer<typeof policyQuota>) }),
	put: (entry) => ({ kind: "put_quota", quota: quotaOf(entry as z.infer<typeof policyQuota>) }),
	remove: (key) => ({ kind: "delete_quota", id: key }),
	isExported: true,
	levels: [],
};

function quotaOf(entry: z.infer<typeof policyQuota>) {
	return given({
		id: entry.id,
		accountId: entry.account_id,
		node: entry.node ?? accountNode(entry.account_id),
		environment: entry.environment,
		quotaType: entry.quota_type,
		limitDimension: entry.limit_dimension,
		limitValue: entry.limit_value,
		...termsOf(entry),
	}) as NewQuota & { readonly id: string };
}

function showTerms(quota: Quota): PolicyItem {
	return {
		id: quota.id,
		account_id: quota.accountId,
		node: quota.node,
		environment: quota.environment ?? null,
		quota_type: quota.quotaType,
		limit_dimension: quota.limitDimension,
		limit_value: quota.limitValue,
		allow_borrow: quota.allowBorrow,
		max_borrow_pct: quota.maxBorrowPct === undefined ? null : quota.maxBorrowPct * 100,
		lend: quota.lend,
		reset_day: quota.resetDay ?? null,
		timezone: quota.timezone ?? null,
	};
}

/** Keys that exist elsewhere, by their hash. A known one is left as it is, so what it says of itself is never a difference. */
const tokens: PolicySection = {
	name: "tokens",
	noun: "token",
	key: "sha256",
	schema: policyToken,
	async current({ stores }, wanted) {
		const known = new Map<string, PolicyItem>();
		for (const entry of wanted) {
			const hash = entry["sha256"] as string;
			if ((await stores.tokens.find(hash)) !== undefined) known.set(hash, entry);
		}
		return known;
	},
	complete(entry) {
		const token = entry as z.infer<typeof policyToken>;
		const empty = Object.fromEntries(Object.keys(policyToken.shape).map((field) => [field, null]));
		return { ...empty, ...token, sha256: token.sha256.toLowerCase() };
	},
	put(entry) {
		const { sha256: hash, ...token } = entry as z.infer<typeof policyToken>;
		return { kind: "import_token", sha256: hash.toLowerCase(), token: tokenFieldsOf(token) };
	},
	isExported: false,
	levels: ["priority_override", "max_priority"],
};

export const policySections: readonly PolicySection[] = [accounts, rules, windows, quotas, tokens];

export const policyDocument = z.strictObject({
	version: z.literal(1).optional().describe("of this form; 1"),
	accounts: z.array(policyAccount).max(100_000).optional(),
	rules: z.array(newRule).max(1000).optional(),
	windows: z.array(policyWindow).max(1000).optional(),
	quotas: z.array(policyQuota).max(100_000).optional(),
	tokens: z.array(policyToken).max(100_000).optional(),
});

export type PolicyDocument = z.infer<typeof policyDocument>;

function byKey(key: string, items: readonly PolicyItem[]): ReadonlyMap<string, PolicyItem> {
	return new Map(items.map((item) => [String(item[key]), item]));
}

function without(item: PolicyItem, ...fields: readonly string[]): PolicyItem {
	return Object.fromEntries(Object.entries(item).filter(([field]) => !fields.includes(field)));
}

async function everything<T>(list: (page: PageRequest) => Promise<Page<T>>): Promise<readonly T[]> {
	const items: T[] = [];
	let cursor: string | undefined;
	do {
		const page: Page<T> = await list({ limit: MAX_PAGE_LIMIT, ...(cursor === undefined ? {} : { cursor }) });
		items.push(...page.items);
		cursor = page.nextCursor ?? undefined;
	} while (cursor !== undefined);
	return items;
}
