import { beforeEach, expect, test } from "vitest";
import type { RoutingMetadata } from "../core/model/routing.ts";
import type { QuotaAmounts } from "../core/quota/quota.ts";
import type { LedgerRow } from "../ports/ledger-store.ts";
import type { NewQuota } from "../ports/quota-store.ts";
import type { Stores } from "../ports/stores.ts";
import { memoryStores } from "../stores/memory/memory-stores.ts";
import { MemoryQuotaCounters } from "../stores/memory/quota-counters.ts";
import { type QuotaAlert, QuotaService } from "./quota-service.ts";

const HOUR = 3_600_000;
const NOON = Date.UTC(2026, 4, 10, 12);
const DAILY: NewQuota = {
	id: "daily",
	accountId: "acme",
	node: "account:acme",
	quotaType: "hard",
	limitDimension: "tokens_per_day",
	limitValue: 1000,
};
const ACME: RoutingMetadata = { tier: "external", accountId: "acme", routedBy: "token", environment: "production" };

let now: number;
let stores: Stores;
let ledgerAnswers: boolean;
let alerts: QuotaAlert[];
let errors: string[];
let ids: number;

beforeEach(async () => {
	now = NOON;
	stores = memoryStores(() => now);
	ledgerAnswers = true;
	alerts = [];
	errors = [];
	ids = 0;
	const account = { id: "acme", email: "a@example.com", name: "Acme", accountType: "external" } as const;
	await stores.accounts.create(account, "admin");
});

async function service(): Promise<QuotaService> {
	const made = new QuotaService(
		{ resetDay: 1, zone: "UTC" },
		{
			store: stores.quotas,
			ledger: stores.ledger,
			counters: new MemoryQuotaCounters(),
			offset: () => 0,
			epochNow: () => now,
			timers: { after: () => () => {} },
			settleLedger: async () => ledgerAnswers,
			onAlert: (alert) => alerts.push(alert),
			onError: (error) => errors.push(String(error)),
		},
	);
	await made.reload();
	return made;
}

const tokens = (count: number): QuotaAmounts => ({ tokens: count, requests: 1, nanoDollars: count * 1000 });

/** What a settled request leaves in the ledger. */
async function record(count: number, at: number, of: Partial<LedgerRow> = {}): Promise<void> {
	await stores.ledger.append([
		{
			requestId: `ledger_${ids++}`,
			accountId: "acme",
			tier: "external",
			routedBy: "token",
			model: "m",
			operation: "chat",
			promptTokens: count,
			completionTokens: 0,
			cachedTokens: 0,
			usageSource: "measured",
			queue: "P3",
			waitMs: 0,
			durationMs: 1,
			outcome: "completed",
			costNanoDollars: count * 1000,
			environment: "production",
			startedAt: at,
			settledAt: at,
			...of,
		},
	]);
}

const used = async (quotas: QuotaService, id = "daily") => {
	const view = await quotas.status((await stores.quotas.get(id))!);
	return view?.state.used;
};

test("a request without a budget is no concern, and costs nothing", async () => {
	const quotas = await service();
	expect(quotas.concerns(ACME)).toBe(false);
	expect(quotas.reserve("a", ACME, tokens(5), 1)).toBeUndefined();
	expect(quotas.held).toBe(0);
});

test("reserve, commit and release answer at once when the counters are at hand", async () => {
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	await quotas.warmUp();
	expect(quotas.reserve("a", ACME, tokens(600), 1)).toBeUndefined();
	expect(quotas.reserve("b", ACME, tokens(401), 1)).toMatchObject({
		quota: { id: "daily" },
		amount: 401,
		state: { used: 0, reserved: 600 },
		period: { end: Date.UTC(2026, 4, 11) },
	});
	expect(quotas.reserve("c", ACME, tokens(400), 1)).toBeUndefined();
	quotas.commit("a", ACME, tokens(550), now);
	quotas.release("c");
	expect(quotas.held).toBe(0);
	expect(await used(quotas)).toBe(550);
	expect(quotas.reserve("d", ACME, tokens(900), 2)).toBeUndefined();
});

