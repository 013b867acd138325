/** `/v1/admin/quotas`: budgets of organisations, teams, accounts and tokens. A change is in force when it is acknowledged. */
import { z } from "zod";
import { usedPct } from "../../core/quota/counter.ts";
import {
	accountNode,
	fromCounted,
	isBudget,
	LIMIT_DIMENSIONS,
	organisationNode,
	QUOTA_TYPES,
	type Quota,
	type QuotaNode,
	teamNode,
	toCounted,
	tokenNode,
} from "../../core/quota/quota.ts";
import type { RateView } from "../../core/quota/rate-lanes.ts";
import { type BudgetView, monthlyQuotaOf } from "../../engine/quota-service.ts";
import type { Account } from "../../ports/account-store.ts";
import type { NewQuota } from "../../ports/quota-store.ts";
import type { TokenRecord } from "../../ports/token-store.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, fromStore, refuse } from "./admin-error.ts";
import { id, message, shownTime, text, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { isRefusal } from "./validation.ts";
import { given, instant, listBody } from "./wire.ts";

const NODES = ["organisation", "team", "account", "environment", "token"] as const;

const zone = z.string().min(1).max(64);
const terms = {
	allow_borrow: z.boolean().nullish().describe("whether a burstable quota may use more than its assured rate"),
	max_borrow_pct: z
		.number()
		.min(0)
		.max(50)
		.nullish()
		.describe("of a burstable quota: how far above its rate, in percent"),
	lend: z.boolean().nullish().describe("whether others may use what is left of an assured rate"),
	reset_day: z.number().int().min(1).max(28).nullish().describe("day of the month on which a month begins"),
	timezone: zone.nullish().describe("IANA name, such as Europe/Berlin"),
};

export const newQuota = z.strictObject({
	id: id.nullish(),
	account_id: id,
	node: z.enum(NODES).nullish().describe("what is limited; `environment` is the account in one environment (account)"),
	token_id: id.nullish().describe("of node token"),
	environment: word.nullish().describe("count only what is used in this environment"),
	quota_type: z.enum(QUOTA_TYPES),
	limit_dimension: z.enum(LIMIT_DIMENSIONS),
	limit_value: z.number().min(0).max(1e15).describe("tokens, dollars, requests or tokens per second"),
	...terms,
});

const quotaPatch = z.strictObject({
	quota_type: z.enum(QUOTA_TYPES).optional(),
	limit_value: z.number().min(0).max(1e15).optional(),
	...terms,
});

const shownQuota = z.object({
	id: z.string(),
	account_id: z.string(),
	node: z.string(),
	environment: z.string().nullable(),
	quota_type: z.enum(QUOTA_TYPES),
	limit_dimension: z.enum(LIMIT_DIMENSIONS),
	limit_value: z.number().describe("without adjustments"),
	adjusted_value: z.number().describe("added by hand in this period"),
	used_value: z.number().describe("in this period; of a rate the tokens per second lately"),
	reserved_value: z.number().describe("held by requests under way, by their estimates"),
	usage_pct: z.number(),
	alert_triggered: z.boolean().describe("an alert was sent in this period"),
	allow_borrow: z.boolean(),
	max_borrow_pct: z.number().nullable(),
	borrowed_value: z.number().describe("tokens above the assured rate, since the gateway started"),
	lend: z.boolean(),
	reset_day: z.number().nullable(),
	timezone: z.string().nullable(),
	window_start: shownTime.nullable(),
	window_end: shownTime.nullable(),
});

const changedQuota = z.object({ quota_id: z.string(), message });
const quotaParams = z.object({ quota_id: id });
const accountParams = z.object({ account_id: id });

function showQuota(
	quota: Quota,
	view: BudgetView | undefined,
	rate?: RateView | undefined,
): z.infer<typeof shownQuota> {
	const { limitDimension } = quota;
	const state = view?.state ?? { used: 0, reserved: 0, adjusted: 0 };
	const pct = view === undefined ? ((rate?.currentTps ?? 0) / quota.limitValue) * 100 : usedPct(view.limit, state);
	return {
		id: quota.id,
		account_id: quota.accountId,
		node: quota.node,
		environment: quota.environment ?? null,
		quota_type: quota.quotaType,
		limit_dimension: limitDimension,
		limit_value: quota.limitValue,
		adjusted_value: fromCounted(limitDimension, state.adjusted),
		used_value: rate === undefined ? fromCounted(limitDimension, state.used) : Math.round(rate.currentTps * 100) / 100,
		reserved_value: fromCounted(limitDimension, state.reserved),
		usage_pct: Math.round(pct * 100) / 100,
		alert_triggered: (view?.alertedPct ?? 0) > 0,
		allow_borrow: quota.allowBorrow,
		max_borrow_pct: quota.maxBorrowPct === undefined ? null : quota.maxBorrowPct * 100,
		borrowed_value: rate?.borrowed ?? 0,
		lend: quota.lend,
		reset_day: quota.resetDay ?? null,
		timezone: quota.timezone ?? null,
		window_start: instant(view?.period.start),
		window_end: instant(view?.period.end),
	};
}

const create = operation(
	{
		method: "POST",
		path: "/quotas",
		summary: "Create a quota",
		body: newQuota,
		status: 201,
		answer: changedQuota,
	},
	async (context, { body, actor }) => {
		const account = await context.stores.accounts.get(body.account_id);
		if (account === undefined) {
			return refuse("invalid_request", `account_id "${body.account_id}" does not exist`, "account_id");
		}
		const node = await nodeOf(context, body, account);
		if (isRefusal(node)) return node;
		const wrong = wrongTerms(context, body);
		if (wrong !== undefined) return wrong;
		const accountZone = account.metadata?.["timezone"];
		const ownZone = typeof accountZone === "string" && context.isZone(accountZone) ? accountZone : undefined;
		const quota = given({
			id: body.id,
			accountId: account.id,
			node,
			environment: body.environment,
			quotaType: body.quota_type,
			limitDimension: body.limit_dimension,
			limitValue: body.limit_value,
			...termsOf(body),
			timezone: body.timezone ?? ownZone,
		}) as NewQuota;
		const result = await context.stores.quotas.create(quota, actor);
		if (!result.ok) return fromStore(result);
		await context.policyChanged();
		const { id: quotaId, environment, limitDimension, limitValue } = result.value;
		const off = context.quotasEnforced ? "" : " [quotas] enabled = false: nothing enforces it.";
		return answer({
			quota_id: quotaId,
			message: `${result.value.node}${environment === undefined ? "" : ` in ${environment}`} may use ${limitValue} ${limitDimension}.${off}`,
		});
	},
);

/** Which node the words of a creation mean. */
async function nodeOf(
	context: AdminContext,
	body: z.infer<typeof newQuota>,
	account: Account,
): Promise<QuotaNode | AdminRefusal> {
	const node = body.node ?? (body.token_id === undefined || body.token_id === null ? "account" : "token");
	if (node !== "token" && typeof body.token_id === "string") {
		return refuse("invalid_request", `token_id goes with node token, not with ${node}`, "token_id");
	}
	switch (node) {
		case "organisation":
			// an account without one is its own
			return account.organisation === undefined ? accountNode(account.id) : organisationNode(account.organisation);
		case "team":
			if (account.team === undefined) {
				return refuse("invalid_request", `account "${account.id}" has no team`, "node");
			}
			return teamNode(account.organisation ?? account.id, account.team);
		case "environment":
			if (typeof body.environment === "string") return accountNode(account.id);
			return refuse("invalid_request", "node environment needs environment, such as production", "environment");
		case "account":
			return accountNode(account.id);
		case "token": {
			if (typeof body.token_id !== "string") {
				return refuse("invalid_request", "node token needs token_id", "token_id");
			}
			const token = await context.stores.tokens.get(body.token_id);
			if (token?.accountId === account.id) return tokenNode(token.id);
			return refuse("invalid_request", `account "${account.id}" has no token "${body.token_id}"`, "token_id");
		}
	}
}

export function termsOf(body: z.infer<typeof quotaPatch>) {
	return {
		allowBorrow: body.allow_borrow,
		maxBorrowPct: typeof body.max_borrow_pct === "number" ? body.max_borrow_pct / 100 : body.max_borrow_pct,
		lend: body.lend,
		resetDay: body.reset_day,
		timezone: body.timezone,
	};
}

export function wrongTerms(
	context: AdminContext,
	body: z.infer<typeof quotaPatch> & { readonly limit_dimension: string; readonly quota_type: string },
): AdminRefusal | undefined {
	if (typeof body.timezone === "string" && !context.isZone(body.timezone)) {
		const allowed = "IANA names such as Europe/Berlin or UTC";
		return refuse("invalid_request", `timezone "${body.timezone}" is not known: allowed are ${allowed}`, "timezone");
	}
	const isRate = body.quota_type === "reserved" || body.quota_type === "burstable";
	if (isRate !== (body.limit_dimension === "tps")) {
		const allowed = isRate ? "tps" : "the dimensions per day or month";
		const sentence = `a ${body.quota_type} quota limits ${allowed}, not ${body.limit_dimension}`;
		return refuse("invalid_request", sentence, "limit_dimension");
	}
	if (isRate && body.limit_value === 0) {
		return refuse("invalid_request", "limit_value 0 is not allowed: a rate is more than 0", "limit_value");
	}
	return undefined;
}

const list = operation(
	{
		method: "GET",
		path: "/quotas",
		summary:
			"List quotas, in order of id; with min_usage_pct the budgets used at least so far in this period, fullest first",
		query: z.strictObject({ ...pageQuery, min_usage_pct: z.coerce.number().min(0).max(1000).optional() }),
		answer: listAnswer("quotas", shownQuota),
	},
	async (context, { query }) => {
		if (query.min_usage_pct !== undefined) {
			const least = query.min_usage_pct;
			const full = context.quotas
				.views()
				.map((view) => ({ view, pct: usedPct(view.limit, view.state) }))
				.filter(({ pct }) => pct >= least)
				.sort((a, b) => b.pct - a.pct);
			const items = full.slice(0, query.limit ?? 100).map(({ view }) => showQuota(view.quota, view));
			return answer(listBody("quotas", { items, nextCursor: null }, (item) => item));
		}
		const page = await context.stores.quotas.list(pageOf(query));
		const items = await shown(context, page.items);
		return answer(listBody("quotas", { items, nextCursor: page.nextCursor }, (item) => item));
	},
);

async function shown(context: AdminContext, quotas: readonly Quota[]) {
	return Promise.all(quotas.map((quota) => shownOne(context, quota)));
}

async function shownOne(context: AdminContext, quota: Quota) {
	return showQuota(quota, await context.quotas.status(quota), context.rates?.view(quota.id));
}

const ofAccount = operation(
	{
		method: "GET",
		path: "/quotas/{account_id}",
		summary: "Everything that limits an account, and where it stands",
		params: accountParams,
		answer: z.object({
			account_id: z.string(),
			quotas: z.array(shownQuota),
			count: z.number().int(),
			next_cursor: z.null().describe("always all at once"),
		}),
	},
	async (context, { params }) => {
		const account = await context.stores.accounts.get(params.account_id);
		if (account === undefined) return refuse("not_found", `account "${params.account_id}" does not exist`);
		const quotas = await shown(context, await quotasOf(context, account));
		return answer({ account_id: account.id, quotas, count: quotas.length, next_cursor: null });
	},
);

/** Of its organisation and team, its own, and those of its tokens; `quota_tokens_per_month` among them. */
async function quotasOf(context: AdminContext, account: Account): Promise<readonly Quota[]> {
	const own = new Set([accountNode(account.id), organisationNode(account.organisation ?? account.id)]);
	if (account.team !== undefined) own.add(teamNode(account.organisation ?? account.id, account.team));
	const isOwn = (quota: Quota) =>
		own.has(quota.node) || (quota.accountId === account.id && quota.node.startsWith("token:"));
	const quotas = (await context.stores.quotas.all()).filter(isOwn);
	for (const token of await tokensOf(context, account.id)) {
		if (token.quotaTokensPerMonth !== undefined && token.status === "active") {
			quotas.push(monthlyQuotaOf(token.id, account.id, token.quotaTokensPerMonth));
		}
	}
	return quotas;
}

async function tokensOf(context: AdminContext, accountId: string): Promise<readonly TokenRecord[]> {
	const tokens: TokenRecord[] = [];
	let cursor: string | null = null;
	do {
		const page: Awaited<ReturnType<typeof context.stores.tokens.list>> = await context.stores.tokens.list(
			{ accountId },
			{ limit: 1000, ...(cursor === null ? {} : { cursor }) },
		);
		tokens.push(...page.items);
		cursor = page.nextCursor;
	} while (cursor !== null);
	return tokens;
}

const update = operation(
	{
		method: "PATCH",
		path: "/quotas/{quota_id}",
		summary: "Change the terms of a quota; null clears one. What was used stays counted",
		params: quotaParams,
		body: quotaPatch,
		answer: shownQuota,
	},
	async (context, { params, body, actor }) => {
		const before = await context.stores.quotas.get(params.quota_id);
		if (before === undefined) return refuse("not_found", `quota "${params.quota_id}" does not exist`);
		const wrong = wrongTerms(context, {
			...body,
			limit_dimension: before.limitDimension,
			limit_value: body.limit_value ?? before.limitValue,
			quota_type: body.quota_type ?? before.quotaType,
		});
		if (wrong !== undefined) return wrong;
		const { allowBorrow, lend, ...others } = termsOf(body);
		const patch = {
			quotaType: body.quota_type,
			limitValue: body.limit_value,
			allowBorrow: allowBorrow ?? undefined,
			lend: lend ?? undefined,
			...others,
		};
		const result = await context.stores.quotas.update(params.quota_id, patch, actor);
		if (!result.ok) return fromStore(result);
		await context.policyChanged();
		return answer(await shownOne(context, result.value));
	},
);

const remove = operation(
	{
		method: "DELETE",
		path: "/quotas/{quota_id}",
		summary: "Delete a quota: nothing is limited by it from now on",
		params: quotaParams,
		answer: changedQuota,
	},
	async (context, { params, actor }) => {
		const result = await context.stores.quotas.delete(params.quota_id, actor);
		if (!result.ok) return fromStore(result);
		await context.policyChanged();
		return answer({ quota_id: params.quota_id, message: `Quota "${params.quota_id}" is gone.` });
	},
);

const amount = (max: number) =>
	z
		.number()
		.min(-max)
		.max(max)
		.refine((value) => value !== 0, "anything but 0");

const adjust = operation(
	{
		method: "POST",
		path: "/quotas/{account_id}/adjust",
		summary: "Add to a budget (or take from it) until its period ends",
		params: accountParams,
		body: z.strictObject({
			quota_id: id.nullish().describe("when the other fields fit several"),
			environment: word.nullish(),
			limit_dimension: z.enum(LIMIT_DIMENSIONS).nullish(),
			delta_tokens: amount(1e15).nullish(),
			delta_usd: amount(1e9).nullish(),
			delta_requests: amount(1e15).nullish(),
			reason: text.min(1).describe("for the audit log"),
		}),
		answer: shownQuota,
	},
	async (context, { params, body, actor }) => {
		const account = await context.stores.accounts.get(params.account_id);
		if (account === undefined) return refuse("not_found", `account "${params.account_id}" does not exist`);
		const deltas = (["tokens", "usd", "requests"] as const).flatMap((unit) => {
			const value = body[`delta_${unit}`];
			return typeof value === "number" ? [{ unit, value }] : [];
		});
		const [delta] = deltas;
		if (delta === undefined || deltas.length > 1) {
			return refuse("invalid_request", "give one of delta_tokens, delta_usd and delta_requests", "delta_tokens");
		}
		const all = (await quotasOf(context, account)).filter(isBudget);
		const fitting = all.filter(
			(quota) =>
				(typeof body.quota_id === "string" ? quota.id === body.quota_id : quota.node === accountNode(account.id)) &&
				quota.limitDimension.startsWith(delta.unit) &&
				(typeof body.environment !== "string" || quota.environment === body.environment) &&
				(typeof body.limit_dimension !== "string" || quota.limitDimension === body.limit_dimension),
		);
		const [quota] = fitting;
		if (quota === undefined || fitting.length > 1) {
			const there = (quota === undefined ? all : fitting).map(describe).join("; ") || "none";
			const sentence =
				quota === undefined
					? `no budget of account "${account.id}" in ${delta.unit} fits; there are: ${there}`
					: `several budgets fit, name one by quota_id: ${there}`;
			return refuse(quota === undefined ? "not_found" : "invalid_request", sentence, "quota_id");
		}
		const view = await context.quotas.adjust(quota, toCounted(quota.limitDimension, delta.value), body.reason, actor);
		return answer(showQuota(quota, view));
	},
);

function describe({ id: quotaId, node, environment, limitDimension }: Quota): string {
	return `${quotaId} (${node}${environment === undefined ? "" : ` in ${environment}`}, ${limitDimension})`;
}

export const quotaOperations: readonly Operation[] = [create, list, ofAccount, update, remove, adjust];
