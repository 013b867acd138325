import { beforeEach, describe, expect, it } from "vitest";
import type { TokenIdentity } from "../ports/token-reader.ts";
import { TokenLookup, type TokenLookupSettings } from "./token-lookup.ts";

const SETTINGS: TokenLookupSettings = {
	cacheTtlMs: 300_000,
	cacheSize: 100,
	negativeTtlMs: 5000,
	negativeSize: 50,
	failMode: "fail_close",
	failOpenLimit: 3,
	storeTimeoutMs: 1000,
	storeRetryMs: 2000,
};

let now: number;
let epoch: number;
let known: Map<string, TokenIdentity>;
let asked: string[];
let store: "up" | "down" | "silent";
let onDisk: Map<string, TokenIdentity>;
let timeouts: Set<() => void>;

beforeEach(() => {
	now = 0;
	epoch = 1_000_000;
	known = new Map();
	asked = [];
	store = "up";
	onDisk = new Map();
	timeouts = new Set();
});

function identity(hash: string, fields: Partial<TokenIdentity> = {}): TokenIdentity {
	return {
		hash,
		tokenId: `id-${hash}`,
		accountId: "shop",
		priorityTier: "external",
		accountStatus: "active",
		...fields,
	};
}

function lookup(settings: Partial<TokenLookupSettings> = {}): TokenLookup {
	return new TokenLookup(
		{ ...SETTINGS, ...settings },
		{
			reader: {
				find(hash) {
					asked.push(hash);
					if (store === "down") return Promise.reject(new Error("down"));
					if (store === "silent") return new Promise(() => undefined);
					return Promise.resolve(known.get(hash));
				},
				active: async () => [],
			},
			snapshot: {
				find: async (hash) => onDisk.get(hash),
				write: async () => undefined,
				takenAt: () => undefined,
				size: () => onDisk.size,
			},
			hash: (token) => `#${token}`,
			clock: { now: () => now, epochNow: () => epoch },
			timers: {
				after(_, callback) {
					timeouts.add(callback);
					return () => timeouts.delete(callback);
				},
			},
		},
	);
}

describe("a known token", () => {
	it("is asked for once, then answered without a promise", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		const first = tokens.lookUp("a");
		expect(first).toBeInstanceOf(Promise);
		expect(await first).toEqual({ kind: "accepted", identity: identity("#a") });
		const again = tokens.lookUp("a");
		expect(again).toEqual(await first);
		expect(tokens.lookUp("a")).toBe(again);
		expect(asked).toEqual(["#a"]);
		expect(timeouts.size).toBe(0);
	});

	it("is asked for again after its time", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		await tokens.lookUp("a");
		known.set("#a", identity("#a", { priorityTier: "premium" }));
		now = SETTINGS.cacheTtlMs - 1;
		expect(await tokens.lookUp("a")).toMatchObject({ identity: { priorityTier: "external" } });
		now++;
		expect(await tokens.lookUp("a")).toMatchObject({ identity: { priorityTier: "premium" } });
		expect(asked).toHaveLength(2);
	});

	it("expires at its instant, cached or not", async () => {
		known.set("#a", identity("#a", { expiresAt: epoch + 10 }));
		const tokens = lookup();
		expect(await tokens.lookUp("a")).toMatchObject({ kind: "accepted" });
		epoch += 10;
		expect(tokens.lookUp("a")).toEqual({ kind: "refused", code: "expired_token" });
	});

	it.each([
		[{ revokedAt: 1 }, "revoked_token"],
		[{ expiresAt: 1 }, "expired_token"],
		[{ accountStatus: "suspended" }, "account_suspended"],
		[{ accountStatus: "deleted" }, "account_suspended"],
	] as const)("with %j is refused as %s, from store and cache", async (fields, code) => {
		known.set("#a", identity("#a", fields));
		const tokens = lookup();
		expect(await tokens.lookUp("a")).toEqual({ kind: "refused", code });
		expect(tokens.lookUp("a")).toEqual({ kind: "refused", code });
	});

	it("revoked here is refused at the next request, even with an answer on its way", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		const onItsWay = tokens.lookUp("a");
		known.set("#a", identity("#a", { revokedAt: 1 }));
		tokens.forget("#a");
		await onItsWay;
		expect(await tokens.lookUp("a")).toEqual({ kind: "refused", code: "revoked_token" });
		expect(tokens.lookUp("a")).toEqual({ kind: "refused", code: "revoked_token" });
	});
});

