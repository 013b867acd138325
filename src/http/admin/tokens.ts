/**
 * `/v1/admin/tokens`: API tokens under management. A token's text appears in the answers to create and rotate, and nowhere else.
 */
import { z } from "zod";
import { duration } from "../../config/value-type.ts";
import { WORKLOADS } from "../../core/model/routing.ts";
import { MILLIS_PER_SECOND, NANO_DOLLARS_PER_DOLLAR } from "../../core/model/units.ts";
import type { NewToken, TokenRecord } from "../../ports/token-store.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, fromStore, refuse } from "./admin-error.ts";
import { id, level, message, name, positive, positiveInteger, shownTime, text, time, word } from "./fields.ts";
import { answer, listAnswer, type Operation, operation, pageOf, pageQuery } from "./operation.ts";
import { epochOf, given, instant, listBody } from "./wire.ts";

const TOKEN_STATUSES = ["active", "revoked", "expired"] as const;
const LONGEST_GRACE_SECONDS = 30 * 86_400;
const CURRENT_RATE_SECONDS = 60;

export const newToken = z.strictObject({
	account_id: id,
	priority_tier: word.describe("internal, external, premium, spot, or a word that your rules know"),
	environment: word.nullish(),
	workload_tag: word.nullish(),
	name: name.nullish(),
	description: text.nullish(),
	quota_tokens_per_month: positiveInteger.nullish(),
	quota_tps_limit: positive.nullish(),
	expires_at: time.nullish().describe("may lie in the past"),
	priority_override: level.nullish(),
	weight_override: positive.nullish(),
	max_priority: level.nullish().describe("best level that its hints may ask for"),
	may_use_critical: z.boolean().nullish(),
	allowed_models: z.array(name).min(1).max(1000).nullish().describe("patterns; * stands for any text"),
	max_parallel_requests: positiveInteger.nullish(),
});

const shownToken = z.object({
	id: z.string(),
	token_prefix: z.string(),
	account_id: z.string(),
	priority_tier: z.string(),
	environment: z.string().nullable(),
	workload_tag: z.string().nullable(),
	name: z.string().nullable(),
	description: z.string().nullable(),
	quota: z.object({ tokens_per_month: z.number().nullable(), tps_limit: z.number().nullable() }),
	priority_override: z.number().nullable(),
	weight_override: z.number().nullable(),
	max_priority: z.number().nullable(),
	may_use_critical: z.boolean(),
	allowed_models: z.array(z.string()).nullable(),
	max_parallel_requests: z.number().nullable(),
	total_requests: z.number(),
	last_used_at: shownTime.nullable(),
	status: z.enum(TOKEN_STATUSES),
	expires_at: shownTime.nullable(),
	revoked_at: shownTime.nullable(),
	revoked_reason: z.string().nullable(),
	created_at: shownTime,
});

const issuedToken = z.object({
	token_id: z.string(),
	token: z.string().describe("shown this one time"),
	token_prefix: z.string(),
	message,
});

export const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/, "64 hex digits: `tokligence token hash` makes them");

const importedToken = z.strictObject({
	sha256,
	account_id: id,
	tier: word,
	environment: word.nullish(),
	workload: z.enum(WORKLOADS).nullish(),
	name: name.nullish(),
});

const tokenParams = z.object({ token_id: id });

export function showToken(token: TokenRecord): z.infer<typeof shownToken> {
	return {
		id: token.id,
		token_prefix: token.tokenPrefix,
		account_id: token.accountId,
		priority_tier: token.priorityTier,
		environment: token.environment ?? null,
		workload_tag: token.workloadTag ?? null,
		name: token.name ?? null,
		description: token.description ?? null,
		quota: { tokens_per_month: token.quotaTokensPerMonth ?? null, tps_limit: token.quotaTpsLimit ?? null },
		priority_override: token.priorityOverride ?? null,
		weight_override: token.weightOverride ?? null,
		max_priority: token.maxPriority ?? null,
		may_use_critical: token.mayUseCritical ?? false,
		allowed_models: token.allowedModels === undefined ? null : [...token.allowedModels],
		max_parallel_requests: token.maxParallelRequests ?? null,
		total_requests: token.totalRequests,
		last_used_at: instant(token.lastUsedAt),
		status: token.status,
		expires_at: instant(token.expiresAt),
		revoked_at: instant(token.revokedAt),
		revoked_reason: token.revokedReason ?? null,
		created_at: instant(token.createdAt),
	};
}