test("each node of the hierarchy counts its own, in its environment", async () => {
	const inStaging = { ...DAILY, id: "staging", environment: "staging" };
	const ofOrganisation = { ...DAILY, id: "org", node: "organisation:grp", limitValue: 5000 };
	const ofTeam = { ...DAILY, id: "team", node: "team:grp/search" };
	const ofToken = {
		...DAILY,
		id: "token",
		node: "token:t1",
		limitDimension: "requests_per_day",
		limitValue: 2,
	} as const;
	const inDollars = { ...DAILY, id: "usd", limitDimension: "usd_per_month", limitValue: 0.5 } as const;
	for (const quota of [DAILY, inStaging, ofOrganisation, ofTeam, ofToken, inDollars]) {
		await stores.quotas.create(quota, "admin");
	}
	const quotas = await service();
	await quotas.warmUp();
	const who: RoutingMetadata = { ...ACME, organisation: "grp", teamId: "search", tokenId: "t1" };
	expect(quotas.viewsOf(who).map(({ quota }) => quota.id)).toEqual(["org", "team", "daily", "usd", "token"]);
	expect(quotas.viewsOf({ ...who, environment: "staging" }).map(({ quota }) => quota.id)).toContain("staging");
	expect(quotas.viewsOf({ ...ACME, teamId: "search" }).map(({ quota }) => quota.id)).toEqual(["daily", "usd"]);
	for (const id of ["a", "b"]) expect(quotas.reserve(id, who, tokens(10), 1)).toBeUndefined();
	expect(quotas.reserve("c", who, tokens(10), 1)).toMatchObject({ quota: { id: "token" } });
	for (const id of ["a", "b"]) quotas.commit(id, who, tokens(10), now);
	expect(await Promise.all(["org", "team", "daily", "usd", "token"].map((id) => used(quotas, id)))).toEqual([
		20, 20, 20, 20_000, 2,
	]);
});

test("a restart, a new quota and a new period begin with the ledger's sum", async () => {
	await record(300, now - HOUR);
	await record(77, now - 24 * HOUR);
	await record(50, now - HOUR, { accountId: "other" });
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	const spent = quotas.reserve("a", ACME, tokens(701), 1);
	expect(spent).toBeInstanceOf(Promise);
	expect(await spent).toMatchObject({ state: { used: 300 } });
	await record(100, now);
	quotas.commit("a", ACME, tokens(100), now);
	await stores.quotas.create({ ...DAILY, id: "monthly", limitDimension: "tokens_per_month" }, "admin");
	now += 1;
	await quotas.reload();
	expect([await used(quotas), await used(quotas, "monthly")]).toEqual([400, 477]);
	now += 24 * HOUR;
	expect([await used(quotas), await used(quotas, "monthly")]).toEqual([0, 477]);
});

test("commits that settle while the ledger is asked count once", async () => {
	await record(300, now - HOUR);
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	const spent = quotas.reserve("a", ACME, tokens(10), 1);
	await record(40, now);
	quotas.commit("early", ACME, tokens(40), now);
	await spent;
	quotas.commit("a", ACME, tokens(10), now);
	expect(await used(quotas)).toBe(350);
});

test("a checkpoint saves the sum, and what settled after it is added", async () => {
	await record(300, now - HOUR);
	await stores.quotas.create(DAILY, "admin");
	const first = await service();
	await first.warmUp();
	await record(20, now);
	first.commit("a", ACME, tokens(20), now);
	await first.close();
	expect(await stores.quotas.usage("daily", Date.UTC(2026, 4, 10))).toMatchObject({
		usedValue: 300,
		countedUntil: now,
	});
	await record(5, now);
	await record(7, now + 10);
	now += 1000;
	expect(await used(await service())).toBe(332);
});

test("a clock that jumps finds each period as it was left", async () => {
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	await quotas.warmUp();
	const at = async (time: number, amount: number) => {
		now = time;
		await quotas.reserve(`${time}`, ACME, tokens(0), 1);
		quotas.commit(`${time}`, ACME, tokens(amount), now);
		await record(amount, now);
		return used(quotas);
	};
	expect(await at(NOON, 10)).toBe(10);
	expect(await at(NOON + 24 * HOUR, 20)).toBe(20);
	expect(await at(NOON + 1, 30)).toBe(40);
	expect(await at(NOON + 24 * HOUR + 1, 40)).toBe(60);
	for (const days of [2, 3, 4, 5]) await at(NOON + days * 24 * HOUR, 1);
	// long forgotten here, not by the ledger
	expect(await at(NOON + 2, 5)).toBe(45);
});

