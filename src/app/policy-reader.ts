/**
 * A policy document as it would stand in the store of a fresh gateway with this configuration: checked and completed by the very operation that
 * `apply` calls, over stores in memory. For tools that ask what a policy does before it is applied.
 */
import type { GatewayConfig } from "../config/gateway-config.ts";
import type { TimeWindow } from "../core/allocate/time-window.ts";
import { defaultRules } from "../core/classify/default-rules.ts";
import type { RoutingRule } from "../core/model/policy.ts";
import type { Quota } from "../core/quota/quota.ts";
import { adminServer } from "../http/admin/admin-server.ts";
import type { Account } from "../ports/account-store.ts";
import { memoryStores } from "../stores/memory/memory-stores.ts";
import { systemCalendar } from "./calendar.ts";
import { openQuotas } from "./quotas.ts";

export interface Policy {
	/** Those that a new gateway has, with the document's among them or in their place. */
	readonly rules: readonly RoutingRule[];
	readonly accounts: readonly Account[];
	readonly windows: readonly TimeWindow[];
	readonly quotas: readonly Quota[];
}

export interface PolicyProblem {
	/** Keys and indexes down to what is wrong. */
	readonly path: readonly (string | number)[];
	readonly message: string;
}

export type PolicyResult =
	| { readonly ok: true; readonly policy: Policy }
	| { readonly ok: false; readonly problems: readonly PolicyProblem[] };

const TOKEN = "policy-reader";

export async function readPolicy(document: unknown, config: GatewayConfig): Promise<PolicyResult> {
	const stores = memoryStores(() => 0);
	const levels = config.allocator.priority.priorityLevels;
	for (const { id: _, ...rule } of defaultRules(levels)) {
		const made = await stores.rules.create(rule, "system");
		if (!made.ok) throw new Error(made.message);
	}
	const quotas = openQuotas(config.quotas, stores, { settleLedger: async () => true, onError: () => undefined });
	const app = adminServer({
		adminToken: TOKEN,
		stores,
		epochNow: () => 0,
		quotasEnforced: config.quotas.enabled,
		quotas,
		isZone: systemCalendar.isZone,
		zoneOffset: systemCalendar.offset,
		...(config.requestScheduler.allocator === "priority" ? { priorityLevels: levels } : {}),
		policyChanged: () => undefined,
		tokenChanged: () => undefined,
		tokensChanged: () => undefined,
		settle: async () => undefined,
	});
	const { statusCode, body } = await app.inject({
		method: "POST",
		url: "/v1/admin/policy",
		headers: { authorization: `Bearer ${TOKEN}` },
		payload: { policy: document },
	});
	await app.close();
	if (statusCode >= 400) {
		const { error } = JSON.parse(body) as {
			readonly error: { readonly message: string; readonly problems?: readonly PolicyProblem[] };
		};
		return { ok: false, problems: error.problems ?? [{ path: [], message: error.message }] };
	}
	const accounts: Account[] = [];
	let cursor: string | undefined;
	do {
		const page = await stores.accounts.list({}, { limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
		accounts.push(...page.items);
		cursor = page.nextCursor ?? undefined;
	} while (cursor !== undefined);
	const [rules, windows, all] = await Promise.all([stores.rules.all(), stores.windows.all(), stores.quotas.all()]);
	return { ok: true, policy: { rules, accounts, windows, quotas: all } };
}