export function tokenFieldsOf(body: z.infer<typeof newToken>): NewToken {
	return given({
		accountId: body.account_id,
		priorityTier: body.priority_tier,
		environment: body.environment,
		workloadTag: body.workload_tag,
		name: body.name,
		description: body.description,
		quotaTokensPerMonth: body.quota_tokens_per_month,
		quotaTpsLimit: body.quota_tps_limit,
		expiresAt: typeof body.expires_at === "string" ? epochOf(body.expires_at) : undefined,
		priorityOverride: body.priority_override,
		weightOverride: body.weight_override,
		maxPriority: body.max_priority,
		mayUseCritical: body.may_use_critical,
		allowedModels: body.allowed_models,
		maxParallelRequests: body.max_parallel_requests,
	}) as NewToken;
}

/** Refuses a level that this gateway does not have. */
export function checkLevel(context: AdminContext, param: string, value: number | null | undefined) {
	const levels = context.priorityLevels;
	if (levels === undefined || value === undefined || value === null || value < levels) return undefined;
	return refuse("invalid_request", `${param} ${value} is not allowed: levels are 0 to ${levels - 1}`, param);
}

function unknownToken(tokenId: string): AdminRefusal {
	return refuse("not_found", `token "${tokenId}" does not exist`);
}

function creationMessage(context: AdminContext, fields: NewToken): string {
	const kept = "Keep the token now: it is not shown again.";
	const hasQuota = fields.quotaTokensPerMonth !== undefined || fields.quotaTpsLimit !== undefined;
	return hasQuota && !context.quotasEnforced ? `${kept} Its quota is stored; [quotas] enabled = false.` : kept;
}

const create = operation(
	{
		method: "POST",
		path: "/tokens",
		summary: "Create a token; its text is shown once",
		body: newToken,
		status: 201,
		answer: issuedToken,
	},
	async (context, { body, actor }) => {
		const wrongLevel =
			checkLevel(context, "priority_override", body.priority_override) ??
			checkLevel(context, "max_priority", body.max_priority);
		if (wrongLevel !== undefined) return wrongLevel;
		const fields = tokenFieldsOf(body);
		const result = await context.stores.tokens.create(fields, actor);
		if (!result.ok) return fromStore(result);
		const { token, hash, record } = result.value;
		context.tokenChanged(hash);
		await context.policyChanged();
		return answer({
			token_id: record.id,
			token,
			token_prefix: record.tokenPrefix,
			message: creationMessage(context, fields),
		});
	},
);

const list = operation(
	{
		method: "GET",
		path: "/tokens",
		summary: "List tokens, in order of creation",
		query: z.strictObject({
			account_id: id.optional(),
			status: z.enum(TOKEN_STATUSES).optional(),
			...pageQuery,
		}),
		answer: listAnswer("tokens", shownToken),
	},
	async (context, { query }) => {
		const filter = given({ accountId: query.account_id, status: query.status });
		return answer(listBody("tokens", await context.stores.tokens.list(filter, pageOf(query)), showToken));
	},
);

const get = operation(
	{ method: "GET", path: "/tokens/{token_id}", summary: "Show a token", params: tokenParams, answer: shownToken },
	async (context, { params }) => {
		const token = await context.stores.tokens.get(params.token_id);
		return token === undefined ? unknownToken(params.token_id) : answer(showToken(token));
	},
);

const revoke = operation(
	{
		method: "DELETE",
		path: "/tokens/{token_id}",
		summary: "Revoke a token; it is refused at once",
		params: tokenParams,
		body: z.strictObject({ reason: text.nullish() }).optional(),
		answer: z.object({
			token_id: z.string(),
			status: z.literal("revoked"),
			revoked_at: shownTime,
			revoked_reason: z.string().nullable(),
			message,
		}),
	},
	async (context, { params, body, actor }) => {
		const result = await context.stores.tokens.revoke(params.token_id, body?.reason ?? undefined, actor);
		if (!result.ok) return fromStore(result);
		const { hash, record } = result.value;
		context.tokenChanged(hash);
		await context.policyChanged();
		return answer({
			token_id: record.id,
			status: "revoked",
			revoked_at: instant(record.revokedAt),
			revoked_reason: record.revokedReason ?? null,
			message: "The token is refused from now on.",
		});
	},
);

const GRACE = duration({ minMs: 0 });
const GRACE_ALLOWED = GRACE.allowed;

function graceMsOf(text: string): number | undefined {
	return GRACE.parse(text)?.value;
}

