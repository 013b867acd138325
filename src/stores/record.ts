/** Small rules that every store implementation keeps alike. */
import { randomBytes } from "node:crypto";
import type { EpochMillis } from "../core/model/units.ts";
import type { PolicyChange } from "../ports/policy-store.ts";
import type { Patch } from "../ports/write-result.ts";
import { matchesEverything } from "./rule-set.ts";

/** `acct_…`, `token_…`, `rule_…`, `quota_…`, `window_…`: 96 random bits as hex. */
export function newId(kind: "acct" | "token" | "rule" | "quota" | "window"): string {
	return `${kind}_${randomBytes(12).toString("hex")}`;
}

/** Absent leaves a field, `null` removes it. */
export function applyPatch<T extends object>(before: T, patch: Patch<Partial<T>>): T {
	const after = { ...before } as Record<string, unknown>;
	for (const [field, value] of Object.entries(patch)) {
		if (value === null) delete after[field];
		else if (value !== undefined) after[field] = value;
	}
	return after as T;
}

/** Equal as JSON, whatever the order of fields; undefined counts as absent. */
export function sameFields(a: unknown, b: unknown): boolean {
	return canonicalJson(a) === canonicalJson(b);
}

function canonicalJson(value: unknown): string {
	return JSON.stringify(value, (_, part: unknown) =>
		part !== null && typeof part === "object" && !Array.isArray(part)
			? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
			: part,
	);
}

/**
 * In an order in which no step is refused for what a later one brings: accounts, quotas that go (another one may limit the same),
 * catch-alls, the rest, what else goes.
 */
export function inSafeOrder(changes: readonly PolicyChange[]): readonly PolicyChange[] {
	const rank = (change: PolicyChange) => {
		switch (change.kind) {
			case "put_account":
				return 0;
			case "delete_quota":
				return 1;
			case "put_rule":
				return matchesEverything(change.rule) && change.rule.enabled !== false ? 2 : 3;
			case "put_window":
			case "put_quota":
			case "import_token":
				return 3;
			case "delete_window":
			case "delete_rule":
			case "delete_account":
				return 4;
		}
	};
	return [...changes].sort((a, b) => rank(a) - rank(b));
}

/** `YYYY-MM-DD` in UTC. */
export function utcDay(at: EpochMillis): string {
	return new Date(at).toISOString().slice(0, 10);
}
