/** `/v1/admin/explain`: what would happen to a described request in the running gateway, now. */
import { z } from "zod";
import type { RoutingMetadata } from "../../core/model/routing.ts";
import type { AdminContext } from "./admin-context.ts";
import { type AdminRefusal, refuse } from "./admin-error.ts";
import { id, name, word } from "./fields.ts";
import { answer, type Operation, operation } from "./operation.ts";
import { running } from "./scheduler.ts";
import { isRefusal } from "./validation.ts";
import { given } from "./wire.ts";

const described = z.strictObject({
	token_id: id.nullish().describe("as if it came with this token"),
	tier: word.nullish(),
	environment: word.nullish(),
	workload: word.nullish(),
	account_id: id.nullish(),
	organisation: name.nullish(),
	account_type: z.enum(["internal", "external"]).nullish(),
	account_tier: word.nullish(),
	tag: word.nullish(),
	model: name,
	prompt_tokens: z.number().int().min(0).nullish(),
	max_tokens: z.number().int().min(1).nullish(),
	stream: z.boolean().nullish(),
	x_priority: z.string().max(64).nullish(),
	x_request_class: z.string().max(64).nullish(),
});

const explain = operation(
	{
		method: "POST",
		path: "/explain",
		summary: "What would happen to this request now, step by step; nothing is sent",
		body: described,
		answer: z.object({
			outcome: z.string(),
			queue: z.string().nullable(),
			pool: z.string().nullable(),
			steps: z.array(z.object({ step: z.string(), result: z.string() })),
		}),
	},
	async (context, { body }) => {
		const scheduler = running(context);
		if (isRefusal(scheduler)) return scheduler;
		const metadata = await describedMetadata(context, body);
		if (isRefusal(metadata)) return metadata;
		const explanation = scheduler.explain({
			metadata,
			hints: given({ priority: body.x_priority, requestClass: body.x_request_class }),
			model: body.model,
			promptTokens: body.prompt_tokens ?? 0,
			...given({ maxTokens: body.max_tokens }),
			stream: body.stream ?? false,
		});
		const { outcome, queue, pool, steps } = explanation;
		return answer({ outcome, queue: queue ?? null, pool: pool ?? null, steps });
	},
);

async function describedMetadata(
	context: AdminContext,
	body: z.infer<typeof described>,
): Promise<RoutingMetadata | AdminRefusal> {
	const said = given({
		environment: body.environment,
		workload: body.workload,
		organisation: body.organisation,
		accountType: body.account_type,
		accountTier: body.account_tier,
		tag: body.tag,
	});
	if (typeof body.token_id !== "string") {
		const account =
			typeof body.account_id === "string" ? await context.stores.accounts.get(body.account_id) : undefined;
		const known = given({
			organisation: account?.organisation,
			accountType: account?.accountType,
			accountTier: account?.accountTier,
			teamId: account?.team,
		});
		return {
			tier: body.tier ?? "default",
			accountId: body.account_id ?? "default",
			routedBy: "token",
			...known,
			...said,
		};
	}
	const token = await context.stores.tokens.get(body.token_id);
	if (token === undefined) return refuse("not_found", `token "${body.token_id}" does not exist`, "token_id");
	const account = await context.stores.accounts.get(token.accountId);
	return {
		tier: body.tier ?? token.priorityTier,
		accountId: token.accountId,
		tokenId: token.id,
		routedBy: "token",
		...given({
			environment: token.environment,
			workload: token.workloadTag,
			tag: token.workloadTag,
			organisation: account?.organisation,
			accountType: account?.accountType,
			accountTier: account?.accountTier,
			teamId: account?.team,
		}),
		...said,
		token: given({
			priorityOverride: token.priorityOverride,
			weightOverride: token.weightOverride,
			maxPriority: token.maxPriority,
			mayUseCritical: token.mayUseCritical,
			allowedModels: token.allowedModels,
			maxParallelRequests: token.maxParallelRequests,
			quotaTokensPerMonth: token.quotaTokensPerMonth,
			quotaTpsLimit: token.quotaTpsLimit,
		}),
	};
}

export const explainOperations: readonly Operation[] = [explain];
