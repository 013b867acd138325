import { describe, expect, it } from "vitest";
import { ledgerRow } from "./ledger-row.ts";
import { allPages, START, type StoresUnderTest } from "./subject.ts";

const DAY = 86_400_000;

export function describeLedgerStore(subject: StoresUnderTest): void {
	describe("ledger", () => {
		it("keeps every field", async () => {
			const { ledger } = subject.stores;
			const row = ledgerRow({
				requestId: "r1",
				clientRequestId: "theirs",
				organisation: "shop",
				team: "search",
				tokenId: "t1",
				environment: "production",
				workload: "batch",
				provider: "vllm-1",
				timeToFirstTokenMs: 80.5,
				errorCode: "upstream_timeout",
			});
			expect(await ledger.append([row])).toBe(1);
			expect(await ledger.get("r1")).toEqual(row);
			expect(await ledger.get("r2")).toBeUndefined();
		});

		it("keeps the first row of a request id, in one batch and over batches", async () => {
			const { ledger } = subject.stores;
			const row = ledgerRow({ requestId: "r1" });
			expect(await ledger.append([row, { ...row, outcome: "unknown" }])).toBe(1);
			expect(await ledger.append([{ ...row, outcome: "unknown" }, ledgerRow({ requestId: "r2" })])).toBe(1);
			expect((await ledger.get("r1"))?.outcome).toBe("completed");
			expect(await ledger.append([])).toBe(0);
		});

		it("keeps fifty rows of one client id apart", async () => {
			const { ledger } = subject.stores;
			const rows = Array.from({ length: 50 }, (_, i) => ledgerRow({ requestId: `r${i}`, clientRequestId: "same" }));
			expect(await ledger.append(rows)).toBe(50);
		});

		it("pages newest first and filters", async () => {
			const { ledger } = subject.stores;
			const rows = Array.from({ length: 8 }, (_, i) =>
				ledgerRow({ requestId: `r${i}`, settledAt: START + Math.trunc(i / 2), model: i % 4 === 0 ? "qwen" : "llama" }),
			);
			await ledger.append(rows);
			const all = await allPages((page) => ledger.list({}, page));
			expect(all.map(({ requestId }) => requestId)).toEqual(["r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"]);
			expect((await ledger.list({ model: "qwen" }, {})).items.map(({ requestId }) => requestId)).toEqual(["r4", "r0"]);
			expect((await ledger.list({ since: START + 1, until: START + 2 }, {})).items).toHaveLength(2);
		});

		it("sums by any groups, marks estimates, counts UTC days", async () => {
			const { ledger } = subject.stores;
			await ledger.append([
				ledgerRow({ requestId: "a", accountId: "one", settledAt: START }),
				ledgerRow({ requestId: "b", accountId: "one", settledAt: START + DAY, usageSource: "estimated" }),
				ledgerRow({ requestId: "c", accountId: "two", settledAt: START + DAY, outcome: "client_closed" }),
				ledgerRow({ requestId: "d", accountId: "two", settledAt: START + DAY + 5, promptTokens: 1 }),
			]);
			const byAccountAndDay = await ledger.sum({}, ["day", "account"]);
			expect(byAccountAndDay.map(({ group, requests }) => [group, requests])).toEqual([
				[{ account: "one", day: "2026-01-15" }, 1],
				[{ account: "one", day: "2026-01-16" }, 1],
				[{ account: "two", day: "2026-01-16" }, 2],
			]);
			expect(byAccountAndDay[2]).toEqual({
				group: { account: "two", day: "2026-01-16" },
				requests: 2,
				estimatedRequests: 0,
				promptTokens: 101,
				completionTokens: 40,
				cachedTokens: 20,
				costNanoDollars: 280_000n,
				firstAt: START + DAY,
				lastAt: START + DAY + 5,
			});
			expect((await ledger.sum({ accountId: "one" }, []))[0]).toMatchObject({ requests: 2, estimatedRequests: 1 });
			expect((await ledger.sum({}, ["outcome"])).map(({ group }) => group.outcome)).toEqual([
				"client_closed",
				"completed",
			]);
			expect((await ledger.sum({}, ["token"]))[0]?.group).toEqual({ token: "" });
			expect(await ledger.sum({}, ["account"], 1)).toHaveLength(1);
		});

		it("one empty sum over nothing, none by group", async () => {
			const { ledger } = subject.stores;
			const [sum] = await ledger.sum({ accountId: "nobody" }, []);
			expect(sum).toEqual({
				group: {},
				requests: 0,
				estimatedRequests: 0,
				promptTokens: 0,
				completionTokens: 0,
				cachedTokens: 0,
				costNanoDollars: 0n,
			});
			expect(await ledger.sum({}, ["model"])).toEqual([]);
		});

		it("adds money exactly beyond 2^53 nano-dollars", async () => {
			const { ledger } = subject.stores;
			const costNanoDollars = Number.MAX_SAFE_INTEGER;
			await ledger.append([0, 1, 2].map((i) => ledgerRow({ requestId: `r${i}`, costNanoDollars })));
			expect((await ledger.sum({}, []))[0]?.costNanoDollars).toBe(27_021_597_764_222_973n);
			expect((await ledger.get("r0"))?.costNanoDollars).toBe(costNanoDollars);
		});
	});
}
