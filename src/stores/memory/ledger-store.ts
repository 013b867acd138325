/** The ledger in memory: rows once per request id, sums computed when asked. */
import {
	LEDGER_GROUPS,
	type LedgerFilter,
	type LedgerGroup,
	type LedgerRow,
	type LedgerStore,
	type LedgerSum,
} from "../../ports/ledger-store.ts";
import { cursorKeys, type Page, type PageRequest, pageLimit, toPage } from "../../ports/page.ts";
import { utcDay } from "../record.ts";
import type { MemoryState } from "./memory-state.ts";

const GROUP_VALUES: Readonly<Record<LedgerGroup, (row: LedgerRow) => string | undefined>> = {
	account: (row) => row.accountId,
	token: (row) => row.tokenId,
	organisation: (row) => row.organisation,
	team: (row) => row.team,
	model: (row) => row.model,
	environment: (row) => row.environment,
	day: (row) => utcDay(row.settledAt),
	outcome: (row) => row.outcome,
};

const MAX_SUM_ROWS = 10_000;

export class MemoryLedgerStore implements LedgerStore {
	readonly #state: MemoryState;

	constructor(state: MemoryState) {
		this.#state = state;
	}

	async append(rows: readonly LedgerRow[]): Promise<number> {
		let added = 0;
		for (const row of rows) {
			if (this.#state.ledger.has(row.requestId)) continue;
			this.#state.ledger.set(row.requestId, row);
			added++;
			const token = row.tokenId === undefined ? undefined : this.#state.tokens.get(row.tokenId);
			if (token === undefined) continue;
			const lastUsedAt = Math.max(token.lastUsedAt ?? 0, row.settledAt);
			this.#state.tokens.set(token.id, { ...token, totalRequests: token.totalRequests + 1, lastUsedAt });
		}
		return added;
	}

	async get(requestId: string): Promise<LedgerRow | undefined> {
		return this.#state.ledger.get(requestId);
	}

	async list(filter: LedgerFilter, page: PageRequest): Promise<Page<LedgerRow>> {
		const limit = pageLimit(page);
		const [at, id] = (cursorKeys(page, ["number", "string"]) ?? []) as [number?, string?];
		const found = this.#matching(filter)
			.filter((row) => at === undefined || row.settledAt < at || (row.settledAt === at && row.requestId < (id ?? "")))
			.sort((a, b) => b.settledAt - a.settledAt || (a.requestId < b.requestId ? 1 : -1));
		return toPage(found.slice(0, limit + 1), limit, (row) => [row.settledAt, row.requestId]);
	}

	async sum(filter: LedgerFilter, groups: readonly LedgerGroup[], limit = MAX_SUM_ROWS): Promise<readonly LedgerSum[]> {
		const wanted = LEDGER_GROUPS.filter((group) => groups.includes(group));
		const rowsByKey = new Map<string, LedgerRow[]>();
		if (wanted.length === 0) rowsByKey.set("[]", []);
		for (const row of this.#matching(filter)) {
			const key = JSON.stringify(wanted.map((group) => GROUP_VALUES[group](row) ?? ""));
			const rows = rowsByKey.get(key);
			if (rows === undefined) rowsByKey.set(key, [row]);
			else rows.push(row);
		}
		return [...rowsByKey]
			.map(([key, rows]) => ({ values: JSON.parse(key) as string[], rows }))
			.sort((a, b) => compareLists(a.values, b.values))
			.slice(0, Math.min(limit, MAX_SUM_ROWS))
			.map(({ values, rows }) => sumOf(Object.fromEntries(wanted.map((group, i) => [group, values[i]!])), rows));
	}

	#matching(filter: LedgerFilter): LedgerRow[] {
		const fields = ["accountId", "tokenId", "organisation", "team", "model", "environment", "outcome"] as const;
		return [...this.#state.ledger.values()].filter(
			(row) =>
				fields.every((field) => filter[field] === undefined || row[field] === filter[field]) &&
				(filter.since === undefined || row.settledAt >= filter.since) &&
				(filter.until === undefined || row.settledAt < filter.until),
		);
	}
}

function sumOf(group: LedgerSum["group"], rows: readonly LedgerRow[]): LedgerSum {
	const total = (value: (row: LedgerRow) => number) => rows.reduce((sum, row) => sum + value(row), 0);
	const times = rows.map((row) => row.settledAt).sort((a, b) => a - b);
	return {
		group,
		requests: rows.length,
		estimatedRequests: total((row) => (row.usageSource === "estimated" ? 1 : 0)),
		promptTokens: total((row) => row.promptTokens),
		completionTokens: total((row) => row.completionTokens),
		cachedTokens: total((row) => row.cachedTokens),
		costNanoDollars: rows.reduce((sum, row) => sum + BigInt(row.costNanoDollars), 0n),
		...(times.length === 0 ? {} : { firstAt: times[0]!, lastAt: times.at(-1)! }),
	};
}

function compareLists(a: readonly string[], b: readonly string[]): number {
	const at = a.findIndex((value, i) => value !== b[i]);
	return at === -1 ? 0 : a[at]! < b[at]! ? -1 : 1;
}
