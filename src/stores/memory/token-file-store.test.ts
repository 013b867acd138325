import { describe, expect, it } from "vitest";
import { tokenHash } from "../token-secret.ts";
import { layeredTokens, TokenFileStore } from "./token-file-store.ts";
import { parseTokenList } from "./token-list.ts";

const A = tokenHash("a");
const B = tokenHash("b");

describe("token list", () => {
	it("reads rows with and without the optional fields, comments, a heading, quotes", () => {
		const text = `sha256,account_id,tier,environment,workload,name\r\n# ours\n\n${A},shop,internal,production,batch,"Nightly, ""big"" job"\n${B.toUpperCase()},two,external,,\n`;
		expect(parseTokenList(text, "tokens.csv")).toEqual({
			ok: true,
			rows: [
				{
					sha256: A,
					accountId: "shop",
					tier: "internal",
					environment: "production",
					workload: "batch",
					name: 'Nightly, "big" job',
				},
				{ sha256: B, accountId: "two", tier: "external" },
			],
		});
	});

	it("names file and line of every error, and never shows what may be a token", () => {
		const text = `tok_internal_SECRET,shop,internal\n${A},,internal\n${A},shop\n${B},shop,Internal!,x,soon\n${B},shop,internal,,soon\n${B},shop,internal\n${B},shop,internal,"open`;
		const list = parseTokenList(text, "tokens.csv");
		expect(list).toEqual({
			ok: false,
			errors: [
				"tokens.csv:1: sha256 is not 64 hex digits: `tokligence token hash` prints a line for a key",
				"tokens.csv:2: account_id is empty",
				"tokens.csv:3: 2 fields, allowed are 3 to 6: sha256,account_id,tier,environment,workload,name",
				'tokens.csv:4: tier "Internal!" is not a lower-case word',
				'tokens.csv:5: workload "soon" is none of realtime, batch, interactive',
				"tokens.csv:7: a quote is not closed",
			],
		});
		expect(JSON.stringify(list)).not.toContain("SECRET");
	});

	it("refuses the same token twice", () => {
		expect(parseTokenList(`${A},x,external\n${A},y,external`, "t")).toEqual({
			ok: false,
			errors: ["t:2: the same token stands in line 1"],
		});
	});
});

it("answers like a store; the database wins", async () => {
	const parsed = TokenFileStore.parse(`${A},file,internal\n${B},file,external\n`, "t");
	if (!parsed.ok) throw new Error(parsed.errors.join());
	expect(await parsed.store.find(A)).toMatchObject({
		accountId: "file",
		accountType: "internal",
		accountStatus: "active",
	});
	expect(await parsed.store.find("nope")).toBeUndefined();
	const database = TokenFileStore.parse(`${A},database,internal\n`, "d");
	if (!database.ok) throw new Error();
	const both = layeredTokens(database.store, parsed.store);
	expect(await both.find(A)).toMatchObject({ accountId: "database" });
	expect(await both.find(B)).toMatchObject({ accountId: "file" });
	const active = await both.active(undefined, 10);
	expect(active.map(({ hash, accountId }) => [hash, accountId])).toEqual(
		[
			[A, "database"],
			[B, "file"],
		].sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
	);
	expect((await both.active(active[0]?.hash, 10)).map(({ hash }) => hash)).toEqual([active[1]?.hash]);
});