describe("an unknown token", () => {
	it("costs one look-up however often it is tried, for a short time", async () => {
		const tokens = lookup();
		const outcomes = await Promise.all(Array.from({ length: 20 }, () => tokens.lookUp("x")));
		expect(new Set(outcomes)).toEqual(new Set([{ kind: "refused", code: "unknown_token" }]));
		expect(tokens.lookUp("x")).toEqual({ kind: "refused", code: "unknown_token" });
		expect(asked).toEqual(["#x"]);
		now = SETTINGS.negativeTtlMs;
		await tokens.lookUp("x");
		expect(asked).toHaveLength(2);
	});

	it("works at once when it was created here meanwhile", async () => {
		const tokens = lookup();
		await tokens.lookUp("x");
		known.set("#x", identity("#x"));
		tokens.forget("#x");
		expect(await tokens.lookUp("x")).toMatchObject({ kind: "accepted" });
	});

	it("by the thousand pushes out no known one, and memory stays bounded", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		await tokens.lookUp("a");
		for (let i = 0; i < 1000; i++) await tokens.lookUp(`x${i}`);
		expect(tokens.lookUp("a")).toMatchObject({ kind: "accepted" });
		expect(tokens.size()).toBe(1);
	});

	it("deleted from the store is forgotten here when asked again", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		await tokens.lookUp("a");
		known.clear();
		now = SETTINGS.cacheTtlMs;
		expect(await tokens.lookUp("a")).toEqual({ kind: "refused", code: "unknown_token" });
	});
});

describe("while the store does not answer", () => {
	it("the snapshot answers, expiry and revocation included; strangers get stores_unavailable", async () => {
		store = "down";
		onDisk.set("#a", identity("#a"));
		onDisk.set("#b", identity("#b", { expiresAt: 1 }));
		const tokens = lookup();
		expect(await tokens.lookUp("a")).toMatchObject({ kind: "accepted" });
		expect(await tokens.lookUp("b")).toEqual({ kind: "refused", code: "expired_token" });
		expect(await tokens.lookUp("x")).toEqual({ kind: "refused", code: "stores_unavailable" });
		expect(asked).toEqual(["#a"]);
		expect(tokens.degraded()).toBe(true);
	});

	it("silence counts as no answer after the time-out, and nobody waits for it twice", async () => {
		store = "silent";
		onDisk.set("#a", identity("#a"));
		const tokens = lookup();
		const waiting = tokens.lookUp("a");
		for (const timeout of timeouts) timeout();
		expect(await waiting).toMatchObject({ kind: "accepted" });
		expect(await tokens.lookUp("x")).toMatchObject({ code: "stores_unavailable" });
		expect(asked).toEqual(["#a"]);
	});

	it("a cached token outlives its time, and is asked for again when the store may be back", async () => {
		known.set("#a", identity("#a"));
		const tokens = lookup();
		await tokens.lookUp("a");
		store = "down";
		now = SETTINGS.cacheTtlMs;
		expect(await tokens.lookUp("a")).toMatchObject({ kind: "accepted" });
		store = "up";
		known.set("#a", identity("#a", { revokedAt: 1 }));
		now += SETTINGS.storeRetryMs;
		expect(await tokens.lookUp("a")).toEqual({ kind: "refused", code: "revoked_token" });
	});

	it("fail_open serves each stranger a bounded number of requests, each request counted", async () => {
		store = "down";
		const tokens = lookup({ failMode: "fail_open" });
		const outcomes = await Promise.all(Array.from({ length: 5 }, () => tokens.lookUp("x")));
		expect(outcomes.map(({ kind }) => kind)).toEqual(["fail_open", "fail_open", "fail_open", "refused", "refused"]);
		expect(await tokens.lookUp("y")).toEqual({ kind: "fail_open" });
		store = "up";
		now += SETTINGS.storeRetryMs;
		expect(await tokens.lookUp("x")).toEqual({ kind: "refused", code: "unknown_token" });
	});

	it("fail_open refuses when more strangers come than it can count", async () => {
		store = "down";
		const tokens = lookup({ failMode: "fail_open", negativeSize: 10 });
		const kinds = [];
		for (let i = 0; i < 12; i++) kinds.push((await tokens.lookUp(`x${i}`)).kind);
		expect(kinds).toEqual([...Array(10).fill("fail_open"), "refused", "refused"]);
	});
});
