/**
 * What a gateway still holds: for tests that wait until it holds nothing. Looks at every counter that a request moves, from inside, over the
 * admin API and at `/metrics`; and at the books: what started has one ledger row, budgets stand where the ledger does.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningGateway } from "../../src/app/gateway.ts";
import { AdaptiveCapacity } from "../../src/core/capacity/adaptive-capacity.ts";
import { amountIn } from "../../src/core/quota/quota.ts";
import type { LedgerRow } from "../../src/ports/ledger-store.ts";
import { until } from "./running-gateway.ts";

/** What can never be, whatever is under way: less than nothing is held, or more than there are requests. */
export function impossible(gateway: RunningGateway): readonly string[] {
	const { plane } = gateway;
	const alive = plane.exchanges.size;
	const found = Object.entries(heldInside(gateway)).flatMap(([name, value]) =>
		value < 0 ? [`${name} is ${value}`] : [],
	);
	const bounded = {
		"held by the guard": plane.hold?.size ?? 0,
		"charged to rates or waiting for them": (plane.rates?.running ?? 0) + (plane.rates?.waiting ?? 0),
		"in use by tokens": [...plane.tokenUse.values()].reduce((sum, count) => sum + count, 0),
		"waiting in the core": plane.engine.core.waitingCount,
	};
	for (const [name, count] of Object.entries(bounded))
		if (count > alive) found.push(`${count} are ${name}, but only ${alive} are alive`);
	return found;
}

/** Every counter that is not zero, by name. */
export function heldInside({ plane }: RunningGateway): Record<string, number> {
	const { core } = plane.engine;
	const counters: Record<string, number> = {
		exchanges: plane.exchanges.size,
		"tickets of the engine": plane.engine.size,
		"requests of the core": core.requestCount,
		"waiting in the core": core.waitingCount,
		"bytes waiting": core.waitingBytes,
		"tokens in use": plane.tokenUse.size,
		reservations: plane.quotas?.held ?? 0,
		"charged to rates": plane.rates?.running ?? 0,
		"waiting for rates": plane.rates?.waiting ?? 0,
		"held by the guard": plane.hold?.size ?? 0,
		"open in the journal": plane.journal.status().openRecords,
	};
	for (const { index, rule } of plane.lifecycle.rules)
		counters[`waiting under ${rule.name}`] = core.waitingUnder(index);
	for (const pool of core.pools) {
		for (const [at, endpoint] of pool.endpoints.entries()) {
			const of = `${pool.name}[${at}]`;
			counters[`${of} sequences`] = endpoint.sequences;
			counters[`${of} tokens`] = endpoint.tokens;
			counters[`${of} tokens held`] = endpoint.heldTokens;
			counters[`${of} prefill`] = endpoint.prefillTokens;
			counters[`${of} ahead`] = endpoint.aheadSequences + endpoint.aheadTokens;
			counters[`${of} freeing`] = endpoint.freeingSequences + endpoint.freeingTokens;
			counters[`${of} rows`] = endpoint.rows.length;
		}
		for (const [queue, state] of pool.queues.entries()) {
			const of = `${pool.name} queue ${queue}`;
			counters[`${of} in flight`] = state.inFlight;
			counters[`${of} tokens in flight`] = state.inFlightTokens;
			counters[`${of} tokens waiting`] = state.waitingTokens;
			counters[`${of} waiting`] = pool.waiting(queue);
			counters[`${of} lent`] = pool.upgradedIn(queue);
		}
		if (pool.observer instanceof AdaptiveCapacity) counters[`${pool.name} observed`] = pool.observer.inFlight;
	}
	for (const view of plane.quotas?.views() ?? []) counters[`reserved of ${view.quota.id}`] = view.state.reserved;
	return Object.fromEntries(Object.entries(counters).filter(([, value]) => value !== 0));
}

/** Gauges of `/metrics` and of the scheduler's status that say that something is under way. */
export async function heldOutside({ adminUrl }: RunningGateway, folder: string): Promise<Record<string, number>> {
	const authorization = `Bearer ${readFileSync(join(folder, "admin-token"), "utf8").trim()}`;
	const found: Record<string, number> = {};
	const metrics = await (await fetch(`${adminUrl}/metrics`, { headers: { authorization } })).text();
	let gauges = 0;
	for (const line of metrics.split("\n")) {
		const [, name, labels = "", value] = /^(\w+)(\{.*\})? (\S+)/.exec(line) ?? [];
		if (name === undefined || !GAUGES.test(name)) continue;
		gauges++;
		if (Number(value) !== 0) found[name + labels] = Number(value);
	}
	if (gauges < 10) throw new Error(`only ${gauges} gauges were found at /metrics`);
	const status = await (await fetch(`${adminUrl}/v1/admin/scheduler/status`, { headers: { authorization } })).json();
	for (const [path, value] of numbersIn(status)) if (STATUS.test(path) && value !== 0) found[path] = value;
	const { requests } = (await (
		await fetch(`${adminUrl}/v1/admin/requests`, { headers: { authorization } })
	).json()) as { requests: unknown[] };
	if (requests.length > 0) found["requests shown"] = requests.length;
	return found;
}

const GAUGES = /(queue_depth|waiting_tokens|capacity_in_use|_waiting|reserved|open_records)$/;
const STATUS = /\.(current_depth|in_flight|active_requests|in_flight_tokens|waiting_tokens)$/;

function* numbersIn(value: unknown, path = "status"): Generator<[string, number]> {
	if (typeof value === "number") yield [path, value];
	else if (typeof value === "object" && value !== null)
		for (const [key, inner] of Object.entries(value)) yield* numbersIn(inner, `${path}.${key}`);
}

/** All rows, once the journal is empty. */
export async function ledgerRows({ plane, stores }: RunningGateway): Promise<readonly LedgerRow[]> {
	await plane.journal.flushed();
	await until("the ledger has caught up", () => plane.journal.status().unsentRecords === 0);
	return await allRows(stores.ledger);
}

export async function allRows(ledger: RunningGateway["stores"]["ledger"]): Promise<readonly LedgerRow[]> {
	const rows: LedgerRow[] = [];
	let cursor: string | null | undefined;
	do {
		const page = await ledger.list({}, { limit: 1000, ...(cursor === undefined || cursor === null ? {} : { cursor }) });
		rows.push(...page.items);
		cursor = page.nextCursor;
	} while (cursor !== null);
	return rows;
}

/** Budgets that do not stand where the ledger's rows do. */
export function budgetsOff({ plane }: RunningGateway, rows: readonly LedgerRow[]): readonly string[] {
	return (plane.quotas?.views() ?? []).flatMap(({ quota, state, period }) => {
		const own = rows.filter(
			(row) => belongs(row, quota.node) && row.settledAt >= period.start && row.settledAt < period.end,
		);
		const used = amountIn(quota.limitDimension, {
			tokens: own.reduce((sum, row) => sum + row.promptTokens + row.completionTokens, 0),
			requests: own.length,
			nanoDollars: own.reduce((sum, row) => sum + row.costNanoDollars, 0),
		});
		return used === state.used ? [] : [`${quota.id} (${quota.limitDimension}) says ${state.used}, the ledger ${used}`];
	});
}

function belongs(row: LedgerRow, node: string): boolean {
	const [kind, ...name] = node.split(":");
	if (kind === "account") return row.accountId === name.join(":");
	if (kind === "token") return row.tokenId === name.join(":");
	throw new Error(`no test uses a quota of ${node}`);
}
