/**
 * Routing rules. At any time at least one enabled rule matches everything: a change that would remove the last one is refused.
 * Every write stands in one transaction with its audit row and raises the policy version (`policy-store.ts`).
 */
import type { RoutingRule } from "../core/model/policy.ts";
import type { Page, PageRequest } from "./page.ts";
import type { Patch, WriteResult } from "./write-result.ts";

/** `id` is made when absent; `enabled` is true when absent. */
export type NewRule = Omit<RoutingRule, "id" | "enabled"> & { readonly id?: string; readonly enabled?: boolean };

export interface RuleOrder {
	readonly id: string;
	readonly priorityOrder: number;
}

export interface RuleStore {
	/** All rules, enabled or not, in order of `priorityOrder`, then id. */
	all(): Promise<readonly RoutingRule[]>;
	list(page: PageRequest): Promise<Page<RoutingRule>>;
	get(id: string): Promise<RoutingRule | undefined>;
	/** Refuses (`conflict`) an id or a name that is taken. */
	create(rule: NewRule, actor: string): Promise<WriteResult<RoutingRule>>;
	update(id: string, patch: Patch<Omit<RoutingRule, "id">>, actor: string): Promise<WriteResult<RoutingRule>>;
	delete(id: string, actor: string): Promise<WriteResult<RoutingRule>>;
	/** All or nothing; answers all rules in their new order. */
	reorder(order: readonly RuleOrder[], actor: string): Promise<WriteResult<readonly RoutingRule[]>>;
	/** Writes the default rules if this store never had any; true when it did. A second start, or two at once, changes nothing. */
	seed(rules: readonly NewRule[], actor: string): Promise<boolean>;
}