function isGrace(text: string): boolean {
	return graceMsOf(text) !== undefined;
}

const rotate = operation(
	{
		method: "POST",
		path: "/tokens/{token_id}/rotate",
		summary: "Replace a token by a new one with the same rights; the old one ends after the grace",
		params: tokenParams,
		body: z
			.strictObject({
				grace_period: z
					.union([z.number().min(0).max(LONGEST_GRACE_SECONDS), z.string().refine(isGrace, GRACE_ALLOWED)])
					.nullish()
					.describe("seconds, or a duration such as 30m or 24h, for which the old one is still good (0)"),
			})
			.optional(),
		status: 201,
		answer: issuedToken.extend({ replaced_token_id: z.string(), replaced_ends_at: shownTime }),
	},
	async (context, { params, body, actor }) => {
		const grace = body?.grace_period ?? 0;
		const graceMs = typeof grace === "string" ? graceMsOf(grace)! : grace * MILLIS_PER_SECOND;
		const result = await context.stores.tokens.rotate(params.token_id, graceMs, actor);
		if (!result.ok) return fromStore(result);
		const { token, hash, record, replacedId, replacedHash } = result.value;
		context.tokenChanged(hash);
		context.tokenChanged(replacedHash);
		await context.policyChanged();
		const replaced = await context.stores.tokens.get(replacedId);
		return answer({
			token_id: record.id,
			token,
			token_prefix: record.tokenPrefix,
			replaced_token_id: replacedId,
			replaced_ends_at: instant(replaced?.revokedAt ?? replaced?.expiresAt ?? record.createdAt),
			message: creationMessage(context, record),
		});
	},
);

const usage = operation(
	{
		method: "GET",
		path: "/tokens/{token_id}/usage",
		summary: "What a token used in a period (this month, UTC)",
		params: tokenParams,
		query: z.strictObject({ since: time.optional(), until: time.optional() }),
		answer: z.object({
			token_id: z.string(),
			period_start: shownTime,
			period_end: shownTime,
			tokens_used: z.number(),
			requests_count: z.number(),
			current_tps: z.number(),
			last_request_at: shownTime.nullable(),
			total_cost_usd: z.number(),
		}),
	},
	async (context, { params, query }) => {
		const tokenId = params.token_id;
		if ((await context.stores.tokens.get(tokenId)) === undefined) return unknownToken(tokenId);
		await context.settle();
		const now = context.epochNow();
		const since = query.since === undefined ? startOfMonth(now) : epochOf(query.since);
		const until = query.until === undefined ? now + 1 : epochOf(query.until);
		const recentSince = now - CURRENT_RATE_SECONDS * MILLIS_PER_SECOND;
		const [period] = await context.stores.ledger.sum({ tokenId, since, until }, []);
		const [recent] = await context.stores.ledger.sum({ tokenId, since: recentSince }, []);
		return answer({
			token_id: tokenId,
			period_start: instant(since),
			period_end: instant(query.until === undefined ? now : until),
			tokens_used: period!.promptTokens + period!.completionTokens,
			requests_count: period!.requests,
			current_tps: (recent!.promptTokens + recent!.completionTokens) / CURRENT_RATE_SECONDS,
			last_request_at: instant(period!.lastAt),
			total_cost_usd: Number(period!.costNanoDollars) / NANO_DOLLARS_PER_DOLLAR,
		});
	},
);

const importTokens = operation(
	{
		method: "POST",
		path: "/tokens/import",
		summary: "Take over existing keys by their SHA-256; known ones are left as they are",
		body: z.strictObject({ tokens: z.array(importedToken).min(1).max(100_000) }),
		answer: z.object({
			imported: z.number(),
			skipped: z.number(),
			created_accounts: z.array(z.string()),
			message,
		}),
	},
	async (context, { body, actor }) => {
		const rows = body.tokens.map(({ sha256, account_id, tier, ...rest }) => ({
			sha256: sha256.toLowerCase(),
			accountId: account_id,
			tier,
			...given(rest),
		}));
		const { imported, skipped, createdAccounts } = await context.stores.tokens.import(rows, actor);
		context.tokensChanged();
		await context.policyChanged();
		return answer({
			imported,
			skipped,
			created_accounts: createdAccounts,
			message: `${imported} taken over, ${skipped} known already, ${createdAccounts.length} accounts made.`,
		});
	},
);

function startOfMonth(now: number): number {
	const date = new Date(now);
	return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
}

export const tokenOperations: readonly Operation[] = [create, list, importTokens, get, revoke, rotate, usage];