test("alerts come once per threshold and period, across a restart too", async () => {
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	await quotas.warmUp();
	const use = async (amount: number) => {
		const id = `r${ids}`;
		await record(amount, now);
		quotas.commit(id, ACME, tokens(amount), now);
		now++;
		return alerts.splice(0).map(({ thresholdPct }) => thresholdPct);
	};
	expect(await use(799)).toEqual([]);
	expect(await use(1)).toEqual([80]);
	expect(await use(150)).toEqual([90]);
	expect(await use(10)).toEqual([]);
	await quotas.close();
	const second = await service();
	await second.warmUp();
	expect(alerts).toEqual([]);
	second.commit("x", ACME, tokens(500), now);
	expect(alerts.splice(0).map(({ thresholdPct }) => thresholdPct)).toEqual([100]);
	now += 24 * HOUR;
	await second.warmUp();
	second.commit("y", ACME, tokens(950), now);
	expect(alerts.map(({ thresholdPct }) => thresholdPct)).toEqual([80, 90]);
});

test("a top-up lifts the limit of the running period, and lasts over a restart", async () => {
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	await quotas.warmUp();
	quotas.commit("a", ACME, tokens(1000), now);
	await record(1000, now);
	expect(quotas.reserve("b", ACME, tokens(1), 1)).toBeDefined();
	const quota = (await stores.quotas.get("daily"))!;
	expect(await quotas.adjust(quota, 50, "launch", "ann")).toMatchObject({ state: { adjusted: 50 } });
	expect(quotas.reserve("b", ACME, tokens(50), 1)).toBeUndefined();
	now++;
	const second = await service();
	await second.warmUp();
	expect(second.reserve("c", ACME, tokens(51), 1)).toBeDefined();
	expect(second.reserve("c", ACME, tokens(50), 1)).toBeUndefined();
	now += 24 * HOUR;
	await second.warmUp();
	expect(second.reserve("d", ACME, tokens(1001), 1)).toBeDefined();
});

test("a top-up while the ledger is down counts once when it answers", async () => {
	await stores.quotas.create(DAILY, "admin");
	ledgerAnswers = false;
	const quotas = await service();
	await quotas.warmUp();
	const quota = (await stores.quotas.get("daily"))!;
	expect(await quotas.adjust(quota, 50, "launch", "ann")).toMatchObject({ state: { adjusted: 50 } });
	ledgerAnswers = true;
	now += 6000;
	expect(await quotas.status(quota)).toMatchObject({ state: { adjusted: 50 } });
	expect(await quotas.adjust(quota, 20, "more", "ann")).toMatchObject({ state: { adjusted: 70 } });
});

test("a ledger that is down holds nobody up; what it knows is added when it answers", async () => {
	await record(900, now - HOUR);
	await stores.quotas.create(DAILY, "admin");
	ledgerAnswers = false;
	const quotas = await service();
	expect(await quotas.reserve("a", ACME, tokens(200), 1)).toBeUndefined();
	expect(errors).toHaveLength(1);
	quotas.commit("a", ACME, tokens(200), now);
	ledgerAnswers = true;
	now += 6000;
	expect(await quotas.reserve("b", ACME, tokens(1), 1)).toMatchObject({ state: { used: 1100 } });
});

test("new terms keep the count; a deleted quota is forgotten", async () => {
	await stores.quotas.create(DAILY, "admin");
	const quotas = await service();
	await quotas.warmUp();
	expect(quotas.reserve("a", ACME, tokens(100), 1)).toBeUndefined();
	quotas.commit("a", ACME, tokens(100), now);
	await stores.quotas.update("daily", { limitValue: 150, quotaType: "soft" }, "admin");
	await quotas.reload();
	expect(quotas.reserve("b", ACME, tokens(80), 1)).toBeUndefined();
	expect(quotas.reserve("c", ACME, tokens(1), 1)).toMatchObject({ refusedAbovePct: 120, limit: 150 });
	await stores.quotas.delete("daily", "admin");
	await quotas.reload();
	expect(quotas.concerns(ACME)).toBe(false);
	quotas.commit("b", ACME, tokens(80), now);
	expect(quotas.held).toBe(0);
});

test("quota_tokens_per_month of a token is a budget of its own", async () => {
	const who: RoutingMetadata = { ...ACME, tokenId: "t1", token: { quotaTokensPerMonth: 500 } };
	await record(450, now - 9 * 24 * HOUR, { tokenId: "t1" });
	const quotas = await service();
	expect(await quotas.reserve("a", who, tokens(51), 1)).toMatchObject({ quota: { node: "token:t1" } });
	await quotas.reload();
	expect(quotas.reserve("b", who, tokens(50), 1)).toBeUndefined();
	const raised = { ...who, token: { quotaTokensPerMonth: 600 } };
	expect(quotas.reserve("c", raised, tokens(100), 1)).toBeUndefined();
	expect(quotas.reserve("d", raised, tokens(1), 1)).toBeDefined();
});
